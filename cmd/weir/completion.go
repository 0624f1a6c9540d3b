package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/local"
)

// completeNames lets a shell complete the names of pipelines that have state here, for
// every command whose first argument is one.
func completeNames(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		completeNames(c)
	}
	args := strings.Fields(cmd.Use)[1:]
	if cmd.ValidArgsFunction != nil || len(args) == 0 || strings.Trim(args[0], "[]") != "NAME" || cmd.Flags().Lookup("state-dir") == nil {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		dir, err := cmd.Flags().GetString("state-dir")
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := local.Names(dir)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var fit []string
		for _, name := range names {
			if strings.HasPrefix(name, begun) {
				fit = append(fit, name)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

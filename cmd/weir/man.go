package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write a manual page for each command",
		Long: `Man writes weir.1 and a page for each command into a folder, such as
~/.local/share/man/man1.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return badInput(err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the header has the date
			header := &doc.GenManHeader{Title: "WEIR", Section: "1", Source: "weir " + currentVersion(), Manual: "Weir"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return failed(err)
			}
			pages, err := os.ReadDir(args[0])
			if err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d pages in %s: man -l %s/weir.1\n", len(pages), args[0], args[0])
			return err
		},
	}
}

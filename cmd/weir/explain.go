package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/explain"
	"github.com/weirstream/weir/host/pipeline"
)

func newExplain() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "explain [CODE]",
		Short: "Say what an error code means and what to do",
		Long: `Explain says what a stable error code means and what to do about it. Without a
code it lists all of them.

"weir validate -o json" prints the code of each fault; a command that fails names
it in its last line.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			entries := explain.All()
			if len(args) == 1 {
				e, ok := explain.Find(args[0])
				if !ok {
					return badInput(unknownCode(args[0]))
				}
				entries = []explain.Entry{e}
			}
			return printEntries(cmd.OutOrStdout(), entries, len(args) == 0, format)
		},
	}
	format.flag(cmd, formatMarkdown)
	return cmd
}

// unknownCode says which code was probably meant: the one that is spelt almost so, or
// those of other areas that end so.
func unknownCode(code string) error {
	var codes, names []string
	byName := map[string][]string{}
	for _, e := range explain.All() {
		_, name, _ := strings.Cut(e.Code, ".")
		codes, names = append(codes, e.Code), append(names, name)
		byName[name] = append(byName[name], e.Code)
	}
	meant := byName[pipeline.Nearest(code[strings.LastIndex(code, ".")+1:], names)]
	if near := pipeline.Nearest(code, codes); near != "" {
		meant = []string{near}
	}
	if len(meant) > 0 {
		return fmt.Errorf("there is no code %q (did you mean %s?)", code, strings.Join(meant, " or "))
	}
	return fmt.Errorf("there is no code %q; `weir explain` lists all", code)
}

func printEntries(w io.Writer, entries []explain.Entry, list bool, format outputFormat) error {
	switch {
	case format == formatJSON:
		return json.NewEncoder(w).Encode(entries)
	case format == formatMarkdown:
		_, err := io.WriteString(w, explain.Markdown(entries))
		return err
	case !list:
		_, err := io.WriteString(w, entries[0].Text())
		return err
	}
	width := 0
	for _, e := range entries {
		width = max(width, len(e.Code))
	}
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%-*s  %s\n", width, e.Code, e.Title)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

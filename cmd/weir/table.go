package main

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/weirstream/weir/host/console"
)

// plainTable is a table without lines, for people and for grep.
func plainTable() table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Box.PaddingLeft, t.Style().Box.PaddingRight = "", "  "
	return t
}

// rendered is a table without blanks at the ends of its lines.
func rendered(t table.Writer) string { return console.Trimmed(t.Render()) }

func printTable(w io.Writer, t table.Writer) error {
	_, err := fmt.Fprintln(w, rendered(t))
	return err
}

// pageWidth is how wide text is where no terminal says.
const pageWidth = 100

// wrapLast wraps the last of n columns, so that the table is at most width wide.
// The cells of the others are given, so that their widths are known.
func wrapLast(t table.Writer, width int, others [][]string) {
	rest := width
	for _, cells := range others {
		widest := 0
		for _, cell := range cells {
			widest = max(widest, text.StringWidthWithoutEscSequences(cell))
		}
		rest -= widest + len("  ")
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: len(others) + 1, WidthMax: max(rest, 24), WidthMaxEnforcer: text.WrapSoft}})
}

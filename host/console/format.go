package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// column is one column of a table.
type column struct {
	title string
	right bool // aligned
	// drop is when the column goes where the table is too wide: the highest first,
	// never where it is 0.
	drop int
}

// render writes a table of at most that width; 0 leaves it unbounded. A column
// without any content is left out.
func render(columns []column, rows [][]string, width int) string {
	shown := make([]bool, len(columns))
	for c := range columns {
		shown[c] = slices.ContainsFunc(rows, func(row []string) bool { return row[c] != "" })
	}
	for {
		out := renderShown(columns, shown, rows)
		if width == 0 || text.LongestLineLen(out) <= width {
			return out
		}
		next := -1
		for c, col := range columns {
			if shown[c] && col.drop > 0 && (next < 0 || col.drop > columns[next].drop) {
				next = c
			}
		}
		if next < 0 {
			lines := strings.Split(out, "\n")
			for i, line := range lines {
				if lines[i] = clip(line, width); isRule(line) {
					lines[i] = text.Trim(line, width)
				}
			}
			return strings.Join(lines, "\n")
		}
		shown[next] = false
	}
}

func renderShown(columns []column, shown []bool, rows [][]string) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.Options{SeparateHeader: true}
	t.Style().Format.Header = text.FormatDefault
	t.Style().Box.PaddingLeft, t.Style().Box.PaddingRight = "", "  "
	var header table.Row
	var configs []table.ColumnConfig
	for c, col := range columns {
		if !shown[c] {
			continue
		}
		header = append(header, col.title)
		if col.right {
			configs = append(configs, table.ColumnConfig{Number: len(header), Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		var cells table.Row
		for c := range columns {
			if shown[c] {
				cells = append(cells, row[c])
			}
		}
		t.AppendRow(cells)
	}
	return Trimmed(t.Render())
}

// Trimmed removes the blanks at the ends of lines, and what a rule of the same
// width has beyond them.
func Trimmed(s string) string {
	lines := strings.Split(s, "\n")
	longest := 0
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
		if !isRule(line) {
			longest = max(longest, text.StringWidthWithoutEscSequences(lines[i]))
		}
	}
	for i, line := range lines {
		if isRule(line) {
			lines[i] = text.Trim(line, longest)
		}
	}
	return strings.Join(lines, "\n")
}

func isRule(line string) bool { return line != "" && strings.Trim(line, "─") == "" }

// clip cuts a line to a width; 0 leaves it.
func clip(s string, width int) string {
	if width > 0 && text.StringWidthWithoutEscSequences(s) > width {
		return text.Trim(s, width-1) + "…"
	}
	return s
}

func count(n uint64) string { return humanize.Comma(int64(n)) }

func percent(f float64) string { return fmt.Sprintf("%.0f%%", 100*f) }

// rate has two or three digits that mean something.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 10e6:
		return fmt.Sprintf("%.0f M/s", perSecond/1e6)
	case perSecond >= 999.5e3:
		return fmt.Sprintf("%.1f M/s", perSecond/1e6)
	case perSecond >= 9.95e3:
		return fmt.Sprintf("%.0f k/s", perSecond/1e3)
	case perSecond >= 999.5:
		return fmt.Sprintf("%.1f k/s", perSecond/1e3)
	default:
		return fmt.Sprintf("%.0f/s", perSecond)
	}
}

// Duration is a time span with the digits that a person reads.
func Duration(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(uint64(n)) + " " + what + "s"
}

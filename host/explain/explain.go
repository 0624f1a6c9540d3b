// Package explain says what each stable error code means and what to do about it.
//
// A code is "area.name". It never changes its meaning, so that tools and people can
// rely on it. The text of `weir explain` and docs/errors.md are both made from the
// tables here; a test finds every code in the source and asks for its entry.
package explain

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Entry is what is known of one code.
type Entry struct {
	Code string `json:"code"`
	// Title names the kind of error in a few words.
	Title string `json:"title"`
	// Meaning says what is wrong and why that is an error, Remedy what to do.
	Meaning string `json:"meaning"`
	Remedy  string `json:"remedy"`
}

// All returns every entry by code.
func All() []Entry {
	all := slices.Concat(fileEntries, conformanceEntries, testEntries, graphEntries, componentEntries, processEntries, runEntries, apiEntries)
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// Find returns the entry of a code.
func Find(code string) (Entry, bool) {
	for _, e := range All() {
		if e.Code == code {
			return e, true
		}
	}
	return Entry{}, false
}

// Coded is an error that has a code.
type Coded interface {
	error
	ErrorCode() string
}

// CodeOf returns the code of the first error in err's tree that has one, or "".
func CodeOf(err error) string {
	var coded Coded
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return ""
}

// width is that of the lines of Text.
const width = 80

// Text is the entry for a person.
func (e Entry) Text() string {
	return fmt.Sprintf("%s: %s\n\n%s\n\n%s\n", e.Code, e.Title, wrap(e.Meaning), wrap(e.Remedy))
}

func wrap(s string) string { return strings.ReplaceAll(text.WrapSoft(s, width), " \n", "\n") }

// Markdown is a page with these entries, which are sorted by code.
func Markdown(entries []Entry) string {
	var b strings.Builder
	b.WriteString(`# Errors

Every error of Weir has a stable code. ` + "`weir validate -o json`" + ` prints it with each fault, a command that fails
names it in its last line, and ` + "`weir explain CODE`" + ` says what stands here. This page is made from
` + "`host/explain`" + `.
`)
	area := ""
	for _, e := range entries {
		if a, _, _ := strings.Cut(e.Code, "."); a != area {
			area = a
			fmt.Fprintf(&b, "\n## %s\n", areas[a])
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n**%s.** %s\n\n%s\n", e.Code, e.Title, e.Meaning, e.Remedy)
	}
	return b.String()
}

// areas are the headings of the page.
var areas = map[string]string{
	"conformance": "The file conformance.yaml",
	"config":      "A component's configuration, found by the component",
	"pipeline":    "The pipeline file",
	"process":     "Plugin processes",
	"restore":     "Starting from a checkpoint",
	"run":         "Running a pipeline",
	"storage":     "Checkpoint storage",
	"task":        "Tasks",
	"test":        "Test cases of pipelines",
}

package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirstream/weir/host/junit"
)

// WriteText writes the report for a person: failures whole, the rest in short.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, x := range r.Results {
		if x.Status == Fail || x.Status == Broken {
			b.WriteString(x.Text())
		}
	}
	skipped := make(map[string][]string)
	var reasons []string
	for _, x := range r.Results {
		if x.Status != Skip {
			continue
		}
		reason := x.Target + ": " + x.Message
		if skipped[reason] == nil {
			reasons = append(reasons, reason)
		}
		skipped[reason] = append(skipped[reason], x.Case)
	}
	if len(reasons) > 0 {
		b.WriteString("\nnot tested:\n")
		for _, reason := range reasons {
			fmt.Fprintf(&b, "  %s\n    %s\n", reason, strings.Join(skipped[reason], " "))
		}
	}
	if len(r.Remarks) > 0 {
		b.WriteString("\nto know:\n")
		for _, m := range r.Remarks {
			fmt.Fprintf(&b, "  %s\n", m)
		}
	}
	fmt.Fprintf(&b, "\n%s %s: %d passed, %d failed, %d not tested", r.Plugin, r.Version, r.Count(Pass), r.Count(Fail), r.Count(Skip))
	if n := r.Count(Broken); n > 0 {
		fmt.Fprintf(&b, ", %d could not be tested", n)
	}
	fmt.Fprintf(&b, " in %v (seed %d)\n", r.Took.Round(100*time.Millisecond), r.Seed)
	_, err := io.WriteString(w, b.String())
	return err
}

// Text is one result for a person: what failed, what was sent, what came back, and
// how to run it again.
func (x Result) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s %s %s: %s\n", strings.ToUpper(string(x.Status)), x.Case, x.Target, x.Title)
	fmt.Fprintf(&b, "    %s\n", indented(x.Message))
	for _, n := range x.Notes {
		fmt.Fprintf(&b, "    - %s\n", indented(n))
	}
	for i, l := range x.Log {
		if i == 0 {
			b.WriteString("    the plugin's log:\n")
		}
		fmt.Fprintf(&b, "      %s\n", l)
	}
	if x.Status == Fail {
		fmt.Fprintf(&b, "    again: --run %s --seed %d; see docs/conformance.md#%s\n", x.Case, x.Seed, strings.ToLower(x.Case))
	}
	return b.String()
}

func indented(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n      ")
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// WriteJUnit writes the report in JUnit's XML, a suite for each target.
func (r *Report) WriteJUnit(w io.Writer) error {
	var suites []junit.Suite
	at := make(map[string]int)
	for _, x := range r.Results {
		i, ok := at[x.Target]
		if !ok {
			i = len(suites)
			at[x.Target] = i
			suites = append(suites, junit.Suite{Name: x.Target})
		}
		c := junit.Case{Class: r.Plugin + "." + x.Target, Name: x.Case + " " + x.Title, Seconds: x.Seconds}
		text := &junit.Text{Message: x.Message}
		switch x.Status {
		case Fail:
			text.Text, c.Failure = x.Text(), text
		case Broken:
			text.Text, c.Error = x.Text(), text
		case Skip:
			c.Skipped = text
		}
		suites[i].Cases = append(suites[i].Cases, c)
	}
	return junit.Write(w, suites)
}

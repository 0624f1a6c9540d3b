package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity tells a fault from a warning.
type Severity int

const (
	// SeverityFault keeps the pipeline from running.
	SeverityFault Severity = iota
	// SeverityWarning does not.
	SeverityWarning
)

func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "fault"
}

// MarshalText writes "fault" or "warning".
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Fault is one thing that is wrong with a file. No fault holds the value of a
// secret.
type Fault struct {
	File string `json:"file"`
	// Line and Column count from 1, columns in characters.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Field is the path from the file's root: "nodes.out.config.path"; empty for
	// the file as a whole.
	Field string `json:"field,omitempty"`
	// Message says what is wrong, Hint what is allowed or probably meant.
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
}

// String is "file:line:column: field: message (hint)"; a warning says so before
// its message.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Field != "" {
		b.WriteString(f.Field + ": ")
	}
	if f.Severity == SeverityWarning {
		b.WriteString("warning: ")
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	return b.String()
}

// Report is all that Load found, sorted by position.
type Report struct {
	Faults []Fault `json:"faults"`
}

// OK says that nothing keeps the pipeline from running; there may be warnings.
func (r Report) OK() bool {
	return !slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Severity == SeverityFault })
}

// Warnings returns the findings that do not keep the pipeline from running.
func (r Report) Warnings() []Fault {
	return slices.DeleteFunc(slices.Clone(r.Faults), func(f Fault) bool { return f.Severity != SeverityWarning })
}

// String is one line a fault.
func (r Report) String() string {
	var b strings.Builder
	for _, f := range r.Faults {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// Err is nil where the report is OK, else an error that lists every fault.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	return &FaultError{Report: r}
}

// FaultError is a Report that is not OK, as an error.
type FaultError struct{ Report Report }

func (e *FaultError) Error() string { return strings.TrimSuffix(e.Report.String(), "\n") }

// Sort orders faults by position and drops exact repetitions.
func (r *Report) Sort() {
	slices.SortStableFunc(r.Faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	r.Faults = slices.Compact(r.Faults)
}

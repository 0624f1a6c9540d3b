package conformance

import (
	"strings"
	"time"
)

// Status is how a case ended.
type Status string

// The statuses of a case.
const (
	Pass Status = "pass"
	Fail Status = "fail"
	// Skip: the case does not apply, and Message says why.
	Skip Status = "skip"
	// Broken: it could not be tested, and Message says what to mend.
	Broken Status = "error"
)

// Result is what became of one case on one target.
type Result struct {
	Case   string `json:"case"`
	Title  string `json:"title"`
	Target string `json:"target"`
	Status Status `json:"status"`
	// Message says what is wrong, or why the case was skipped.
	Message string `json:"message,omitempty"`
	// Notes are what was sent and what came back, of a case that failed.
	Notes []string `json:"notes,omitempty"`
	// Log are the plugin's last lines, of a case that failed.
	Log     []string `json:"log,omitempty"`
	Seed    uint64   `json:"seed"`
	Seconds float64  `json:"seconds"`
}

// Report is what a run found.
type Report struct {
	Plugin  string `json:"plugin"`
	Version string `json:"version,omitempty"`
	Binary  string `json:"binary"`
	Seed    uint64 `json:"seed"`
	// Remarks are what a reader of the verdict should know.
	Remarks []string      `json:"remarks,omitempty"`
	Results []Result      `json:"results"`
	Took    time.Duration `json:"-"`
}

// Count is the number of results with the status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, x := range r.Results {
		if x.Status == s {
			n++
		}
	}
	return n
}

// NotClaimed says whether a skipped case was skipped for want of a claim.
func (r Result) NotClaimed() bool { return strings.HasPrefix(r.Message, "not claimed") }

package console

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
)

// Summary is what is said when a run has ended without failing.
type Summary struct {
	Status  engine.Status
	Outcome engine.Outcome
	Took    time.Duration // from the launch
	// DryRun: nothing was written, and there is nothing to resume from.
	DryRun bool
}

// JSON writes the summary as one line of JSON.
func (s Summary) JSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(struct {
		engine.Status
		Finished       bool       `json:"finished"`
		FinishedBefore *time.Time `json:"finished_before,omitempty"`
		Uncommitted    []string   `json:"uncommitted_hosts,omitempty"`
		Checkpoint     uint64     `json:"checkpoint"`
		Seconds        float64    `json:"seconds"`
		// HostAllocations counts the heap allocations of the host process.
		HostAllocations uint64 `json:"host_allocations"`
	}{s.Status, s.Outcome.Finished, s.Outcome.Before, s.Outcome.Uncommitted, s.Outcome.Checkpoint, s.Took.Seconds(), allocations()})
}

func allocations() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Text writes the summary for a person, no wider than a terminal is.
func (s Summary) Text(w io.Writer) error {
	var b strings.Builder
	width := Width(w, 0)
	switch at := s.Outcome.Before; {
	case at != nil:
		fmt.Fprintf(&b, "%s finished at %s: there is nothing to do. Use --fresh to start over.\n",
			s.Status.Name, at.Local().Format(time.DateTime))
	case s.DryRun:
		fmt.Fprintf(&b, "%s: dry run finished in %s; nothing is written, no state is kept\n\n%s", s.Status.Name, Duration(s.Took), s.body(width))
	case s.Outcome.Finished:
		fmt.Fprintf(&b, "%s finished in %s\n\n%s", s.Status.Name, Duration(s.Took), s.body(width))
	default:
		fmt.Fprintf(&b, "%s stopped after %s; run it again to resume\n\n%s", s.Status.Name, Duration(s.Took), s.body(width))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s Summary) body(width int) string {
	var b strings.Builder
	b.WriteString(s.nodes(width) + "\n\n")
	b.WriteString(s.guarantees(width) + "\n")
	b.WriteString(s.totals() + "\n")
	if n := s.Status.Restarts.Total; n > 0 {
		fmt.Fprintf(&b, "%s from the last checkpoint, the last because %s\n", plural(n, "restart"), firstLine(s.Status.Restarts.Cause))
	}
	for range s.Outcome.Uncommitted {
		b.WriteString("some output is prepared but not yet published; the next run publishes it\n")
	}
	for _, u := range s.Status.Uncommitted {
		fmt.Fprintf(&b, "%s cannot publish: %s\n", u.Sink, u.Error)
	}
	return b.String()
}

func (s Summary) nodes(width int) string {
	var rows [][]string
	for _, n := range s.Status.Nodes {
		row := []string{n.Name, nodeKind(n), count(n.RecordsIn), count(n.RecordsOut), humanize.IBytes(max(n.BytesIn, n.BytesOut)), failures(n)}
		switch n.Kind {
		case "source":
			row[2] = ""
		case "sink":
			row[3] = ""
		}
		rows = append(rows, row)
	}
	return render([]column{
		{title: "node"}, {title: "component", drop: 1}, {title: "records in", right: true}, {title: "out", right: true},
		{title: "bytes", right: true, drop: 2}, {title: "failed"},
	}, rows, width)
}

// totals is what was read, how fast, and under how many checkpoints.
func (s Summary) totals() string {
	var read uint64
	for _, n := range s.Status.Nodes {
		if n.Kind == "source" {
			read += n.RecordsOut
		}
	}
	out := fmt.Sprintf("%s read", plural(int(read), "record"))
	if perSecond := float64(read) / s.Took.Seconds(); perSecond >= 1 {
		out += fmt.Sprintf(" (%s)", rate(perSecond))
	}
	out += ", " + plural(s.Status.Completed, "checkpoint")
	if s.Status.Failed > 0 {
		out += fmt.Sprintf(", %d more failed", s.Status.Failed)
	}
	return out
}

// guarantees says what held, sinks of which the same holds together.
func (s Summary) guarantees(width int) string {
	type what struct{ word, why string }
	var order []what
	sinks := map[what][]string{}
	for _, g := range s.Status.Guarantees {
		w := what{guarantee(g.Guarantee), g.Why}
		if sinks[w] == nil {
			order = append(order, w)
		}
		sinks[w] = append(sinks[w], g.Sink)
	}
	var b strings.Builder
	for _, w := range order {
		why := w.why
		if width > 2 {
			why = strings.ReplaceAll(text.WrapSoft(why, width-2), "\n", "\n  ")
		}
		fmt.Fprintf(&b, "%s: %s\n  %s\n", w.word, strings.Join(sinks[w], ", "), Trimmed(why))
	}
	return b.String()
}

// Guarantees is a line a sink: what holds for its records, and why.
func Guarantees(all []pipeline.SinkGuarantee) string {
	name, word := 0, 0
	for _, g := range all {
		name, word = max(name, len(g.Sink)), max(word, len(guarantee(g.Guarantee)))
	}
	var lines []string
	for _, g := range all {
		lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", name, g.Sink, word, guarantee(g.Guarantee), g.Why))
	}
	return strings.Join(lines, "\n")
}

func guarantee(g pipeline.Guarantee) string {
	if g == pipeline.GuaranteeNone {
		return "no guarantee"
	}
	return strings.ReplaceAll(g.String(), "_", " ")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSuffix(line, ":")
}

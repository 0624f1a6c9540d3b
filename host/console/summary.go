package console

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/weirstream/weir/host/engine"
)

// Summary is what is said when a run has ended without failing.
type Summary struct {
	Status  engine.Status
	Outcome engine.Outcome
	Took    time.Duration // from the launch
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

// Text writes the summary for a person.
func (s Summary) Text(w io.Writer) error {
	if at := s.Outcome.Before; at != nil {
		_, err := fmt.Fprintf(w, "%s finished at %s: there is nothing to do. Use --fresh to start over.\n",
			s.Status.Name, at.Local().Format(time.DateTime))
		return err
	}
	var b strings.Builder
	if s.Outcome.Finished {
		fmt.Fprintf(&b, "%s finished in %s\n\n", s.Status.Name, s.Took.Round(time.Millisecond))
	} else {
		fmt.Fprintf(&b, "%s stopped after %s; run it again to resume\n\n", s.Status.Name, s.Took.Round(time.Millisecond))
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.Options{SeparateHeader: true}
	t.Style().Box.PaddingRight = "  "
	t.AppendHeader(table.Row{"node", "", "records in", "out", "bytes", "failed"})
	var right []table.ColumnConfig
	for _, col := range []int{3, 4, 5} {
		right = append(right, table.ColumnConfig{Number: col, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	for _, n := range s.Status.Nodes {
		row := table.Row{n.Name, nodeKind(n), count(n.RecordsIn), count(n.RecordsOut), humanize.IBytes(max(n.BytesIn, n.BytesOut)), failures(n)}
		switch n.Kind {
		case "source":
			row[2] = ""
		case "sink":
			row[3] = ""
		}
		t.AppendRow(row)
	}
	b.WriteString(t.Render() + "\n\n")
	for _, g := range s.Status.Guarantees {
		fmt.Fprintf(&b, "%s: %s (%s)\n", g.Sink, strings.ReplaceAll(g.Guarantee.String(), "_", " "), g.Why)
	}
	b.WriteString(s.checkpoints())
	for _, host := range s.Outcome.Uncommitted {
		fmt.Fprintf(&b, "host %s: some output is prepared but not yet published; the next run publishes it\n", host)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s Summary) checkpoints() string {
	out := fmt.Sprintf("%d checkpoint%s", s.Status.Completed, plural(s.Status.Completed))
	if s.Status.Failed > 0 {
		out += fmt.Sprintf(", %d failed", s.Status.Failed)
	}
	if n := s.Status.Restarts.Total; n > 0 {
		out += fmt.Sprintf(", %d restart%s (the last: %s)", n, plural(n), firstLine(s.Status.Restarts.Cause))
	}
	if s.Took > 0 {
		var most uint64
		for _, n := range s.Status.Nodes {
			most = max(most, n.RecordsIn, n.RecordsOut)
		}
		out += fmt.Sprintf(", %s", rate(float64(most)/s.Took.Seconds()))
	}
	return out + "\n"
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

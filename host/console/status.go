package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/weirstream/weir/host/api"
)

// Pipelines is a listing for a person, at most that wide; 0 leaves it unbounded.
func Pipelines(all []api.Pipeline, now time.Time, width int) string {
	var rows [][]string
	for _, p := range all {
		checkpoint := ""
		if p.Completed > 0 {
			checkpoint = count(p.Completed)
		}
		speed := ""
		if p.State == api.StateRunning {
			speed = rate(p.Rate)
		}
		rows = append(rows, []string{p.Name, string(p.State), age(now, p.Since), count(p.Records), speed, checkpoint, p.Problem})
	}
	return render([]column{
		{title: "pipeline"}, {title: "state"}, {title: "since", right: true, drop: 2}, {title: "records", right: true, drop: 3},
		{title: "rate", right: true, drop: 1}, {title: "checkpoint", right: true, drop: 4}, {title: "problem"},
	}, rows, width)
}

// Status is a pipeline's status for a person: what it does, and why not more.
func Status(s api.Status, now time.Time, width int) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		said := fmt.Sprintf(format, args...)
		if width > 0 {
			said = text.WrapSoft(said, max(width-labelWidth-1, labelWidth))
		}
		for said := range strings.SplitSeq(said, "\n") {
			b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s %s", labelWidth, name, said), " ") + "\n")
			name = ""
		}
	}
	state := string(s.State)
	if !s.Since.IsZero() {
		state += fmt.Sprintf(" since %s (%s)", s.Since.Local().Format(time.DateTime), age(now, s.Since))
	}
	if s.Epoch > 0 {
		state += fmt.Sprintf(", epoch %d", s.Epoch)
	}
	line(s.Name, "%s", state)
	if s.Reason != "" {
		for i, l := range strings.Split(s.Reason, "\n") {
			line(map[bool]string{true: "because"}[i == 0], "%s", l)
		}
	}
	if s.File != "" {
		line("file", "%s", s.File)
	}
	for _, g := range guaranteeLines(s.Guarantees) {
		line(g[0], "%s", g[1])
	}
	line("checkpoints", "%s", checkpointsLine(s.Checkpoints, now))
	if c := s.Checkpoints.InFlight; c != nil {
		line("in flight", "%d, %s, begun %s ago", c.Number, c.Phase, age(now, c.Since))
		for i, a := range c.Awaited {
			if i == maxAwaited {
				line("", "and %d more", len(c.Awaited)-i)
				break
			}
			waits := fmt.Sprintf("waits for %s: %s, %s", a.Task, awaitedWords[a.Phase], age(now, a.Since))
			if len(a.Channels) > 0 {
				waits += ", from " + strings.Join(a.Channels, ", ")
			}
			line("", "%s", waits)
		}
	}
	if f := s.Checkpoints.LastFailure; f != "" {
		line("", "%d of %d tolerated failed in a row, the last: %s", s.Checkpoints.FailedInRow, s.Checkpoints.Tolerated, firstLine(f))
	}
	if r := s.Restarts; r.Total > 0 {
		last := ""
		if r.LastAt != nil {
			last = fmt.Sprintf(", the last %s ago", age(now, *r.LastAt))
		}
		line("restarts", "%d in this run, %d of %d within %s%s: %s", r.Total, r.Used, r.Allowed,
			Duration(time.Duration(r.Window*float64(time.Second))), last, firstLine(r.Cause))
	}
	if at := s.Restarts.NextAt; at != nil {
		line("", "the next begins in %s", Duration(max(at.Sub(now), 0)))
	}
	for i, u := range s.Uncommitted {
		since := ""
		if u.Since != nil {
			since = fmt.Sprintf(" for %s", age(now, *u.Since))
		}
		line(map[bool]string{true: "uncommitted"}[i == 0], "%s: %s not published%s: %s", u.Sink, plural(u.Committables, "piece"), since, firstLine(u.Error))
	}
	if n := s.Bottleneck; n != nil {
		line("bottleneck", "%s: %s", strings.Join(n.Nodes, ", "), n.Why)
	}
	if l := s.LogLevels; l != nil {
		var said []string
		for _, node := range slices.Sorted(maps.Keys(l.Nodes)) {
			said = append(said, node+": "+l.Nodes[node])
		}
		if l.All != "" {
			said = append([]string{l.All}, said...)
		}
		line("log level", "%s", strings.Join(said, ", "))
	}
	if len(s.Nodes) > 0 {
		b.WriteString("\n" + nodesTable(s.Nodes, width) + "\n")
	}
	b.WriteString(sampleLines(s.Nodes, width))
	return b.String()
}

// labelWidth is that of the names at the left of a status.
const labelWidth = 12

// maxAwaited is how many awaited tasks are named.
const maxAwaited = 5

var awaitedWords = map[string]string{
	"barrier":  "the barrier has not come",
	"align":    "some of its inputs have not delivered the barrier",
	"process":  "the plugin has not passed the barrier on",
	"snapshot": "its state is not all there",
	"upload":   "its state is being stored",
}

// guaranteeLines are the guarantees and why they hold, sinks together for which both
// are the same.
func guaranteeLines(all []api.Guarantee) (lines [][2]string) {
	type held struct{ word, why string }
	at := map[held]int{}
	for _, g := range all {
		word := strings.ReplaceAll(g.Guarantee, "_", " ")
		if word == "none" {
			word = "no guarantee"
		}
		if i, ok := at[held{word, g.Why}]; ok {
			lines[i][1] += ", " + g.Sink
			continue
		}
		at[held{word, g.Why}] = len(lines)
		lines = append(lines, [2]string{"", word + ": " + g.Sink})
		if g.Why != "" {
			lines = append(lines, [2]string{"", "  " + g.Why})
		}
	}
	if len(lines) > 0 {
		lines[0][0] = "guarantee"
	}
	return lines
}

func checkpointsLine(c api.Checkpoints, now time.Time) string {
	var parts []string
	if c.Completed+c.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d completed, %d failed in this run", c.Completed, c.Failed))
	}
	if l := c.Last; l != nil {
		parts = append(parts, fmt.Sprintf("last %d, %s ago, took %s, %s", l.Number, age(now, l.At),
			Duration(time.Duration(l.Duration*float64(time.Second))), humanize.IBytes(uint64(max(l.Bytes, 0)))))
	}
	if len(parts) == 0 {
		return "none yet"
	}
	return strings.Join(parts, "; ")
}

func nodesTable(nodes []api.Node, width int) string {
	var rows [][]string
	for _, n := range nodes {
		kind := n.Kind + " " + n.Component
		if n.Plugin != "weir" {
			kind = n.Kind + " " + n.Plugin + "/" + n.Component
		}
		tasks := fmt.Sprint(n.Parallelism)
		row := []string{n.Name, kind, tasks, count(n.RecordsIn), count(n.RecordsOut), rate(max(n.RateIn, n.RateOut)),
			percent(n.Busy), percent(n.Blocked), lag(n), behind(n), failedWords(n.Failed)}
		switch n.Kind {
		case "source":
			row[3] = ""
		case "sink":
			row[4] = ""
		}
		rows = append(rows, row)
	}
	return render([]column{
		{title: "node"}, {title: "component", drop: 5}, {title: "tasks", right: true, drop: 7},
		{title: "in", right: true}, {title: "out", right: true}, {title: "rate", right: true, drop: 1},
		{title: "busy", right: true, drop: 3}, {title: "back-pressured", right: true, drop: 4},
		{title: "progress", drop: 2}, {title: "watermark", drop: 6}, {title: "failed"},
	}, rows, width)
}

// lag is how far a source is, or how far behind.
func lag(n api.Node) string {
	p := n.Progress
	switch {
	case p == nil:
		return ""
	case p.Total > 0:
		return fmt.Sprintf("%.0f%%", 100*min(p.Done/p.Total, 1))
	case p.Lag != nil:
		return count(uint64(max(*p.Lag, 0))) + " behind"
	}
	return ""
}

// behind is how far the watermark is behind the clock, and what holds it.
func behind(n api.Node) string {
	w := n.Watermark
	if w == nil {
		return ""
	}
	s := Duration(time.Duration(w.Lag*float64(time.Second))) + " behind"
	if w.Split != "" {
		s += ", held by " + w.Split
	} else if n.Parallelism > 1 {
		s += fmt.Sprintf(", held by task %d", w.Task)
	}
	return s
}

func failedWords(f api.Failed) string {
	var parts []string
	if f.Skipped > 0 {
		parts = append(parts, count(f.Skipped)+" skipped")
	}
	if f.DeadLettered > 0 {
		parts = append(parts, plural(int(f.DeadLettered), "dead letter"))
	}
	if f.Retries > 0 {
		parts = append(parts, plural(int(f.Retries), "retry"))
	}
	return strings.ReplaceAll(strings.Join(parts, ", "), "retrys", "retries")
}

// maxShown is how many failed records of a node are shown.
const maxShown = 3

// sampleLines are the newest records that failed.
func sampleLines(nodes []api.Node, width int) string {
	var b strings.Builder
	for _, n := range nodes {
		all := n.Failed.Samples
		for _, s := range all[max(0, len(all)-maxShown):] {
			if b.Len() == 0 {
				b.WriteString("\nfailed records\n")
			}
			where := ""
			if s.Split != "" {
				where = fmt.Sprintf(" %s record %d", s.Split, s.Ordinal)
			}
			fmt.Fprintf(&b, "%s\n", clip(fmt.Sprintf("  %s %s%s: %s", n.Name, s.At.Local().Format(time.TimeOnly), where, firstLine(s.Error)), width))
			fmt.Fprintf(&b, "%s\n", clip("    "+strings.TrimSpace(fmt.Sprintf("%s %q", s.Key, s.Value)), width))
		}
	}
	return b.String()
}

// age is how long ago something was.
func age(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	d := max(now.Sub(then), 0)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= time.Hour:
		return d.Round(time.Minute).String()[:len(d.Round(time.Minute).String())-2]
	default:
		return d.Round(time.Second).String()
	}
}

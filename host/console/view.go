package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// rates measures records a second between pictures.
type rates struct{ nodes map[string]nodeRate }

type nodeRate struct {
	count     uint64
	at        time.Time // when count was first seen
	perSecond float64
}

// stale is how long a count may stand still before its rate is none: tasks report
// about once a second.
const stale = 2500 * time.Millisecond

// update returns each node's rate. A counter that fell (a restart) begins anew.
func (r *rates) update(s engine.Status, now time.Time) map[string]float64 {
	next, out := map[string]nodeRate{}, map[string]float64{}
	for _, n := range s.Nodes {
		count := max(n.RecordsIn, n.RecordsOut)
		old, known := r.nodes[n.Name]
		span := now.Sub(old.at)
		switch {
		case !known || count < old.count:
			old = nodeRate{count: count, at: now}
		case count > old.count && span > 0:
			old = nodeRate{count: count, at: now, perSecond: float64(count-old.count) / span.Seconds()}
		case span > stale:
			old.perSecond = 0
		}
		next[n.Name] = old
		out[n.Name] = old.perSecond
	}
	r.nodes = next
	return out
}

// view is one picture with its rates.
type view struct {
	engine.Status
	rates map[string]float64
	now   time.Time
}

// columns of the progress table; what matters least goes first where the terminal
// is narrow.
var columns = []column{
	{title: "node"},
	{title: "component", drop: 4},
	{title: "records", right: true},
	{title: "rate", right: true, drop: 1},
	{title: "busy", right: true, drop: 5},
	{title: "blocked", right: true, drop: 6},
	{title: "progress", drop: 2},
	{title: "failed", drop: 3},
}

// table renders the picture for a terminal of this width.
func (v view) table(width int) []byte {
	var rows [][]string
	for _, n := range v.Nodes {
		rows = append(rows, []string{
			n.Name, nodeKind(n), count(max(n.RecordsIn, n.RecordsOut)), rate(v.rates[n.Name]),
			percent(n.Busy), percent(n.Blocked), v.progress(n), failures(n),
		})
	}
	return []byte(render(columns, rows, width) + "\n" + clip(v.footer(), width) + "\n")
}

func nodeKind(n engine.NodeStatus) string {
	s := n.Kind + " " + n.Component
	if n.Parallelism > 1 {
		s += fmt.Sprintf(" ×%d", n.Parallelism)
	}
	return s
}

// progress is percent and ETA where the source knows its size.
func (v view) progress(n engine.NodeStatus) string {
	p := n.Progress
	switch {
	case p == nil:
		return ""
	case p.Total > 0:
		share := min(p.Done/p.Total, 1)
		s := fmt.Sprintf("%.0f%%", 100*share)
		if spent := v.now.Sub(v.Started); share > 0.02 && share < 1 && spent > 2*time.Second {
			left := time.Duration(float64(spent) * (1 - share) / share)
			s += ", " + left.Round(time.Second).String() + " left"
		}
		return s
	case p.Lag > 0:
		return count(uint64(p.Lag)) + " behind"
	default:
		return ""
	}
}

func failures(n engine.NodeStatus) string {
	var parts []string
	if n.Skipped > 0 {
		parts = append(parts, count(n.Skipped)+" skipped")
	}
	if n.DeadLettered > 0 {
		parts = append(parts, plural(int(n.DeadLettered), "dead letter"))
	}
	return strings.Join(parts, ", ")
}

// footer says where checkpoints and restarts stand.
func (v view) footer() string {
	parts := []string{v.Name + " " + string(v.State)}
	switch {
	case v.InFlight != nil && v.now.Sub(v.InFlight.Since) > time.Second:
		parts = append(parts, fmt.Sprintf("checkpoint %d since %s, waits for %s", v.InFlight.Number,
			v.now.Sub(v.InFlight.Since).Round(time.Second), strings.Join(v.InFlight.Awaited, ", ")))
	case v.Last != nil:
		parts = append(parts, fmt.Sprintf("checkpoint %d %s ago (took %s)", v.Last.Number,
			v.now.Sub(v.Last.At).Round(time.Second), Duration(v.Last.Duration)))
	}
	if v.Restarts.Total > 0 {
		parts = append(parts, fmt.Sprintf("restarts %d of %d", v.Restarts.Used, v.Restarts.Allowed))
	}
	for _, u := range v.Uncommitted {
		parts = append(parts, u.Sink+" cannot publish: "+u.Error)
	}
	return strings.Join(parts, " · ")
}

// oneLine is the picture in a line, for logs and very small terminals; a width
// of 0 does not cut it.
func (v view) oneLine(width int) string {
	parts := []string{v.footer()}
	for _, n := range v.Nodes {
		s := fmt.Sprintf("%s %s (%s)", n.Name, count(max(n.RecordsIn, n.RecordsOut)), rate(v.rates[n.Name]))
		if p := v.progress(n); p != "" {
			s += " " + p
		}
		if f := failures(n); f != "" {
			s += " " + f
		}
		parts = append(parts, s)
	}
	return clip(strings.Join(parts, " · "), width)
}

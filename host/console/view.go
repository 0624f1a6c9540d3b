package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/weirstream/weir/host/engine"
)

// rates measures records a second between two pictures.
type rates struct {
	at    time.Time
	count map[string]uint64
	rate  map[string]float64
}

// update returns each node's rate. Counters that fell (a restart) give no rate.
func (r *rates) update(s engine.Status, now time.Time) map[string]float64 {
	span := now.Sub(r.at).Seconds()
	next := map[string]uint64{}
	rate := map[string]float64{}
	for _, n := range s.Nodes {
		count := max(n.RecordsIn, n.RecordsOut)
		next[n.Name] = count
		if old, ok := r.count[n.Name]; ok && count >= old && span > 0 {
			fresh := float64(count-old) / span
			// Reports come once a second: smooth over the pictures between.
			rate[n.Name] = 0.6*r.rate[n.Name] + 0.4*fresh
		}
	}
	r.at, r.count, r.rate = now, next, rate
	return rate
}

// view is one picture with its rates.
type view struct {
	engine.Status
	rates map[string]float64
	now   time.Time
}

// table renders the picture for a terminal of this width.
func (v view) table(width int) []byte {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Options.SeparateColumns = false
	t.Style().Size.WidthMax = width
	t.AppendHeader(table.Row{"node", "", "records", "rate", "busy", "blocked", "progress", "failed"})
	numbers := []table.ColumnConfig{}
	for _, col := range []int{3, 4, 5, 6, 8} {
		numbers = append(numbers, table.ColumnConfig{Number: col, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(numbers)
	for _, n := range v.Nodes {
		t.AppendRow(table.Row{
			n.Name, nodeKind(n), count(max(n.RecordsIn, n.RecordsOut)), rate(v.rates[n.Name]),
			percent(n.Busy), percent(n.Blocked), v.progress(n), failures(n),
		})
	}
	return []byte(t.Render() + "\n" + clip(v.footer(), width) + "\n")
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
			s += " · " + left.Round(time.Second).String() + " left"
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
		parts = append(parts, count(n.DeadLettered)+" dead letters")
	}
	return strings.Join(parts, ", ")
}

// footer says where checkpoints and restarts stand.
func (v view) footer() string {
	parts := []string{v.Name + " " + string(v.State)}
	switch {
	case v.InFlight != nil && v.now.Sub(v.InFlight.Since) > time.Second:
		parts = append(parts, fmt.Sprintf("checkpoint %d since %s, awaits %s", v.InFlight.Number,
			v.now.Sub(v.InFlight.Since).Round(time.Second), strings.Join(v.InFlight.Awaited, ", ")))
	case v.Last != nil:
		parts = append(parts, fmt.Sprintf("checkpoint %d %s ago (%s)", v.Last.Number,
			v.now.Sub(v.Last.At).Round(time.Second), v.Last.Duration.Round(time.Millisecond)))
	}
	if v.Restarts.Total > 0 {
		parts = append(parts, fmt.Sprintf("restarts %d of %d", v.Restarts.Used, v.Restarts.Allowed))
	}
	for _, u := range v.Uncommitted {
		parts = append(parts, "uncommitted: "+u.Error)
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

func clip(s string, width int) string {
	if width > 0 && text.StringWidthWithoutEscSequences(s) > width {
		return text.Trim(s, width-1) + "…"
	}
	return s
}

func count(n uint64) string { return humanize.Comma(int64(n)) }

func percent(f float64) string { return fmt.Sprintf("%.0f%%", 100*f) }

func rate(perSecond float64) string {
	switch {
	case perSecond >= 1e6:
		return fmt.Sprintf("%.2f M/s", perSecond/1e6)
	case perSecond >= 1e4:
		return fmt.Sprintf("%.0f k/s", perSecond/1e3)
	default:
		return fmt.Sprintf("%.0f/s", perSecond)
	}
}

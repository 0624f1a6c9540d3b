// Package view makes the API's picture of a pipeline from what its engine knows.
package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Status pictures a pipeline. Its file and uid are left to who knows them.
func Status(t engine.Topology, s engine.Status, l engine.LeaderStatus, now time.Time) api.Status {
	out := api.Status{
		Name: s.Name, State: api.State(s.State), Since: l.Since, Started: s.Started, Epoch: s.Epoch,
		Restarts: api.Restarts{
			Used: s.Restarts.Used, Allowed: s.Restarts.Allowed, Window: t.Restart.Window.Seconds(),
			Total: s.Restarts.Total, Cause: s.Restarts.Cause, NextAt: l.NextAt,
		},
		Guarantees:    []api.Guarantee{},
		Checkpoints:   checkpoints(t, s, l),
		Uncommitted:   []api.Uncommitted{},
		Nodes:         nodes(t, s.Nodes, now),
		BytesInFlight: int64(s.BytesInFlight),
	}
	if n := len(l.Restarts); n > 0 {
		out.Restarts.LastAt = &l.Restarts[n-1]
	}
	for _, g := range s.Guarantees {
		out.Guarantees = append(out.Guarantees, api.Guarantee{Sink: g.Sink, Guarantee: g.Guarantee.String(), Why: g.Why, LoweredBy: g.LoweredBy})
	}
	for _, u := range s.Uncommitted {
		out.Uncommitted = append(out.Uncommitted, api.Uncommitted{Sink: u.Sink, Committables: u.Committables, Since: u.Since, Error: u.Error})
	}
	switch out.State {
	case api.StateRunning:
		out.Bottleneck = bottleneck(t, out.Nodes)
	case api.StateWaiting:
		out.Reason = s.Restarts.Cause
	case api.StateFailed:
		if n := len(l.Failures); n > 0 {
			out.Reason = l.Failures[n-1].Cause
		}
	}
	return out
}

func checkpoints(t engine.Topology, s engine.Status, l engine.LeaderStatus) api.Checkpoints {
	c := api.Checkpoints{
		Interval: t.Checkpoint.Interval.Seconds(), Completed: s.Completed, Failed: s.Failed,
		FailedInRow: l.FailedInRow, Tolerated: t.Checkpoint.ToleratedFailures, LastFailure: l.LastFailure,
		Slowest: s.SlowestCheckpoint.Seconds(), Committed: l.Committed,
	}
	if e := s.Last; e != nil {
		c.Last = &api.CheckpointDone{Number: e.Number, At: e.At, Duration: e.Duration.Seconds(), Bytes: e.Bytes}
	}
	if n := s.InFlight; n != nil {
		c.InFlight = &api.CheckpointNow{Number: n.Number, Phase: n.Phase, Since: n.Since, Awaited: []api.Awaited{}}
		for _, a := range n.Tasks {
			since := a.Since
			if since.IsZero() {
				since = n.Since
			}
			c.InFlight.Awaited = append(c.InFlight.Awaited, api.Awaited{Task: a.Task, Phase: string(a.Phase), Since: since, Channels: a.Channels})
		}
	}
	return c
}

func nodes(t engine.Topology, all []engine.NodeStatus, now time.Time) []api.Node {
	names := map[string]string{}
	for _, n := range t.Nodes {
		names[n.ID] = n.Name
	}
	status := map[string]engine.NodeStatus{}
	for _, n := range all {
		status[n.Name] = n
	}
	out := make([]api.Node, 0, len(t.Nodes))
	for _, n := range t.Nodes {
		s := status[n.Name]
		plugin, component, _ := strings.Cut(n.Component, "/")
		node := api.Node{
			Name: n.Name, ID: n.ID, Kind: n.Kind, Component: component, Plugin: plugin, Version: n.Version,
			Parallelism: n.Parallelism, Inputs: []string{}, Outputs: append([]string{}, n.Outputs...),
			Flow: api.Flow{
				RecordsIn: s.RecordsIn, RecordsOut: s.RecordsOut, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
				RateIn: s.RateIn, RateOut: s.RateOut, Busy: s.Busy, Blocked: s.Blocked,
			},
			Progress:  progress(s.Progress),
			Watermark: watermark(s.Watermark, s.HeldBy, s.HeldBySplit, now),
			Failed:    api.Failed{Skipped: s.Skipped, DeadLettered: s.DeadLettered, Retries: s.Retries, Samples: samples(s.Samples)},
		}
		for _, id := range n.Inputs {
			node.Inputs = append(node.Inputs, names[id])
		}
		for _, m := range s.Metrics {
			node.Metrics = append(node.Metrics, api.Metric(m))
		}
		out = append(out, node)
	}
	return out
}

func progress(p *engine.Progress) *api.Progress {
	if p == nil {
		return nil
	}
	out := &api.Progress{Done: p.Done, Total: p.Total, Unit: p.Unit}
	if p.Lag >= 0 {
		out.Lag = &p.Lag
	}
	return out
}

func watermark(at *time.Time, task int, split string, now time.Time) *api.Watermark {
	if at == nil {
		return nil
	}
	return &api.Watermark{Time: at.UTC(), Lag: max(now.Sub(*at).Seconds(), 0), Task: task, Split: split}
}

// samples are masked by the names of fields, as taps are; secrets that the host knows it
// has masked already.
func samples(all []*pluginv1.FailureSample) []api.Sample {
	if len(all) == 0 {
		return nil
	}
	m := NewMask(func(s string) string { return s }, nil)
	var out []api.Sample
	for _, s := range all {
		out = append(out, api.Sample{
			At: time.Unix(0, s.GetTimeUnixNano()).UTC(), Error: s.GetError(), Split: s.GetSplit(), Ordinal: s.GetOrdinal(),
			Key: strings.ToValidUTF8(m.text(s.GetKey()), "\uFFFD"), Value: strings.ToValidUTF8(m.text(s.GetValue()), "\uFFFD"),
		})
	}
	return out
}

// Tasks pictures the tasks of a host.
func Tasks(all []engine.TaskStatus, host string, now time.Time) []api.Task {
	out := make([]api.Task, 0, len(all))
	for _, s := range all {
		out = append(out, api.Task{
			Node: s.Node, Index: s.Index, Host: host, Process: s.Process, Reported: s.Reported,
			Flow: api.Flow{
				RecordsIn: s.RecordsIn, RecordsOut: s.RecordsOut, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
				RateIn: s.RateIn, RateOut: s.RateOut, Busy: s.Busy, Blocked: s.Blocked,
			},
			Progress:  progress(s.Progress),
			Watermark: watermark(s.Watermark, s.Index, s.HeldBySplit, now),
			Failed:    api.Failed{Skipped: s.Skipped, DeadLettered: s.DeadLettered, Retries: s.Retries, Samples: samples(s.Samples)},
		})
	}
	return out
}

// Failures lists what went wrong, newest first.
func Failures(all []engine.Failure, host string) []api.Failure {
	out := make([]api.Failure, 0, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		f := all[i]
		out = append(out, api.Failure{At: f.At, Kind: string(f.Kind), Epoch: f.Epoch, Host: host, Node: f.Node, Task: f.Task, Plugin: f.Plugin, Cause: f.Cause})
	}
	return out
}

// Checkpoints lists what is stored, newest first, then savepoints by name.
func Checkpoints(h checkpoint.History) []api.Checkpoint {
	out := []api.Checkpoint{}
	for _, c := range h.Summaries() {
		out = append(out, api.Checkpoint{
			Number: c.N, Savepoint: c.Savepoint, State: string(c.State), Reason: c.Reason, Epoch: c.Epoch, CompletedAt: c.CompletedAt,
			Duration: c.Took.Seconds(), Bytes: c.Bytes, Committables: c.Committables, Published: c.Committed,
		})
	}
	return out
}

// Pipeline is a pipeline's line in a listing.
func Pipeline(s api.Status, now time.Time) api.Pipeline {
	p := api.Pipeline{Name: s.Name, State: s.State, Since: s.Since, Epoch: s.Epoch, Nodes: len(s.Nodes), Problem: problem(s, now)}
	for _, n := range s.Nodes {
		p.Tasks += n.Parallelism
		if n.Kind == "source" {
			p.Records += n.RecordsOut
			p.Rate += n.RateOut
		}
	}
	if c := s.Checkpoints.Last; c != nil {
		p.Completed = c.Number
	}
	return p
}

// problem is what needs attention, in a sentence.
func problem(s api.Status, now time.Time) string {
	c := s.Checkpoints
	switch {
	case s.State == api.StateFailed, s.State == api.StateWaiting:
		return firstLine(s.Reason)
	case s.State.Ended():
		return firstLine(s.Reason)
	case len(s.Uncommitted) > 0:
		return fmt.Sprintf("%s cannot publish: %s", s.Uncommitted[0].Sink, firstLine(s.Uncommitted[0].Error))
	case c.FailedInRow > 0:
		return fmt.Sprintf("%d of %d tolerated checkpoints failed: %s", c.FailedInRow, c.Tolerated, firstLine(c.LastFailure))
	case c.InFlight != nil && now.Sub(c.InFlight.Since) > max(time.Duration(2*c.Interval*float64(time.Second)), slow) && len(c.InFlight.Awaited) > 0:
		a := c.InFlight.Awaited[0]
		return fmt.Sprintf("checkpoint %d waits for %s (%s) for %v", c.InFlight.Number, a.Task, a.Phase, now.Sub(a.Since).Round(time.Second))
	}
	return ""
}

// slow is the least time after which a checkpoint under way is a problem.
const slow = 10 * time.Second

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSuffix(line, ":")
}

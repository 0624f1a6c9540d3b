package view_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/view"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// topology is in -> (parse, clean) -> out: four nodes in three chains.
func topology() engine.Topology {
	return engine.Topology{
		Name: "p", Restart: pipeline.Restart{Attempts: 5, Window: 10 * time.Minute},
		Checkpoint: pipeline.Checkpoint{Interval: 5 * time.Second, ToleratedFailures: 3},
		Nodes: []engine.TopologyNode{
			{Name: "in", ID: "i", Kind: "source", Component: "weir/file", Parallelism: 2},
			{Name: "parse", ID: "parse", Kind: "operator", Component: "acme/parse", Version: "1.2.0", Parallelism: 1, Inputs: []string{"i"}},
			{Name: "clean", ID: "clean", Kind: "operator", Component: "acme/clean", Parallelism: 1, Inputs: []string{"parse"}},
			{Name: "out", ID: "out", Kind: "sink", Component: "weir/file", Parallelism: 1, Inputs: []string{"clean"}},
		},
		Chains: []engine.TopologyChain{
			{Name: "in", Nodes: []string{"in"}, Source: true},
			{Name: "parse", Nodes: []string{"parse", "clean"}, From: []string{"in"}},
			{Name: "out", Nodes: []string{"out"}, From: []string{"parse"}},
		},
	}
}

func TestTheBottleneckIsNamed(t *testing.T) {
	type load struct{ busy, blocked float64 }
	for name, c := range map[string]struct {
		in, parse, out load
		want           string // its first node; empty: none
		why            string
	}{
		"nobody is busy":           {load{0.1, 0}, load{0.1, 0}, load{0.1, 0}, "", ""},
		"the sink":                 {load{0.3, 0.7}, load{0.2, 0.8}, load{0.95, 0}, "out", "busy 95% of the time; clean waits for it (back-pressured 80%)"},
		"nodes that share tasks":   {load{0.1, 0.9}, load{0.9, 0.05}, load{0.3, 0}, "parse", "busy 90% of the time; in waits for it (back-pressured 90%)"},
		"the source":               {load{0.97, 0}, load{0.5, 0}, load{0.3, 0}, "in", "busy 97% of the time"},
		"the busier of two":        {load{0.8, 0}, load{0.9, 0}, load{0.3, 0}, "parse", "busy 90% of the time"},
		"one that waits outside":   {load{0.1, 0.9}, load{0.1, 0.9}, load{0.05, 0}, "out", "clean is back-pressured 90% although this is busy only 5% of the time: it waits for something outside"},
		"busy, but held back more": {load{0.1, 0.9}, load{0.7, 0.8}, load{0.75, 0}, "out", "busy 75% of the time; clean waits for it (back-pressured 80%)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := engine.Status{Name: "p", State: engine.StateRunning}
			for node, l := range map[string]load{"in": c.in, "parse": c.parse, "clean": c.parse, "out": c.out} {
				s.Nodes = append(s.Nodes, engine.NodeStatus{Name: node, Busy: l.busy, Blocked: l.blocked})
			}
			got := view.Status(topology(), s, engine.LeaderStatus{}, now).Bottleneck
			switch {
			case c.want == "" && got != nil, c.want != "" && got == nil:
				t.Errorf("%+v", got)
			case got != nil && (got.Nodes[0] != c.want || got.Why != c.why):
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAStatusTellsWhatTheEngineKnows(t *testing.T) {
	at := now.Add(-3 * time.Second)
	s := engine.Status{
		Name: "p", State: engine.StateRunning, Epoch: 4, Completed: 7, Failed: 1,
		Restarts: engine.RestartStatus{Used: 1, Allowed: 5, Total: 2, Cause: "in broke"},
		InFlight: &engine.CheckpointNow{Number: 9, Phase: "collecting", Since: at, Tasks: []engine.AwaitedTask{
			{Task: "out[0]", Phase: engine.TaskBarrier}, {Task: "parse[0]", Phase: engine.TaskAlign, Since: now, Channels: []string{"in (task 1 to 0)"}},
		}},
		Uncommitted: []engine.UncommittedStatus{{Sink: "out", Error: "disk full", Committables: 2, Since: &at}},
		Guarantees:  []pipeline.SinkGuarantee{{Sink: "out", Guarantee: pipeline.GuaranteeExactlyOnce, Why: "so"}},
		Nodes: []engine.NodeStatus{{
			Name: "in", RecordsOut: 10, RateOut: 5, Progress: &engine.Progress{Done: 1, Total: 4, Unit: "bytes", Lag: -1},
			Watermark: &at, HeldBy: 1, HeldBySplit: "f:2",
			Samples: []*pluginv1.FailureSample{{Error: "bad", Key: []byte("k"), Value: []byte{0xff, 'v'}, TimeUnixNano: now.UnixNano()}},
		}},
	}
	l := engine.LeaderStatus{Since: at, Restarts: []time.Time{at}, FailedInRow: 1, LastFailure: "timed out", Committed: 8}
	got := view.Status(topology(), s, l, now)
	in := got.Nodes[0]
	for what, ok := range map[string]bool{
		"in flight since":    got.Checkpoints.InFlight.Awaited[0].Since.Equal(at),
		"channels":           got.Checkpoints.InFlight.Awaited[1].Channels[0] == "in (task 1 to 0)" && got.Checkpoints.InFlight.Awaited[1].Phase == "align",
		"checkpoints":        got.Checkpoints.FailedInRow == 1 && got.Checkpoints.Committed == 8 && got.Checkpoints.Interval == 5,
		"restarts":           got.Restarts.Window == 600 && got.Restarts.LastAt.Equal(at) && got.Restarts.Total == 2,
		"uncommitted":        got.Uncommitted[0].Committables == 2 && got.Uncommitted[0].Error == "disk full",
		"guarantee":          got.Guarantees[0].Guarantee == "exactly_once",
		"an unknown lag":     in.Progress.Lag == nil && in.Progress.Total == 4,
		"watermark":          in.Watermark.Lag == 3 && in.Watermark.Task == 1 && in.Watermark.Split == "f:2",
		"a sample as text":   in.Failed.Samples[0].Value == "\uFFFDv" && in.Failed.Samples[0].Key == "k",
		"inputs by name":     got.Nodes[1].Inputs[0] == "in" && got.Nodes[1].Plugin == "acme" && got.Nodes[1].Component == "parse" && got.Nodes[1].Version == "1.2.0",
		"a node that is new": got.Nodes[3].Name == "out" && got.Nodes[3].RecordsIn == 0,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestAListingSaysWhatNeedsAttention(t *testing.T) {
	for name, c := range map[string]struct {
		status api.Status
		want   string
	}{
		"nothing":     {api.Status{State: api.StateRunning}, ""},
		"failed":      {api.Status{State: api.StateFailed, Reason: "in broke:\nstack"}, "in broke"},
		"waiting":     {api.Status{State: api.StateWaiting, Reason: "in broke"}, "in broke"},
		"uncommitted": {api.Status{State: api.StateRunning, Uncommitted: []api.Uncommitted{{Sink: "out", Error: "disk full"}}}, "out cannot publish: disk full"},
		"checkpoints": {api.Status{State: api.StateRunning, Checkpoints: api.Checkpoints{FailedInRow: 2, Tolerated: 3, LastFailure: "timed out"}}, "2 of 3 tolerated checkpoints failed: timed out"},
		"slow": {api.Status{State: api.StateRunning, Checkpoints: api.Checkpoints{Interval: 1, InFlight: &api.CheckpointNow{
			Number: 5, Since: now.Add(-time.Minute), Awaited: []api.Awaited{{Task: "out[0]", Phase: "upload", Since: now.Add(-30 * time.Second)}},
		}}}, "checkpoint 5 waits for out[0] (upload) for 30s"},
		"not slow yet": {api.Status{State: api.StateRunning, Checkpoints: api.Checkpoints{Interval: 60, InFlight: &api.CheckpointNow{
			Number: 5, Since: now.Add(-time.Minute), Awaited: []api.Awaited{{Task: "out[0]"}},
		}}}, ""},
	} {
		if got := view.Pipeline(c.status, now).Problem; got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	p := view.Pipeline(api.Status{Name: "p", Nodes: []api.Node{
		{Kind: "source", Parallelism: 2, Flow: api.Flow{RecordsOut: 10, RateOut: 1.5}},
		{Kind: "source", Parallelism: 1, Flow: api.Flow{RecordsOut: 5, RateOut: 1}},
		{Kind: "sink", Parallelism: 4, Flow: api.Flow{RecordsIn: 99}},
	}}, now)
	if p.Records != 15 || p.Rate != 2.5 || p.Tasks != 7 || p.Nodes != 3 {
		t.Errorf("%+v", p)
	}
}

func TestFailuresAreNewestFirst(t *testing.T) {
	got := view.Failures([]engine.Failure{{Cause: "first"}, {Cause: "second", Kind: engine.FailureRestart}}, "h")
	if len(got) != 2 || !strings.HasPrefix(got[0].Cause, "second") || got[0].Host != "h" || got[0].Kind != "restart" {
		t.Errorf("%+v", got)
	}
}

package console_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/console"
)

var updateStatus = flag.Bool("update", false, "write the golden pictures anew")

func TestAStatusIsReadable(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.Local)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	lag := int64(1200)
	all := api.Status{
		Name: "orders", File: "/etc/weir/orders.yaml", State: api.StateRunning, Since: *ago(90 * time.Minute), Epoch: 3,
		Guarantees: []api.Guarantee{
			{Sink: "out", Guarantee: "exactly_once", Why: "both can"}, {Sink: "late", Guarantee: "exactly_once", Why: "both can"},
			{Sink: "shown", Guarantee: "none", Why: "stdout keeps nothing"}, {Sink: "far", Guarantee: "none"},
		},
		Restarts: api.Restarts{Used: 1, Allowed: 5, Window: 600, Total: 2, LastAt: ago(5 * time.Minute), Cause: "task out[0] (plugin acme): the archive\nis closed"},
		Checkpoints: api.Checkpoints{
			Completed: 12, Failed: 2, FailedInRow: 1, Tolerated: 3, LastFailure: "checkpoint 13: timed out",
			Last: &api.CheckpointDone{Number: 12, At: *ago(65 * time.Second), Duration: 0.012, Bytes: 4600},
			InFlight: &api.CheckpointNow{Number: 14, Phase: "collecting", Since: *ago(30 * time.Second), Awaited: []api.Awaited{
				{Task: "out[0]", Phase: "upload", Since: *ago(29 * time.Second)},
				{Task: "parse[1]", Phase: "align", Since: *ago(20 * time.Second), Channels: []string{"in.out -> parse (task 1 to 1)"}},
			}},
		},
		Uncommitted: []api.Uncommitted{{Sink: "out", Committables: 3, Since: ago(2 * time.Minute), Error: "node out: commit: disk full"}},
		Bottleneck:  &api.Bottleneck{Nodes: []string{"parse", "clean"}, Why: "busy 95% of the time; in waits for it (back-pressured 80%)"},
		LogLevels:   &api.LogLevels{All: "warn", Nodes: map[string]string{"parse": "debug", "in": "info"}},
		Nodes: []api.Node{
			{Name: "in", Kind: "source", Component: "kafka", Plugin: "weir", Parallelism: 2, Flow: api.Flow{RecordsOut: 1234567, RateOut: 25300, Blocked: 0.8, Busy: 0.1},
				Progress: &api.Progress{Lag: &lag}, Watermark: &api.Watermark{Lag: 2.5, Split: "orders-3"}},
			{Name: "parse", Kind: "operator", Component: "parse", Plugin: "acme", Parallelism: 2, Flow: api.Flow{RecordsIn: 1234000, RecordsOut: 1230000, RateIn: 25100, Busy: 0.95},
				Watermark: &api.Watermark{Lag: 3, Task: 1},
				Failed: api.Failed{Skipped: 4, DeadLettered: 1, Retries: 2, Samples: []api.Sample{
					{At: *ago(time.Second), Error: "no number: \"x\"", Split: "orders-3", Ordinal: 17, Key: "k", Value: `{"n":"x"}`},
				}}},
			{Name: "out", Kind: "sink", Component: "file", Plugin: "weir", Parallelism: 1, Flow: api.Flow{RecordsIn: 1200000, RateIn: 25000, Busy: 0.3}},
		},
	}
	waiting := api.Status{
		Name: "orders", State: api.StateWaiting, Since: *ago(2 * time.Second), Epoch: 4, Reason: "the process of node in: exit status 2\nlast output: boom",
		Restarts: api.Restarts{Used: 2, Allowed: 5, Window: 600, Total: 3, Cause: "the process of node in: exit status 2", NextAt: ago(-4 * time.Second)},
	}
	never := api.Status{Name: "orders", State: api.StateStopped}
	list := []api.Pipeline{
		{Name: "orders", State: api.StateRunning, Since: *ago(90 * time.Minute), Records: 1234567, Rate: 25300, Completed: 12, Problem: "out cannot publish: disk full"},
		{Name: "old", State: api.StateFinished, Since: *ago(72 * time.Hour), Records: 5},
	}
	var b strings.Builder
	for _, width := range []int{0, 80, 40} {
		b.WriteString(strings.Repeat("=", max(width, 100)) + "\n" + console.Status(all, now, width) + "\n" + console.Pipelines(list, now, width) + "\n")
	}
	b.WriteString("====\n" + console.Status(waiting, now, 0) + "====\n" + console.Status(never, now, 0))
	golden := filepath.Join("testdata", "status.txt")
	if *updateStatus {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s", b.String())
	}
}

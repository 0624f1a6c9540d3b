package engine

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node makes a node of plugin p.
func node(name string, kind pluginv1.Kind) *pipeline.Node {
	return &pipeline.Node{
		Name: name, ID: name + "-id", Kind: kind, Plugin: "p", Component: name, Parallelism: 1,
		Isolation: pipeline.IsolationPlugin, Capabilities: &pluginv1.Capabilities{}, OnFailure: &pluginv1.FailurePolicy{},
	}
}

// line joins a source and a sink.
func line() *pipeline.Pipeline {
	src, snk := node("src", pluginv1.Kind_KIND_SOURCE), node("snk", pluginv1.Kind_KIND_SINK)
	e := &pipeline.Edge{From: "src", Output: "out", To: "snk", Partition: pluginv1.Partition_PARTITION_FORWARD}
	src.Outputs = []pipeline.Output{{Name: "out", Edges: []*pipeline.Edge{e}}}
	snk.Inputs = []pipeline.Input{{Edges: []*pipeline.Edge{e}}}
	return &pipeline.Pipeline{
		Name: "test", Parallelism: 1, MaxParallelism: 16, Nodes: []*pipeline.Node{src, snk}, Edges: []*pipeline.Edge{e},
		Plugins:    []pipeline.Plugin{{Name: "p"}},
		Checkpoint: pipeline.Checkpoint{DrainTimeout: 10 * time.Millisecond, Timeout: time.Minute},
		Restart:    pipeline.Restart{Attempts: 1, Window: time.Hour, Backoff: pipeline.Backoff{Min: time.Hour, Max: time.Hour}},
	}
}

func newEngine(t *testing.T, start StartFunc) *Engine {
	t.Helper()
	db, err := embedded.Open(filepath.Join(t.TempDir(), "weir.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := db.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	lead, err := coordination.Campaign(t.Context(), store, "leader", nil)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := storage.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{objects, store, db} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return New(Config{Pipeline: line(), Store: store, Leadership: lead, Storage: objects, Start: start, Log: slog.New(slog.DiscardHandler)})
}

// A pipeline that is told to stop while it restores or opens stops: nothing has
// been read, so it waits neither for a plugin that does not start nor for a
// checkpoint.
func TestStopBeforeDataFlowsWaitsForNothing(t *testing.T) {
	starting := make(chan struct{})
	e := newEngine(t, func(ctx context.Context, _ pipeline.Plugin) (Process, error) {
		close(starting)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	ended := make(chan error, 1)
	go func() {
		out, err := e.Run(t.Context())
		if err == nil && (out.Finished || out.Uncommitted != nil) {
			t.Errorf("%+v", out)
		}
		ended <- err
	}()
	<-starting
	e.Stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for the plugin")
	}
	if s := e.Status().State; s != StateStopped {
		t.Errorf("the state is %s", s)
	}
}

// Whoever asks a node finds the process of its chain, also where a plugin runs one
// task a process: a member of a chain has no process of its own name.
func TestAMemberOfAChainIsAskedInTheProcessOfItsChain(t *testing.T) {
	p := line()
	for _, n := range p.Nodes {
		n.OneTaskPerProcess = true
	}
	g := newGeneration(NewWorker(WorkerConfig{Host: "h", Pipeline: p, Log: slog.New(slog.DiscardHandler)}), Restore{}, nil, Upward{})
	for _, n := range p.Nodes {
		key, ok := g.processOf(n)
		if !ok || !slices.Contains(g.processes(), key) {
			t.Errorf("node %s is asked in %s, and there are %v", n.Name, key, g.processes())
		}
	}
}

// A record that a keyed edge cannot place leaves whole, with the error, the
// component and its origin, as every dead letter does.
func TestADeadLetterOfAKeyedEdgeLeavesWhole(t *testing.T) {
	pool := wire.NewPool()
	w := pool.NewBuilder(1000)
	w.SetOrigin(true)
	w.Append(nil, []byte("v"), 7, wire.AppendHeader(nil, "own", []byte("1")), "file", 12)
	records := w.Freeze()
	defer records.Release()
	letters := deadLetters(pool, node("src", pluginv1.Kind_KIND_SOURCE), records, edge.ErrNullKey)
	defer letters.Release()
	if letters.Key(0) != nil || string(letters.Value(0)) != "v" || letters.Time(0) != 7 {
		t.Errorf("%q %q %d", letters.Key(0), letters.Value(0), letters.Time(0))
	}
	if split, ordinal := letters.Origin(0); split != "file" || ordinal != 12 {
		t.Errorf("ordinal %d of %q", ordinal, split)
	}
	want := map[string]string{
		"own": "1", policy.HeaderError: edge.ErrNullKey.Error(), policy.HeaderComponent: "src-id",
		policy.HeaderOriginSplit: "file", policy.HeaderOriginOrdinal: "12",
	}
	for name, v := range want {
		if got, ok := letters.Headers(0).Get(name); !ok || string(got) != v {
			t.Errorf("header %s is %q, not %q", name, got, v)
		}
	}
}

// Failed records of a keyed edge are counted and shown with those that the plugin
// reports.
func TestAReportHasTheFailedRecordsOfKeyedEdges(t *testing.T) {
	pool := wire.NewPool()
	n := node("src", pluginv1.Kind_KIND_SOURCE)
	n.OnFailure = &pluginv1.FailurePolicy{Action: pluginv1.FailurePolicy_ACTION_SKIP}
	k := newKeyless([]*pipeline.Node{n}, pool)
	w := pool.NewBuilder(1000)
	w.SetOrigin(true)
	for i := range 7 {
		w.Append(nil, []byte{byte('0' + i)}, 0, nil, "file", int64(i))
	}
	records := w.Freeze()
	defer records.Release()
	if err := k.handle(t.Context(), "src.out -> count.in", 0, records, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a report has all since the opening
		later := &pluginv1.FailureSample{TimeUnixNano: time.Now().UnixNano(), Error: "the plugin's"}
		r := &pluginv1.Report{Components: []*pluginv1.ComponentReport{{FailedSkipped: 3, Samples: []*pluginv1.FailureSample{later}}}}
		k.complete(r)
		c := r.Components[0]
		if c.FailedSkipped != 10 || len(c.Samples) != 5 || c.Samples[4] != later || c.Samples[3].Ordinal != 6 || !strings.Contains(c.Samples[0].Error, "without a key") {
			t.Errorf("%v", r)
		}
	}
}

package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// world is what a pipeline's runs share: its state, what its sources may read,
// what its sinks have published, and a log of what was asked of the plugins, in
// order. The plugins are fakes in this process that speak the wire contract.
type world struct {
	t    *testing.T
	dir  string
	db   *embedded.DB
	log  logBuffer
	name string
	edit func(*engine.Config)

	mu        sync.Mutex
	events    []string
	feeds     map[string]*feed
	scripts   map[string]*script
	published map[string][]output // by node id
	starts    int
	procs     []*proc
	tasks     []*simTask // every task of every epoch, in the order of Open
}

// feed is what a split holds so far.
type feed struct {
	values []string
	ended  bool
	hidden bool // not found yet
}

// output is a committable that was published.
type output struct {
	key        string
	checkpoint uint64
	values     []string
}

// script makes a node do what it would not do by itself. Functions are called on
// the goroutine that serves the node and may wait.
type script struct {
	open     func(t *simTask) *pluginv1.Error                         // before Opened
	frame    func(t *simTask) bool                                    // before a batch is taken; false drops it
	barrier  func(t *simTask, b *pluginv1.Barrier)                    // before it is passed on
	snapshot func(t *simTask, b *pluginv1.Barrier) *pluginv1.Error    // before the snapshot is delivered
	entries  func(t *simTask, b *pluginv1.Barrier) []*pluginv1.Entry  // on top
	close    func(t *simTask) bool                                    // false: does not answer
	commit   func(r *pluginv1.CommitRequest) (*pluginv1.Error, error) // before
	sweep    func(r *pluginv1.SweepRequest) (*pluginv1.Error, error)  // before
	probe    func() []*pluginv1.Fault
}

// newWorld returns an empty one, to a test that runs beside others.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{
		t: t, dir: t.TempDir(), name: "p",
		feeds: map[string]*feed{}, scripts: map[string]*script{}, published: map[string][]output{},
	}
	var err error
	if w.db, err = embedded.Open(filepath.Join(w.dir, "weir.db"), embedded.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			w.mu.Lock()
			t.Logf("what happened:\n%s\nlog:\n%s", strings.Join(w.events, "\n"), w.log.String())
			w.mu.Unlock()
		}
	})
	return w
}

// note adds to the log of what happened.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

// happened are the events whose text begins so, in order.
func (w *world) happened(prefix string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.events {
		if strings.HasPrefix(e, prefix) {
			out = append(out, e)
		}
	}
	return out
}

// script returns a node's, to be set before a run or while a test holds w.mu.
func (w *world) script(node string) *script {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.scripts[node] == nil {
		w.scripts[node] = &script{}
	}
	return w.scripts[node]
}

// act returns a copy of a node's script.
func (w *world) act(node string) script {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.scripts[node]; s != nil {
		return *s
	}
	return script{}
}

// setScript changes a node's script while a run goes on.
func (w *world) setScript(node string, s script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scripts[node] = &s
}

// feed adds records to a split of a source node, which it makes where there is
// none.
func (w *world) feed(node string, split int, values ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.split(splitID(node, split))
	f.values = append(f.values, values...)
}

// end ends a split.
func (w *world) end(node string, splits ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range splits {
		w.split(splitID(node, s)).ended = true
	}
}

// hide keeps a split from being found; show lets it be.
func (w *world) hide(node string, split int, hidden bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.split(splitID(node, split)).hidden = hidden
}

func (w *world) split(id string) *feed {
	if w.feeds[id] == nil {
		w.feeds[id] = &feed{}
	}
	return w.feeds[id]
}

func splitID(node string, split int) string { return fmt.Sprintf("%s/%d", node, split) }

// out is everything that a sink has published, sorted.
func (w *world) out(node string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var values []string
	for _, o := range w.published[node] {
		values = append(values, o.values...)
	}
	slices.Sort(values)
	return values
}

// expectOut compares what a sink has published with what it must have, each once.
func (w *world) expectOut(node string, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.out(node); !slices.Equal(got, want) {
		w.t.Errorf("%s has published %q, want %q", node, got, want)
	}
}

// await waits until cond holds.
func (w *world) await(what string, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within half a minute: %s", what)
		}
	}
}

// awaitOut waits until a sink has published so many records.
func (w *world) awaitOut(node string, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d records of %s", n, node), func() bool { return len(w.out(node)) >= n })
}

// awaitEvent waits until an event has happened so often.
func (w *world) awaitEvent(prefix string, times int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%q %d times", prefix, times), func() bool { return len(w.happened(prefix)) >= times })
}

// load reads a pipeline file. Each node has a process of its own unless the file
// says otherwise.
func (w *world) load(yaml string) *pipeline.Pipeline {
	w.t.Helper()
	p, report := pipeline.LoadBytes(w.t.Context(), "p.yaml", []byte(yaml), pipeline.Options{Catalog: fakeCatalog{}})
	if !report.OK() {
		w.t.Fatal(report.Err())
	}
	return p
}

// quick is the head of a pipeline file for tests: frequent checkpoints, no
// chains, and a restart policy that waits for nothing.
const quick = `
name: p
isolation: node
checkpoint: {interval: 10ms, timeout: 20s, retain: 2, drain_timeout: 20s}
restart: {attempts: 3, window: 1h, backoff: 1ms..1ms}
nodes:
`

// running is a run of the engine.
type running struct {
	w       *world
	engine  *engine.Engine
	store   *embedded.Store
	cancel  context.CancelFunc
	done    chan struct{}
	outcome engine.Outcome
	err     error
}

// start runs a pipeline as a host would that has just been started.
func (w *world) start(yaml string) *running {
	w.t.Helper()
	p := w.load(yaml)
	store, err := w.db.NewStore()
	if err != nil {
		w.t.Fatal(err)
	}
	lead, err := coordination.Campaign(w.t.Context(), store, "leader", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	st := w.storage()
	c := engine.Config{
		Pipeline: p, Store: store, Leadership: lead, Storage: st,
		Log:   slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Start: func(_ context.Context, pl pipeline.Plugin) (engine.Process, error) { return w.newProc(pl.Name), nil },
	}
	if w.edit != nil {
		w.edit(&c)
	}
	r := &running{w: w, engine: engine.New(c), store: store, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.outcome, r.err = r.engine.Run(ctx)
		cancel()
		_ = store.Close()
		_ = st.Close()
	}()
	w.t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

func (w *world) storage() *storage.Storage {
	w.t.Helper()
	st, err := storage.Open(context.Background(), (&url.URL{Scheme: "file", Path: filepath.Join(w.dir, "checkpoints")}).String())
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// wait waits for the end of the run.
func (r *running) wait() (engine.Outcome, error) {
	r.w.t.Helper()
	select {
	case <-r.done:
	case <-time.After(time.Minute):
		r.w.t.Fatal("the run has not ended")
	}
	return r.outcome, r.err
}

// finish waits until the pipeline has finished.
func (r *running) finish() {
	r.w.t.Helper()
	if out, err := r.wait(); err != nil || !out.Finished {
		r.w.t.Fatalf("%+v, %v", out, err)
	}
}

// crash ends the run at once, without a final checkpoint.
func (r *running) crash() {
	r.w.t.Helper()
	r.cancel()
	if _, err := r.wait(); err != nil && !errors.Is(err, context.Canceled) {
		r.w.t.Fatal(err)
	}
}

// stop asks for a final checkpoint and waits.
func (r *running) stop() engine.Outcome {
	r.w.t.Helper()
	r.engine.Stop()
	out, err := r.wait()
	if err != nil {
		r.w.t.Fatal(err)
	}
	return out
}

// history is what is recorded about the pipeline.
func (w *world) history() checkpoint.History {
	w.t.Helper()
	store, err := w.db.NewStore()
	if err != nil {
		w.t.Fatal(err)
	}
	defer store.Close()
	h, err := checkpoint.NewLedger(store, nil, w.name).Load(context.Background())
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		w.t.Fatal(err)
	}
	return h
}

// steps calls do at a step, the nth time that it is taken.
func (w *world) atStep(step engine.Step, nth int, do func()) {
	var mu sync.Mutex
	n := 0
	w.edit = func(c *engine.Config) {
		c.OnStep = func(s engine.Step) {
			if s != step {
				return
			}
			mu.Lock()
			n++
			now := n == nth
			mu.Unlock()
			if now {
				do()
			}
		}
	}
}

// logBuffer collects the log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// contains checks that a text has all parts.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}

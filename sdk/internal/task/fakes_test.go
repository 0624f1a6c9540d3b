package task

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// fakeOperator is an operator made of functions; each may be absent.
type fakeOperator struct {
	env         *Env
	process     func(ctx context.Context, port int, in *wire.Batch, out *Output) error
	onWatermark func(ctx context.Context, w int64, out *Output) error
	flush       func(ctx context.Context, final bool, out *Output) error
	snapshot    func() ([]*pluginv1.Entry, error)
	closed      func() error
}

func (f *fakeOperator) Process(ctx context.Context, port int, in *wire.Batch, out *Output) error {
	if f.process == nil {
		out.ForwardAll(in)
		return nil
	}
	return f.process(ctx, port, in, out)
}

func (f *fakeOperator) OnWatermark(ctx context.Context, w int64, out *Output) error {
	if f.onWatermark == nil {
		return nil
	}
	return f.onWatermark(ctx, w, out)
}

func (f *fakeOperator) Flush(ctx context.Context, final bool, out *Output) error {
	if f.flush == nil {
		return nil
	}
	return f.flush(ctx, final, out)
}

func (f *fakeOperator) Snapshot(context.Context) ([]*pluginv1.Entry, error) {
	if f.snapshot == nil {
		return nil, nil
	}
	return f.snapshot()
}

func (f *fakeOperator) Close() error {
	if f.closed == nil {
		return nil
	}
	return f.closed()
}

func operatorNamed(name string, f *fakeOperator, outputs ...string) *Component {
	spec := &pluginv1.Component{Kind: pluginv1.Kind_KIND_OPERATOR, Name: name}
	for _, o := range outputs {
		spec.Outputs = append(spec.Outputs, &pluginv1.Output{Name: o})
	}
	return &Component{Spec: spec, OpenOperator: func(_ context.Context, _ []byte, env *Env) (Operator, error) {
		f.env = env
		return f, nil
	}}
}

// mapped emits f(value) for every record.
func mapped(f func(string) string) *fakeOperator {
	return &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for i := range in.Len() {
			out.Emit(in, i, append(out.AvailableBuffer(), f(string(in.Value(i)))...))
		}
		return nil
	}}
}

// fakeSink keeps what it writes; Prepare makes one committable of what was
// written since the last one, unless it is not two-phase.
type fakeSink struct {
	mu       sync.Mutex
	env      *Env
	twoPhase bool
	written  []string // since the last Prepare
	all      []string
	calls    []string
	write    func(ctx context.Context, port int, in *wire.Batch, failed *Output) error
	flush    func() error
	due      bool
	closed   func() error
}

func (f *fakeSink) Write(ctx context.Context, port int, in *wire.Batch, failed *Output) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.write != nil {
		if err := f.write(ctx, port, in, failed); err != nil {
			return err
		}
	}
	for i := range in.Len() {
		f.written = append(f.written, string(in.Value(i)))
		f.all = append(f.all, string(in.Value(i)))
	}
	return nil
}

func (f *fakeSink) Flush(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "flush")
	if f.flush != nil {
		return f.flush()
	}
	return nil
}

func (f *fakeSink) Prepare(_ context.Context, b Barrier) ([]*pluginv1.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf("prepare(%d,roll=%v,final=%v)", b.Checkpoint, b.Roll, b.Final))
	if !f.twoPhase || len(f.written) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(f.written)
	f.written = nil
	return []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_COMMITTABLE, Id: fmt.Sprint(b.Checkpoint), Content: payload(data)}}, err
}

func (f *fakeSink) Snapshot(context.Context) ([]*pluginv1.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "snapshot")
	data, err := json.Marshal(f.written)
	return []*pluginv1.Entry{{Kind: pluginv1.Entry_KIND_WRITER, Id: "writer", Content: payload(data)}}, err
}

func (f *fakeSink) Due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.due
}

func (f *fakeSink) Close() error {
	if f.closed == nil {
		return nil
	}
	return f.closed()
}

func (f *fakeSink) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.all...)
}

func sinkNamed(name string, f *fakeSink) *Component {
	return &Component{
		Spec: &pluginv1.Component{Kind: pluginv1.Kind_KIND_SINK, Name: name},
		OpenSink: func(_ context.Context, _ []byte, env *Env) (Sink, error) {
			f.env = env
			return f, nil
		},
	}
}

// fakeCommitter publishes into a shared map, once an id.
type fakeCommitter struct {
	mu        sync.Mutex
	opened    int
	closedN   int
	committed []string
	sweeps    []*pluginv1.SweepRequest
	commit    func(ctx context.Context, entries []*pluginv1.Entry) error
}

func (f *fakeCommitter) Commit(ctx context.Context, entries []*pluginv1.Entry) error {
	if f.commit != nil {
		if err := f.commit(ctx, entries); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		f.committed = append(f.committed, e.GetId())
	}
	return nil
}

func (f *fakeCommitter) Sweep(_ context.Context, r *pluginv1.SweepRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweeps = append(f.sweeps, r)
	return nil
}

func (f *fakeCommitter) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closedN++
	return nil
}

func (f *fakeCommitter) counts() (opened, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened, f.closedN
}

func (f *fakeCommitter) of(c *Component) *Component {
	c.OpenCommitter = func(context.Context, []byte, []string, *pluginv1.Owner, *slog.Logger) (Committer, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.opened++
		return f, nil
	}
	return c
}

// fakeSource has splits of numbered records: "<id>:<ordinal>".
type fakeSource struct {
	env        *Env
	list       func(ctx context.Context, cursor []byte) ([]Split, []byte, bool, error)
	interval   time.Duration
	concurrent int
	counts     map[string]int // records of each split
	perRead    int
	read       func(ctx context.Context, r *fakeReader, out *Output) (any, error)
	openSplit  func(s Split, position []byte) error
	completed  func(checkpoint uint64, at map[string][]byte)
	progress   *pluginv1.Progress
	closed     func() error
}

func (f *fakeSource) Splits(ctx context.Context, cursor []byte) ([]Split, []byte, bool, error) {
	if f.list == nil {
		var out []Split
		for id := range f.counts {
			out = append(out, Split{ID: id, Data: []byte(`{}`)})
		}
		return out, nil, false, nil
	}
	return f.list(ctx, cursor)
}

func (f *fakeSource) SplitInterval() time.Duration { return f.interval }

func (f *fakeSource) OpenSplit(_ context.Context, s Split, position []byte) (Reader, error) {
	if f.openSplit != nil {
		if err := f.openSplit(s, position); err != nil {
			return nil, err
		}
	}
	r := &fakeReader{source: f, id: s.ID}
	if position != nil {
		if err := json.Unmarshal(position, &r.next); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (f *fakeSource) Completed(_ context.Context, n uint64, at map[string][]byte) error {
	if f.completed != nil {
		f.completed(n, at)
	}
	return nil
}

func (f *fakeSource) Progress() *pluginv1.Progress                        { return f.progress }
func (f *fakeSource) ConcurrentSplits() int                               { return f.concurrent }
func (f *fakeSource) Snapshot(context.Context) ([]*pluginv1.Entry, error) { return nil, nil }

func (f *fakeSource) Close() error {
	if f.closed == nil {
		return nil
	}
	return f.closed()
}

type fakeReader struct {
	source *fakeSource
	id     string
	next   int
}

func (r *fakeReader) Read(ctx context.Context, out *Output) (any, error) {
	if r.source.read != nil {
		return r.source.read(ctx, r, out)
	}
	return r.readSome(out)
}

func (r *fakeReader) readSome(out *Output) (any, error) {
	count, n := r.source.counts[r.id], max(1, r.source.perRead)
	for ; n > 0 && r.next < count && !out.Full(); n-- {
		out.Append(nil, fmt.Appendf(out.AvailableBuffer(), "%s:%d", r.id, r.next), wire.NoTime, nil, int64(r.next))
		r.next++
	}
	if r.next >= count {
		return r.next, io.EOF
	}
	return r.next, nil
}

func (r *fakeReader) Encode(position any) ([]byte, error) { return json.Marshal(position) }
func (r *fakeReader) Close() error                        { return nil }

func sourceNamed(name string, f *fakeSource) *Component {
	return &Component{
		Spec: &pluginv1.Component{Kind: pluginv1.Kind_KIND_SOURCE, Name: name},
		OpenSource: func(_ context.Context, _ []byte, env *Env) (Source, error) {
			f.env = env
			return f, nil
		},
	}
}

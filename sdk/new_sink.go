package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/task"
)

// NewSink declares a sink that gives at-least-once. open makes an instance for a
// task; its context ends when the task is told to stop before it is open. See
// [SingleTask], [Local], [Discards], [Inputs].
func NewSink[Cfg any, T Sink](
	name, summary string,
	open func(ctx context.Context, cfg *Cfg, t *Task) (T, error),
	options ...Option,
) Component {
	d, s := declare[Cfg](pluginv1.Kind_KIND_SINK, name, summary, Capabilities{}, options)
	t := reflect.TypeFor[T]()
	_, prepare := t.MethodByName("Prepare")
	_, state := t.MethodByName("WriterState")
	if prepare || state {
		d.fault("a sink with Prepare or WriterState is declared with NewTwoPhaseSink")
	}
	return finish(d, s, &task.Component{
		OpenSink: func(ctx context.Context, raw []byte, env *task.Env) (task.Sink, error) {
			_, k, err := openSink(ctx, s, raw, env, open)
			if err != nil {
				return nil, err
			}
			return k, nil
		},
	})
}

// NewTwoPhaseSink declares a sink that gives exactly-once: open makes a writer for
// a task, commit a committer for a node. C is found from T. See [Retract] and the
// options of [NewSink].
func NewTwoPhaseSink[Cfg, C any, T TwoPhase[C], K Committer[C]](
	name, summary string,
	open func(ctx context.Context, cfg *Cfg, t *Task) (T, error),
	commit func(ctx context.Context, cfg *Cfg, n *Node) (K, error),
	options ...Option,
) Component {
	d, s := declare[Cfg](pluginv1.Kind_KIND_SINK, name, summary, Capabilities{ExactlyOnce: true}, options)
	t := reflect.TypeFor[T]()
	_, due := t.MethodByName("Due")
	d.unlessOfType(implements[Roller](t), due, "Roller")
	if _, err := hasWriterState(t); err != nil {
		d.faults = append(d.faults, err)
	}
	return finish(d, s, &task.Component{
		OpenSink: func(ctx context.Context, raw []byte, env *task.Env) (task.Sink, error) {
			inner, k, err := openSink(ctx, s, raw, env, open)
			if err != nil {
				return nil, err
			}
			w := &twoPhase[C]{sink: k, prepare: inner.Prepare}
			w.roller, _ = any(inner).(Roller)
			// By its own type, which says more where T is an interface.
			stateful, err := hasWriterState(reflect.TypeOf(inner))
			if err != nil {
				return nil, Fatal(err)
			}
			if stateful {
				w.state = func(ctx context.Context) ([]any, error) { return callWriterState(ctx, inner) }
			}
			return w, nil
		},
		OpenCommitter: func(ctx context.Context, raw []byte, secretPaths []string, owner *pluginv1.Owner, log *slog.Logger) (task.Committer, error) {
			cfg, _, hidden, err := s.open(raw, secretPaths)
			if err != nil {
				return nil, err
			}
			inner, err := commit(ctx, cfg, &Node{ownerOf(owner), log})
			if err != nil {
				return nil, hidden.in(err)
			}
			return &committer[C]{inner, hidden}, nil
		},
	})
}

func openSink[Cfg any, T Sink](
	ctx context.Context, s *settings[Cfg], raw []byte, env *task.Env,
	open func(context.Context, *Cfg, *Task) (T, error),
) (inner T, k *sink, err error) {
	cfg, _, hidden, err := s.open(raw, env.SecretPaths)
	if err != nil {
		return inner, nil, err
	}
	t := taskOf(env)
	if inner, err = open(ctx, cfg, t); err == nil {
		err = t.checkState(inner)
	}
	if err != nil {
		return inner, nil, hidden.in(err)
	}
	return inner, &sink{inner: inner, states: t.taskStates, inputs: env.Inputs, held: env.Held, secrets: hidden}, nil
}

// sink serves a Sink.
type sink struct {
	inner   Sink
	states  taskStates
	inputs  []string
	held    *task.Held
	secrets secrets
}

func (s *sink) Write(ctx context.Context, port int, in *wire.Batch, failed *task.Output) error {
	// A sink that writes asynchronously keeps the Collector, for its Fail.
	return s.secrets.in(s.inner.Write(ctx, &Batch{in, inputName(s.inputs, port), s.held}, &Collector{failed, s.secrets}))
}

func (s *sink) Flush(ctx context.Context) error { return s.secrets.in(s.inner.Flush(ctx)) }

func (s *sink) Prepare(context.Context, task.Barrier) ([]*pluginv1.Entry, error) { return nil, nil }

func (s *sink) Snapshot(context.Context) ([]*pluginv1.Entry, error) { return s.states.snapshot() }

func (s *sink) Due() bool { return false }

func (s *sink) Close() error { return s.secrets.in(s.inner.Close()) }

// twoPhase serves a TwoPhase sink.
type twoPhase[C any] struct {
	*sink
	prepare func(context.Context, Checkpoint) ([]C, error)
	state   func(context.Context) ([]any, error) // nil where it keeps none
	roller  Roller                               // nil where it is none
}

func (s *twoPhase[C]) Prepare(ctx context.Context, b task.Barrier) ([]*pluginv1.Entry, error) {
	prepared, err := s.prepare(ctx, Checkpoint{Number: b.Checkpoint, Roll: b.Roll, Final: b.Final})
	if err != nil {
		return nil, s.secrets.in(err)
	}
	return entries(pluginv1.Entry_KIND_COMMITTABLE, prepared)
}

func (s *twoPhase[C]) Snapshot(ctx context.Context) ([]*pluginv1.Entry, error) {
	own, err := s.states.snapshot()
	if err != nil || s.state == nil {
		return own, err
	}
	state, err := s.state(ctx)
	if err != nil {
		return nil, s.secrets.in(err)
	}
	writer, err := entries(pluginv1.Entry_KIND_WRITER, state)
	return append(own, writer...), err
}

func (s *twoPhase[C]) Due() bool { return s.roller != nil && s.roller.Due() }

// entries encodes values, numbered from 0.
func entries[V any](kind pluginv1.Entry_Kind, values []V) ([]*pluginv1.Entry, error) {
	out := make([]*pluginv1.Entry, len(values))
	for i, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, Fatal(fmt.Errorf("%T as JSON: %w", v, err))
		}
		out[i] = &pluginv1.Entry{
			Kind: kind, Id: strconv.Itoa(i), Content: &pluginv1.Entry_Payload{Payload: raw},
		}
	}
	return out, nil
}

// committer is a Committer with its type erased.
type committer[C any] struct {
	inner   Committer[C]
	secrets secrets
}

func (c *committer[C]) Commit(ctx context.Context, committables []*pluginv1.Entry) error {
	cs := make([]C, len(committables))
	for i, e := range committables {
		if err := json.Unmarshal(e.GetPayload(), &cs[i]); err != nil {
			return Fatal(fmt.Errorf("committable %q of checkpoint %d from JSON: %w", e.Id, e.Checkpoint, err))
		}
	}
	return c.secrets.in(c.inner.Commit(ctx, cs))
}

func (c *committer[C]) Sweep(ctx context.Context, r *pluginv1.SweepRequest) error {
	s := Sweep{RestoredCheckpoint: r.RestoredCheckpoint, Retract: r.Retract}
	for _, g := range r.Earlier {
		s.Earlier = append(s.Earlier, Generation{Epoch: g.Epoch, Parallelism: int(g.Parallelism), Pool: int(g.Pool)})
	}
	for _, e := range r.Keep {
		s.Keep = append(s.Keep, e.GetPayload())
	}
	return c.secrets.in(c.inner.Sweep(ctx, s))
}

func (c *committer[C]) Close() error { return c.secrets.in(c.inner.Close()) }

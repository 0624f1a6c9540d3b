package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/task"
)

// NewSource declares a source. open makes an instance for a task; its context
// ends when the task is told to stop before it is open. S and P are found from T.
//
// A source is taken to be replayable, and not to be bounded: see [NotReplayable],
// [Bounded], [ConcurrentSplits], [Outputs].
func NewSource[Cfg, S, P any, T Source[S, P]](
	name, summary string,
	open func(ctx context.Context, cfg *Cfg, t *Task) (T, error),
	options ...Option,
) Component {
	d, s := declare[Cfg](pluginv1.Kind_KIND_SOURCE, name, summary, Capabilities{Replayable: true}, options)
	t := reflect.TypeFor[T]()
	_, after := t.MethodByName("SplitsAfter")
	d.unlessOfType(implements[SplitsAfter[S]](t), after, "SplitsAfter")
	_, interval := t.MethodByName("SplitInterval")
	d.unlessOfType(implements[SplitPoller](t), interval, "SplitPoller")
	_, completed := t.MethodByName("CheckpointCompleted")
	d.unlessOfType(implements[PositionObserver[P]](t), completed, "PositionObserver")
	_, progress := t.MethodByName("Progress")
	d.unlessOfType(implements[Progresser](t), progress, "Progresser")

	return finish(d, s, &task.Component{
		OpenSource: func(ctx context.Context, raw []byte, env *task.Env) (task.Source, error) {
			cfg, claims, hidden, err := s.open(raw, env.SecretPaths)
			if err != nil {
				return nil, err
			}
			t := taskOf(env)
			inner, err := open(ctx, cfg, t)
			if err == nil {
				err = t.checkState(inner)
			}
			if err != nil {
				return nil, hidden.in(err)
			}
			return &source[S, P]{inner, t.taskStates, claims.ConcurrentSplits, hidden}, nil
		},
	})
}

// source is a Source with its types erased.
type source[S, P any] struct {
	inner      Source[S, P]
	states     taskStates
	concurrent int
	secrets    secrets
}

func (s *source[S, P]) Splits(ctx context.Context, cursor []byte) ([]task.Split, []byte, bool, error) {
	var (
		found []Split[S]
		next  []byte
		more  bool
		err   error
	)
	if after, ok := s.inner.(SplitsAfter[S]); ok {
		if len(cursor) == 0 {
			cursor = nil
		}
		found, next, more, err = after.SplitsAfter(ctx, cursor)
		if next == nil {
			next = []byte{} // not nil, which says that there is no cursor at all
		}
	} else {
		found, more, err = s.inner.Splits(ctx)
	}
	if err != nil {
		return nil, nil, false, s.secrets.in(err)
	}
	splits := make([]task.Split, len(found))
	for i, f := range found {
		data, err := json.Marshal(f.Data)
		if err != nil {
			return nil, nil, false, Fatal(fmt.Errorf("split %q as JSON: %w", f.ID, err))
		}
		splits[i] = task.Split{ID: f.ID, Data: data, After: f.After}
	}
	return splits, next, more, nil
}

func (s *source[S, P]) SplitInterval() time.Duration {
	if p, ok := s.inner.(SplitPoller); ok {
		return p.SplitInterval()
	}
	return 0
}

func (s *source[S, P]) OpenSplit(ctx context.Context, ts task.Split, position []byte) (task.Reader, error) {
	split := Split[S]{ID: ts.ID, After: ts.After}
	if err := json.Unmarshal(ts.Data, &split.Data); err != nil {
		return nil, Fatal(fmt.Errorf("split %q from JSON: %w", ts.ID, err))
	}
	var from *P
	if position != nil {
		from = new(P)
		if err := json.Unmarshal(position, from); err != nil {
			return nil, Fatal(fmt.Errorf("position of split %q from JSON: %w", ts.ID, err))
		}
	}
	r, err := s.inner.Open(ctx, split, from)
	if err != nil {
		return nil, s.secrets.in(err)
	}
	return &reader[P]{inner: r, secrets: s.secrets}, nil
}

func (s *source[S, P]) Completed(ctx context.Context, _ uint64, at map[string][]byte) error {
	observer, ok := s.inner.(PositionObserver[P])
	if !ok {
		return nil
	}
	positions := make(map[string]P, len(at))
	for id, raw := range at {
		var p P
		if err := json.Unmarshal(raw, &p); err != nil {
			return fmt.Errorf("position of split %q from JSON: %w", id, err)
		}
		positions[id] = p
	}
	return s.secrets.in(observer.CheckpointCompleted(ctx, positions))
}

func (s *source[S, P]) Progress() *pluginv1.Progress {
	progresser, ok := s.inner.(Progresser)
	if !ok {
		return nil
	}
	p := progresser.Progress()
	return &pluginv1.Progress{Done: p.Done, Total: p.Total, Unit: p.Unit, Lag: p.Lag}
}

func (s *source[S, P]) ConcurrentSplits() int { return s.concurrent }

func (s *source[S, P]) Snapshot(context.Context) ([]*pluginv1.Entry, error) {
	return s.states.snapshot()
}

func (s *source[S, P]) Close() error { return s.secrets.in(s.inner.Close()) }

// reader is a Reader with its type erased.
type reader[P any] struct {
	inner   Reader[P]
	secrets secrets
	out     Collector // for one call at a time
}

func (r *reader[P]) Read(ctx context.Context, out *task.Output) (any, error) {
	r.out.out, r.out.secrets = out, r.secrets
	next, err := r.inner.Read(ctx, &r.out)
	return next, r.secrets.in(err)
}

func (r *reader[P]) Encode(position any) ([]byte, error) {
	raw, err := json.Marshal(position)
	if err != nil {
		return nil, Fatal(fmt.Errorf("position as JSON: %w", err))
	}
	return raw, nil
}

func (r *reader[P]) Close() error { return r.secrets.in(r.inner.Close()) }

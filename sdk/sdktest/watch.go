package sdktest

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/weirstream/weir/sdk/internal/task"
)

// sourceWatch stands between the runtime and a source: it can let Reads through
// one by one, and hears of completed checkpoints.
type sourceWatch struct {
	mu        sync.Mutex
	permits   chan struct{} // nil: Reads are free
	reads     int           // whose position a checkpoint has had
	completed chan error
}

// over puts the watch over a component's source.
func (w *sourceWatch) over(c *task.Component) {
	open := c.OpenSource
	c.OpenSource = func(ctx context.Context, raw []byte, env *task.Env) (task.Source, error) {
		s, err := open(ctx, raw, env)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return &watchedSource{s, w, w.permits}, nil
	}
}

// step makes the Reads of the next task wait for permits, or not.
func (w *sourceWatch) step(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.permits, w.reads = nil, 0
	if on {
		w.permits = make(chan struct{})
	}
}

// permit lets one Read through.
func (w *sourceWatch) permit(ctx context.Context) {
	w.mu.Lock()
	permits := w.permits
	w.mu.Unlock()
	select {
	case permits <- struct{}{}:
	case <-ctx.Done():
	}
}

// counted returns how many Reads have been part of a checkpoint.
func (w *sourceWatch) counted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reads
}

// expect clears the way for told.
func (w *sourceWatch) expect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.completed = make(chan error, 1)
}

// told waits until the source has been told of a completed checkpoint, and returns
// what it said.
func (w *sourceWatch) told(ctx context.Context) (said, err error) {
	w.mu.Lock()
	completed := w.completed
	w.mu.Unlock()
	select {
	case said := <-completed:
		return said, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type watchedSource struct {
	task.Source
	watch   *sourceWatch
	permits chan struct{}
}

func (s *watchedSource) OpenSplit(ctx context.Context, split task.Split, position []byte) (task.Reader, error) {
	r, err := s.Source.OpenSplit(ctx, split, position)
	if err != nil || s.permits == nil {
		return r, err
	}
	return &steppedReader{Reader: r, watch: s.watch, permits: s.permits}, nil
}

func (s *watchedSource) Completed(ctx context.Context, checkpoint uint64, at map[string][]byte) error {
	err := s.Source.Completed(ctx, checkpoint, at)
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	select {
	case s.watch.completed <- err:
	default:
	}
	return err
}

// steppedReader reads when it is permitted to, and numbers its positions.
type steppedReader struct {
	task.Reader
	watch     *sourceWatch
	permits   chan struct{}
	permitted bool
	reads     int
}

// numbered is the position after a Read.
type numbered struct {
	position any
	read     int
}

func (r *steppedReader) Read(ctx context.Context, out *task.Output) (any, error) {
	if !r.permitted {
		select {
		case <-r.permits:
			r.permitted = true
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	position, err := r.Reader.Read(ctx, out)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err // the permit holds for its repetition
	}
	r.permitted = false
	r.reads++
	return numbered{position, r.reads}, err
}

func (r *steppedReader) Encode(position any) ([]byte, error) {
	n := position.(numbered)
	r.watch.mu.Lock()
	r.watch.reads = n.read
	r.watch.mu.Unlock()
	return r.Reader.Encode(n.position)
}

package sdktest

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Sink runs one task of a sink, and commits and sweeps as a host does.
type Sink struct {
	t   testing.TB
	h   *host
	run *taskRun
	// earlier are the epochs before this one.
	earlier []*pluginv1.Generation
	newest  uint64 // checkpoint

	mu sync.Mutex // of what follows: a task that sleeps runs beside the test
	// pending is what was prepared and not yet committed.
	pending []*pluginv1.Entry
}

// Checkpoint is what a sink has left in a checkpoint.
type Checkpoint struct {
	Number uint64
	// Committables is what the sink prepared for this checkpoint, JSON.
	Committables []json.RawMessage
	// WriterState is what it keeps unfinished, JSON.
	WriterState []json.RawMessage

	pending []*pluginv1.Entry // all that is to be committed with it
	writer  []*pluginv1.Entry
}

// NewSink opens a sink. A fault in component or configuration, and an error from
// opening, end the test.
func NewSink(t testing.TB, c sdk.Component, config any, options ...Option) *Sink {
	t.Helper()
	s, err := openSink(t, c, config, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSink(t testing.TB, c sdk.Component, config any, options []Option) (*Sink, error) {
	t.Helper()
	h, err := newHost(t, c, pluginv1.Kind_KIND_SINK, config, func(*task.Component) {}, options)
	if err != nil {
		return nil, err
	}
	run, err := h.open(0, nil)
	if err != nil {
		return nil, err
	}
	return &Sink{t: t, h: h, run: run}, nil
}

// Write gives the sink a batch of these records, in by its first input, and
// returns what it has failed so far.
func (s *Sink) Write(records ...Record) []Failed {
	s.t.Helper()
	failed, err := s.write(records)
	if err != nil {
		s.t.Fatal(err)
	}
	return failed
}

// WriteError is Write for records that are to make the sink return an error, at
// once or when it flushes, which it returns as an [*Error]. The task has ended
// afterwards; [Sink.Restart] opens the next.
func (s *Sink) WriteError(records ...Record) error {
	s.t.Helper()
	err := s.Try(records...)
	if err == nil {
		s.t.Fatal("the sink returned no error")
	}
	return err
}

// Try writes records and sends a barrier, and returns the first error: for a sink of
// which it is open whether it returns one. After an error the task has ended.
func (s *Sink) Try(records ...Record) error {
	_, err := s.write(records)
	if err == nil {
		_, _, err = s.barrier(&pluginv1.Barrier{})
	}
	return err
}

func (s *Sink) write(records []Record) ([]Failed, error) {
	if err := s.run.batch(0, records); err != nil {
		return nil, err
	}
	if err := s.run.settle("Write"); err != nil {
		return nil, err
	}
	return s.run.take().Failed, nil
}

// Checkpoint sends a barrier: the sink flushes, prepares and tells its writer
// state. It returns what it has failed meanwhile too.
func (s *Sink) Checkpoint() (*Checkpoint, []Failed) {
	s.t.Helper()
	return s.must(s.barrier(&pluginv1.Barrier{}))
}

// Roll is Checkpoint with a barrier that asks for all output: the sink must keep
// nothing unfinished.
func (s *Sink) Roll() (*Checkpoint, []Failed) {
	s.t.Helper()
	return s.must(s.barrier(&pluginv1.Barrier{Roll: true}))
}

// End is Checkpoint with the barrier that ends the input.
func (s *Sink) End() (*Checkpoint, []Failed) {
	s.t.Helper()
	return s.must(s.barrier(&pluginv1.Barrier{End: true}))
}

func (s *Sink) must(c *Checkpoint, failed []Failed, err error) (*Checkpoint, []Failed) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return c, failed
}

func (s *Sink) barrier(b *pluginv1.Barrier) (*Checkpoint, []Failed, error) {
	s.mu.Lock()
	s.newest++
	b.Checkpoint = s.newest
	s.mu.Unlock()
	entries, err := s.run.barrier(b)
	if err != nil {
		return nil, nil, err
	}
	c := &Checkpoint{Number: b.Checkpoint}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		switch e.Kind {
		case pluginv1.Entry_KIND_COMMITTABLE:
			e.Checkpoint = b.Checkpoint
			c.Committables = append(c.Committables, e.GetPayload())
			s.pending = append(s.pending, e)
		case pluginv1.Entry_KIND_WRITER:
			c.WriterState = append(c.WriterState, e.GetPayload())
			c.writer = append(c.writer, e)
		}
	}
	c.pending = slices.Clone(s.pending)
	return c, s.run.take().Failed, nil
}

// Commit publishes a checkpoint: what the sink has prepared for it, and for
// earlier ones that were never committed. It may be repeated.
func (s *Sink) Commit(c *Checkpoint) {
	s.t.Helper()
	if err := s.CommitError(c); err != nil {
		s.t.Fatalf("Commit: %v", err)
	}
}

// CommitError is Commit that returns the committer's error.
func (s *Sink) CommitError(c *Checkpoint) error {
	s.t.Helper()
	if len(c.pending) == 0 {
		return nil
	}
	ctx, cancel := s.h.context()
	defer cancel()
	r, err := s.h.server.Commit(ctx, &pluginv1.CommitRequest{
		Owner: s.h.protoOwner(), Component: s.h.spec.Name, Config: s.h.config, Committables: c.pending,
	})
	if err != nil {
		return err
	}
	if r.Error == nil {
		s.mu.Lock()
		s.pending = slices.DeleteFunc(s.pending, func(e *pluginv1.Entry) bool { return e.Checkpoint <= c.Number })
		s.mu.Unlock()
		s.committed(c)
	}
	return newError(r.Error)
}

// committed tells the task, if there is one, how far its output is committed.
func (s *Sink) committed(c *Checkpoint) {
	if s.run != nil {
		// A task that has ended has nothing to hear.
		_ = s.run.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Committed{
			Committed: &pluginv1.Committed{Through: c.Number},
		}})
	}
}

// Restart stops the task without flushing and restores the sink from a
// checkpoint, or from the beginning where c is nil: it commits what the
// checkpoint holds, sweeps, and opens a task of the next epoch. The Sink is
// unusable afterwards.
func (s *Sink) Restart(c *Checkpoint, options ...Option) *Sink {
	s.t.Helper()
	s.run.close()
	return s.restore(c, false, options)
}

// Overtake is Restart while the task goes on, as that of a process does that was
// paused. The Sink stays usable: what it writes from now on must change nothing.
func (s *Sink) Overtake(c *Checkpoint, options ...Option) *Sink {
	s.t.Helper()
	return s.restore(c, false, options)
}

// Retract is Restart from a checkpoint that is older than what is published: the
// sink withdraws what came after. It must have the option [sdk.Retract].
func (s *Sink) Retract(c *Checkpoint, options ...Option) *Sink {
	s.t.Helper()
	s.run.close()
	return s.restore(c, true, options)
}

func (s *Sink) restore(c *Checkpoint, retract bool, options []Option) *Sink {
	s.t.Helper()
	h := *s.h
	for _, o := range options {
		o(&h.settings)
	}
	h.owner = s.h.owner
	h.owner.Epoch++
	s.mu.Lock()
	next := &Sink{t: s.t, h: &h, newest: s.newest}
	s.mu.Unlock()
	next.earlier = append(slices.Clone(s.earlier), &pluginv1.Generation{
		Epoch: s.h.owner.Epoch, Parallelism: uint32(s.h.parallelism), Pool: poolSize,
	})
	if c == nil {
		c = &Checkpoint{}
	}
	next.Commit(c)
	if h.spec.Capabilities.ExactlyOnce {
		next.sweep(c, retract)
	}
	run, err := h.open(c.Number, c.writer)
	if err != nil {
		s.t.Fatal(err)
	}
	next.run = run
	return next
}

// poolSize is how many transactional ids the host leaves to a task.
const poolSize = 7

func (s *Sink) sweep(c *Checkpoint, retract bool) {
	s.t.Helper()
	ctx, cancel := s.h.context()
	defer cancel()
	r, err := s.h.server.Sweep(ctx, &pluginv1.SweepRequest{
		Owner: s.h.protoOwner(), Component: s.h.spec.Name, Config: s.h.config,
		Earlier: s.earlier, Keep: c.writer, RestoredCheckpoint: c.Number, Retract: retract,
	})
	if err == nil {
		err = newError(r.Error)
	}
	if err != nil {
		s.t.Fatalf("Sweep: %v", err)
	}
}

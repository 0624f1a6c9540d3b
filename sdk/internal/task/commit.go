package task

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Commit implements [pluginv1.PluginServer].
func (s *Server) Commit(ctx context.Context, r *pluginv1.CommitRequest) (*pluginv1.CommitResponse, error) {
	var whole joiner
	if err := whole.add(r.GetCommittables()...); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "Commit: %v", err)
	}
	entries, err := whole.end()
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "Commit: %v", err)
	}
	for _, e := range entries {
		if e.GetKind() != pluginv1.Entry_KIND_COMMITTABLE {
			return nil, status.Errorf(codes.InvalidArgument, "Commit: %s is no committable", describeEntry(e))
		}
	}
	out := &pluginv1.CommitResponse{}
	out.Error, err = s.outside(ctx, "Commit", r.GetOwner(), sinkConfig{r.GetComponent(), r.GetConfig(), r.GetSecretPaths()}, func(c Committer) error {
		return c.Commit(ctx, entries)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Sweep implements [pluginv1.PluginServer].
func (s *Server) Sweep(ctx context.Context, r *pluginv1.SweepRequest) (*pluginv1.SweepResponse, error) {
	var whole joiner
	if err := whole.add(r.GetKeep()...); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "Sweep: %v", err)
	}
	keep, err := whole.end()
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "Sweep: %v", err)
	}
	r.Keep = keep
	out := &pluginv1.SweepResponse{}
	out.Error, err = s.outside(ctx, "Sweep", r.GetOwner(), sinkConfig{r.GetComponent(), r.GetConfig(), r.GetSecretPaths()}, func(c Committer) error {
		return c.Sweep(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sinkConfig is which sink a call is about, and how it is configured.
type sinkConfig struct {
	component   string
	config      []byte
	secretPaths []string
}

// outside runs a call that writes outside and needs no task: behind the fence,
// one at a time for a node. The component's error is part of the answer.
func (s *Server) outside(ctx context.Context, call string, owner *pluginv1.Owner, k sinkConfig, f func(Committer) error) (*pluginv1.Error, error) {
	c, err := s.component(pluginv1.Kind_KIND_SINK, k.component)
	if err != nil {
		return nil, err
	}
	if c.OpenCommitter == nil {
		return nil, status.Errorf(codes.Unimplemented, "component %q prepares no output, so it has no %s", k.component, call)
	}
	if err := s.fence.pass(owner.GetUid(), owner.GetNode(), owner.GetEpoch()); err != nil {
		return nil, err
	}
	unlock, slot, err := s.committers.lock(ctx, nodeKey{owner.GetUid(), owner.GetNode()})
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	defer unlock()
	// A newer epoch may have come while this call waited for its turn.
	if err := s.fence.pass(owner.GetUid(), owner.GetNode(), owner.GetEpoch()); err != nil {
		return nil, err
	}
	committer, err := slot.get(ctx, c, owner, k, s.opts.Log)
	if err == nil {
		err = guard(func() error { return f(committer) })
	}
	if err != nil {
		return wireError(fmt.Errorf("%s of component %q: %w", call, k.component, err)), nil
	}
	return nil, nil
}

// committers holds one open committer a node, of the newest epoch that called.
type committers struct {
	mu     sync.Mutex
	slots  map[nodeKey]*committerSlot
	idle   time.Duration
	closed bool
}

// committerSlot belongs to whoever holds its turn.
type committerSlot struct {
	turn      chan struct{} // a token: nobody has the turn
	committer Committer
	component *Component
	epoch     uint64
	config    [sha256.Size]byte
	log       *slog.Logger
	expiry    *time.Timer
}

// lock waits for the node's turn.
func (cs *committers) lock(ctx context.Context, key nodeKey) (unlock func(), slot *committerSlot, err error) {
	cs.mu.Lock()
	if cs.closed {
		cs.mu.Unlock()
		return nil, nil, context.Canceled
	}
	if slot = cs.slots[key]; slot == nil {
		slot = &committerSlot{turn: make(chan struct{}, 1)}
		slot.turn <- struct{}{}
		if cs.slots == nil {
			cs.slots = map[nodeKey]*committerSlot{}
		}
		cs.slots[key] = slot
	}
	cs.mu.Unlock()
	select {
	case <-slot.turn:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if slot.expiry != nil {
		slot.expiry.Stop()
	}
	return func() { cs.unlock(slot) }, slot, nil
}

func (cs *committers) unlock(slot *committerSlot) {
	cs.mu.Lock()
	closed := cs.closed
	cs.mu.Unlock()
	if closed {
		slot.close()
	} else {
		slot.expiry = time.AfterFunc(cs.idle, func() { slot.tryClose() })
	}
	slot.turn <- struct{}{}
}

// close ends every committer that is not in use; one that is ends with its call.
func (cs *committers) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	for _, slot := range cs.slots {
		slot.tryClose()
	}
}

// tryClose closes the committer unless a call has the turn.
func (s *committerSlot) tryClose() {
	select {
	case <-s.turn:
		if s.expiry != nil {
			s.expiry.Stop()
		}
		s.close()
		s.turn <- struct{}{}
	default:
	}
}

func (s *committerSlot) close() {
	if s.committer == nil {
		return
	}
	if err := guard(s.committer.Close); err != nil {
		s.log.Warn("a committer could not be closed", "error", err)
	}
	s.committer = nil
}

// get returns the open committer of that epoch and configuration.
func (s *committerSlot) get(ctx context.Context, c *Component, owner *pluginv1.Owner, k sinkConfig, log *slog.Logger) (Committer, error) {
	sum := sha256.Sum256(k.config)
	if s.committer != nil && s.component == c && s.epoch == owner.GetEpoch() && s.config == sum {
		return s.committer, nil
	}
	s.log = log.With("node", owner.GetNode(), "pipeline", owner.GetPipeline())
	s.close()
	err := guard(func() (err error) {
		// A committer outlives the call that opens it, so it is not given that
		// call's context to keep, only to open with.
		s.committer, err = c.OpenCommitter(ctx, k.config, k.secretPaths, owner, s.log)
		return err
	})
	if err != nil {
		s.committer = nil
		return nil, fmt.Errorf("open: %w", err)
	}
	s.component, s.epoch, s.config = c, owner.GetEpoch(), sum
	return s.committer, nil
}

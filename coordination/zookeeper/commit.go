package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"
	"github.com/weirstream/weir/coordination"
)

// maxRequest is the largest request that a server accepts as it comes: its
// jute.maxbuffer.
const maxRequest = 0xfffff

// maxPlans bounds how often a commit is planned anew because ancestors come and
// go meanwhile.
const maxPlans = 100

// Commit implements coordination.Store.
func (s *Store) Commit(ctx context.Context, ops ...coordination.Op) error {
	if err := coordination.CheckOps(ops); err != nil {
		return err
	}
	p := &planner{store: s, ops: ops, missing: map[string]bool{}}
	for range maxPlans {
		if err := s.admit(ctx); err != nil {
			return err
		}
		again, err := s.try(ctx, p)
		if !again {
			return err
		}
	}
	return fmt.Errorf("%w: the ancestors of what is to be created come and go", coordination.ErrUnavailable)
}

// try sends a commit as it is planned now. It asks for another plan when an
// ancestor was missing, or was there.
func (s *Store) try(ctx context.Context, p *planner) (again bool, err error) {
	plan := p.plan()
	if plan.size > maxRequest {
		return false, fmt.Errorf("%w: %d operations are %d bytes to ZooKeeper, at most %d are possible",
			coordination.ErrTooLarge, len(p.ops), plan.size, maxRequest)
	}
	results, err := s.send(ctx, plan)
	if err == nil {
		return false, nil
	}
	at := slices.IndexFunc(results, func(r zk.MultiResponse) bool { return r.Error != nil })
	if at < 0 {
		return false, s.explain(p.ops[0].Path, err) // no answer, or refused as a whole
	}
	return s.refusal(ctx, p, plan.sources[at], results[at].Error)
}

// send sends a multi. An error without results is final.
func (s *Store) send(ctx context.Context, plan plan) ([]zk.MultiResponse, error) {
	var results []zk.MultiResponse
	var failure error
	d := &doubt{done: make(chan struct{})}
	sent := now()
	if err := s.start(func() {
		defer close(d.done)
		results, failure = s.conn.Multi(plan.requests...)
		if d.answered = !broken(failure); d.answered {
			s.renew(sent)
		}
	}); err != nil {
		return nil, err
	}
	select {
	case <-d.done:
		if d.answered {
			return results, failure
		}
		s.doubt(d)
		return nil, fmt.Errorf("%w: %w", coordination.ErrUnknownOutcome, errors.Join(failure, s.alive()))
	case <-ctx.Done():
		s.doubt(d)
		return nil, fmt.Errorf("%w: %w", coordination.ErrUnknownOutcome, ctx.Err())
	}
}

// refusal says what it means that a request was refused.
func (s *Store) refusal(ctx context.Context, p *planner, src source, err error) (again bool, _ error) {
	op := p.ops[src.op]
	conflict := func(err error) (bool, error) {
		return false, &coordination.ConflictError{Index: src.op, Kind: op.Kind, Path: op.Path, Err: err}
	}
	creating := op.Kind == coordination.OpCreate || op.Kind == coordination.OpCreateEphemeral || op.Kind == coordination.OpCheckAbsent
	switch {
	case errors.Is(err, zk.ErrNodeExists) && src.ancestor:
		p.missing[src.path] = false
		return true, nil
	case errors.Is(err, zk.ErrNoNode) && creating:
		return true, p.look(ctx, src.path)
	case errors.Is(err, zk.ErrNodeExists):
		return conflict(coordination.ErrExists)
	case errors.Is(err, zk.ErrNoNode):
		return conflict(coordination.ErrNotFound)
	case errors.Is(err, zk.ErrBadVersion):
		return conflict(coordination.ErrVersion)
	case errors.Is(err, zk.ErrNotEmpty):
		return conflict(coordination.ErrNotEmpty)
	case errors.Is(err, zk.ErrNoChildrenForEphemerals):
		return conflict(coordination.ErrEphemeralParent)
	}
	return false, fmt.Errorf("operation %d (%s %s): %w", src.op, op.Kind, op.Path, s.explain(op.Path, err))
}

// look finds out which ancestors of path there are.
func (p *planner) look(ctx context.Context, path string) error {
	var chain []string
	for parent, _ := coordination.Split(path); parent != ""; parent, _ = coordination.Split(parent) {
		chain = append(chain, parent)
	}
	missing := false
	for _, path := range slices.Backward(chain) {
		if !missing { // below one that is missing all are
			c, err := ask(ctx, p.store, func() (coordination.Change, error) { return p.store.getRecord(path) })
			if err != nil {
				return err
			}
			missing = !c.Found
		}
		p.missing[path] = missing
	}
	return nil
}

// doubt is a commit that was given up before its answer came.
type doubt struct {
	done     chan struct{} // closed when the library has given it up or has the answer
	answered bool          // valid once done is closed
}

func (s *Store) doubt(d *doubt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts = append(s.doubts, d)
}

// settle waits until no commit that became unknown before can take effect any
// more, or be unseen: until it is answered or, where its connection broke, until
// a sync on a later one has passed the ensemble's leader.
func (s *Store) settle(ctx context.Context) error {
	for {
		s.mu.Lock()
		doubts := slices.Clone(s.doubts)
		s.mu.Unlock()
		if len(doubts) == 0 {
			return nil
		}
		lost := false
		for _, d := range doubts {
			select {
			case <-d.done:
				lost = lost || !d.answered
			case <-s.ended:
				return s.alive()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if lost {
			if err := s.ready(ctx); err != nil {
				return err
			}
			sent := now()
			if _, err := await(ctx, s, func() (string, error) { return s.conn.Sync(s.root) }); broken(err) {
				if err := s.pause(ctx); err != nil {
					return err
				}
				continue
			} else if err != nil {
				return err
			}
			s.renew(sent)
		}
		s.mu.Lock()
		s.doubts = slices.DeleteFunc(s.doubts, func(d *doubt) bool { return slices.Contains(doubts, d) })
		s.mu.Unlock()
	}
}

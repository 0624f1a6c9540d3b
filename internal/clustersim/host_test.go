package clustersim

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/simulated"
)

// host is a machine that starts its process again whenever it has ended, until ctx
// ends.
func (w *world) host(ctx context.Context, id string) {
	for ctx.Err() == nil {
		w.process(ctx, id)
		sleep(ctx, w.upTo(2*time.Second))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// process is one life of a host's process: one session.
func (w *world) process(ctx context.Context, id string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := w.ensemble.Open()
	instance := rand.Text()
	var group sync.WaitGroup
	group.Go(func() { w.disturb(ctx, s, cancel) })
	if register(ctx, s, id, instance) == nil {
		group.Go(func() { w.campaign(ctx, s, id) })
		group.Go(func() { w.follow(ctx, s, id, instance) })
	}
	for state := range s.WatchSession(ctx) {
		if state == coordination.SessionLost {
			break
		}
	}
	cancel()
	s.Pause(false)
	group.Wait()
	_ = s.Close()
}

// unseat does what a person may: it removes the contender that leads.
func unseat(ctx context.Context, s coordination.Store) {
	if rec, err := coordination.Leader(ctx, s, "leader"); err == nil {
		_ = s.Commit(ctx, coordination.Delete(rec.Path, coordination.AnyVersion))
	}
}

// disturb pauses, cuts off and kills the process until it is calm.
func (w *world) disturb(ctx context.Context, s *simulated.Store, kill func()) {
	for ctx.Err() == nil && time.Now().Before(w.calm) {
		sleep(ctx, w.upTo(8*time.Second))
		if !time.Now().Before(w.calm) {
			break
		}
		switch {
		case w.chance(0.2):
			unseat(ctx, s)
		case w.chance(0.4):
			s.Pause(true)
			sleep(ctx, w.upTo(2*timeout))
			s.Pause(false)
		case w.chance(0.5):
			s.Cut(true)
			sleep(ctx, w.upTo(2*timeout))
			s.Cut(false)
		case w.chance(0.5):
			s.Cut(true) // so that nobody hears of the end
			kill()
			return
		}
	}
}

const hostsDir = "hosts"

// register takes the place of the host's former process.
func register(ctx context.Context, s coordination.Store, id, instance string) error {
	path := hostsDir + "/" + id
	return persist(ctx, func() error {
		rec, err := s.Get(ctx, path)
		switch {
		case errors.Is(err, coordination.ErrNotFound):
			return s.Commit(ctx, coordination.CreateEphemeral(path, []byte(instance)))
		case err != nil:
			return err
		case string(rec.Data) == instance:
			return nil
		}
		return s.Commit(ctx, coordination.Delete(path, rec.Version), coordination.CreateEphemeral(path, []byte(instance)))
	})
}

// persist repeats do while the service or another's commit is in the way.
func persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		var conflict *coordination.ConflictError
		if !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrUnknownOutcome) && !errors.As(err, &conflict) {
			return err
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

const (
	closingTime  = 300 * time.Millisecond // at most, of an epoch's tasks
	snapshotTime = 400 * time.Millisecond // at most
)

// run is one epoch's tasks on a host.
type run struct {
	a      assignment
	mine   []int
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// end ends the tasks, which go on while they are being closed.
func (r *run) end(ctx context.Context, closing time.Duration) {
	sleep(ctx, closing)
	r.cancel()
	r.group.Wait()
}

// follow runs what is assigned to this process.
func (w *world) follow(ctx context.Context, s coordination.Store, id, instance string) {
	var current *run
	end := func() {
		if current != nil {
			current.end(ctx, w.upTo(closingTime))
			current = nil
		}
	}
	defer end()
	states, assigned := s.WatchSession(ctx), s.Watch(ctx, assignmentPath)
	for {
		select {
		case <-ctx.Done():
			return
		case state, ok := <-states:
			if !ok {
				return
			}
			if state == coordination.SessionSuspended && current != nil && w.flaw != noLease {
				epoch := current.a.Epoch
				end()
				_ = persist(ctx, func() error {
					return coordination.Put(ctx, s, failedDir+"/"+id, strconv.AppendUint(nil, epoch, 10))
				})
			}
		case c, ok := <-assigned:
			if !ok || c.Err != nil {
				return
			}
			a, found := decode[assignment](c.Record.Data)
			if !found || current != nil && current.a.Epoch == a.Epoch {
				continue
			}
			end()
			mine := a.Hosts[id] == instance || w.flaw == noInstance && a.Hosts[id] != ""
			if !mine {
				continue
			}
			rctx, cancel := context.WithCancel(ctx)
			r := &run{a: a, cancel: cancel}
			for task := range tasks {
				if a.Tasks[task] == id {
					r.mine = append(r.mine, task)
				}
			}
			r.group.Go(func() { w.work(rctx, s, id, instance, r) })
			current = r
		}
	}
}

// work answers the barriers of an epoch, each with positions that have grown.
func (w *world) work(ctx context.Context, s coordination.Store, id, instance string, r *run) {
	ledger := checkpoint.NewLedger(s, nil, name)
	at := map[int]int{}
	for _, task := range r.mine {
		at[task] = r.a.Start[task]
	}
	answered := map[string]bool{}
	for l := range s.WatchChildren(ctx, pendingDir) {
		for _, n := range l.Names {
			if answered[n] {
				continue
			}
			var pending checkpoint.Pending
			if persist(ctx, func() error {
				rec, err := s.Get(ctx, pendingDir+"/"+n)
				if errors.Is(err, coordination.ErrNotFound) {
					return nil
				}
				pending, _ = decode[checkpoint.Pending](rec.Data)
				return err
			}) != nil || pending.N == 0 || pending.Epoch != r.a.Epoch && w.flaw != noEpoch {
				continue
			}
			answered[n] = true
			positions := map[int]int{}
			for task := range at {
				at[task] += 1 + int(w.upTo(10))
				positions[task] = at[task]
			}
			sleep(ctx, w.upTo(snapshotTime))
			object := rand.Text()
			w.mu.Lock()
			w.parts[object] = part{Host: id, Instance: instance, Epoch: r.a.Epoch, Base: r.a.Base, Positions: positions}
			w.mu.Unlock()
			_ = persist(ctx, func() error {
				return ledger.Ack(ctx, checkpoint.Ack{Host: id, N: pending.N, Part: &checkpoint.Object{Name: object}})
			})
		}
	}
}

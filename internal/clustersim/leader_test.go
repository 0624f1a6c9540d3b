package clustersim

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
)

// campaign takes part in the election, and leads when it is won, as often as it is.
func (w *world) campaign(ctx context.Context, s coordination.Store, id string) {
	for ctx.Err() == nil {
		l, err := coordination.Campaign(ctx, s, "leader", []byte(id))
		if err != nil {
			return
		}
		lctx, cancel := context.WithCancel(ctx)
		stop := make(chan struct{})
		go func() {
			select {
			case <-l.Lost():
			case <-stop:
			}
			cancel()
		}()
		w.lead(lctx, s, l)
		close(stop)
		cancel()
		_ = l.Resign(ctx)
	}
}

const (
	interval   = 100 * time.Millisecond
	ackTimeout = 3 * time.Second
)

// lead keeps the pipeline running until the leadership is over.
func (w *world) lead(ctx context.Context, s coordination.Store, l *coordination.Leadership) {
	ledger := checkpoint.NewLedger(s, l, name)
	var former checkpoint.History // as of the step before
	for ctx.Err() == nil {
		err := w.step(ctx, s, l, ledger, &former)
		if errors.Is(err, checkpoint.ErrFenced) || l.Fenced(err) || l.Err() != nil {
			return
		}
		sleep(ctx, interval)
	}
}

// step begins a new epoch if the present one cannot go on, and makes a checkpoint
// otherwise.
func (w *world) step(ctx context.Context, s coordination.Store, l *coordination.Leadership, ledger *checkpoint.Ledger, former *checkpoint.History) error {
	there, err := alive(ctx, s)
	if err != nil || len(there) == 0 {
		return err
	}
	rec, err := s.Get(ctx, assignmentPath)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return err
	}
	a, _ := decode[assignment](rec.Data)
	h, err := ledger.Load(ctx)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return err
	}
	running := a.Epoch != 0 && a.Epoch == h.Lineage.Epoch
	for id, instance := range a.Hosts {
		failed, err := s.Get(ctx, failedDir+"/"+id)
		if err != nil && !errors.Is(err, coordination.ErrNotFound) {
			return err
		}
		if there[id] != instance || string(failed.Data) == strconv.FormatUint(a.Epoch, 10) {
			running = false
		}
	}
	before := *former
	*former = h
	if !running {
		return w.begin(ctx, s, l, ledger, there, before)
	}
	return w.checkpoint(ctx, ledger, h, a, l)
}

// alive returns the hosts that are there, with their instances.
func alive(ctx context.Context, s coordination.Store) (map[string]string, error) {
	ids, err := s.Children(ctx, hostsDir)
	if err != nil {
		return nil, err
	}
	there := map[string]string{}
	for _, id := range ids {
		rec, err := s.Get(ctx, hostsDir+"/"+id)
		if err != nil && !errors.Is(err, coordination.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			there[id] = string(rec.Data)
		}
	}
	return there, nil
}

// begin begins an epoch on the hosts that are there.
func (w *world) begin(ctx context.Context, s coordination.Store, l *coordination.Leadership, ledger *checkpoint.Ledger, there map[string]string, before checkpoint.History) error {
	h, err := ledger.Begin(ctx, checkpoint.Generation{Parallelism: map[string]int{"n": tasks}})
	if err != nil {
		return err
	}
	a := assignment{Leader: l.Epoch(), Epoch: h.Lineage.Epoch, Start: map[int]int{}, Tasks: map[int]string{}, Hosts: there}
	restore := h
	if w.flaw == staleRestore {
		restore = before
	}
	if r := restore.Newest(); r != nil {
		a.Base = r.N
		w.mu.Lock()
		for _, p := range w.made[r.Manifest.Name] {
			maps.Copy(a.Start, p.Positions)
		}
		w.mu.Unlock()
	}
	ids := slices.Sorted(maps.Keys(there))
	for task := range tasks {
		a.Tasks[task] = ids[task%len(ids)]
	}
	used := map[string]string{}
	for _, id := range a.Tasks {
		used[id] = there[id]
	}
	a.Hosts = used
	return persistGuarded(ctx, s, l, assignmentPath, encode(a))
}

// persistGuarded writes a record while this leadership holds.
func persistGuarded(ctx context.Context, s coordination.Store, l *coordination.Leadership, path string, data []byte) error {
	for {
		err := s.Commit(ctx, l.Guard(), coordination.Set(path, data, coordination.AnyVersion))
		if errors.Is(err, coordination.ErrNotFound) && !l.Fenced(err) {
			err = s.Commit(ctx, l.Guard(), coordination.Create(path, data))
		}
		var conflict *coordination.ConflictError
		if err == nil || l.Fenced(err) || ctx.Err() != nil || errors.Is(err, coordination.ErrSessionLost) || errors.Is(err, coordination.ErrClosed) ||
			errors.As(err, &conflict) && !errors.Is(err, coordination.ErrExists) {
			return err
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

// checkpoint goes on with the pending checkpoint, or opens one, and records it when
// all hosts have acked.
func (w *world) checkpoint(ctx context.Context, ledger *checkpoint.Ledger, h checkpoint.History, a assignment, l *coordination.Leadership) error {
	if h.Pending == nil || h.Pending.Epoch != a.Epoch {
		_, err := ledger.Open(ctx, checkpoint.Pending{
			ID: rand.Text(), Epoch: a.Epoch, Leader: l.Epoch(), Hosts: slices.Sorted(maps.Keys(a.Hosts)), OpenedAt: time.Now(),
		})
		return err
	}
	p := h.Pending
	if len(h.Acks) < len(p.Hosts) {
		if time.Since(p.OpenedAt) > ackTimeout {
			return ledger.ClosePending(ctx, p.N)
		}
		return nil
	}
	manifest := rand.Text()
	w.mu.Lock()
	for _, ack := range h.Acks {
		w.made[manifest] = append(w.made[manifest], w.parts[ack.Part.Name])
	}
	w.mu.Unlock()
	return ledger.Write(ctx, checkpoint.Record{
		N: p.N, UID: h.Lineage.UID, Epoch: a.Epoch, State: checkpoint.Running,
		Manifest: checkpoint.Object{Name: manifest}, OpenedAt: p.OpenedAt, CompletedAt: time.Now(),
	})
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
)

// closeTimeout is how long a leader waits for hosts to close an epoch's tasks
// before it goes on without knowing.
const closeTimeout = 15 * time.Second

// link is how a pipeline's leader reaches its hosts: engine.Hosts over records. It
// serves one term of one leader.
type link struct {
	store    coordination.Store
	guard    coordination.Op
	registry *registry
	name     string
	spec     Spec
	ledger   *checkpoint.Ledger
	log      *slog.Logger
	// place finds hosts for the tasks, given where they were; it waits until there
	// are some.
	place func(ctx context.Context, before engine.Placement) (engine.Placement, error)
	// failed is told of each failure that a host reports, and of the instances that
	// the epoch is for.
	failed func(f Failure, instances map[string]string)

	changed broadcast // a report has come

	// assigned are the hosts that follow the pipeline since they were told to.
	assigned []string

	mu        sync.Mutex
	a         Assignment
	placement engine.Placement // what Ready has found
	up        engine.Upward
	running   bool // data flows: reports are events
	reports   map[string]Report
	told      map[string]Report // what was made events of
	stop      context.CancelFunc
	acks      context.CancelFunc
	group     sync.WaitGroup
}

var _ engine.Hosts = (*link)(nil)

// load reads what an earlier leader has assigned.
func (k *link) load(ctx context.Context) error {
	a, _, _, err := read[Assignment](ctx, k.store, assignmentPath(k.name))
	if err != nil {
		return fmt.Errorf("pipeline %s: assignment: %w", k.name, err)
	}
	k.a, k.assigned = a, a.with()
	return nil
}

// Ready implements [engine.Hosts].
func (k *link) Ready(ctx context.Context) (err error) {
	k.placement, err = k.place(ctx, k.a.Tasks)
	return err
}

// Begin implements [engine.Hosts].
func (k *link) Begin(ctx context.Context, r engine.Restore, up engine.Upward) ([]string, error) {
	before := k.a
	a := Assignment{
		UID: r.UID(), Epoch: r.Epoch(), Spec: k.spec.Revision, Tasks: k.placement,
		Hosts: map[string]string{}, Addresses: map[string]string{}, Leaving: map[string]string{},
	}
	hosts := k.registry.all()
	for _, id := range a.Tasks {
		h, ok := hosts[id]
		if !ok {
			return nil, lost(id, "is gone")
		}
		a.Hosts[id], a.Addresses[id] = h.Instance, h.Address
	}
	for _, former := range []map[string]string{before.Hosts, before.Leaving} {
		for id, instance := range former {
			if a.Hosts[id] == "" && k.registry.alive(id, instance) {
				a.Leaving[id] = instance
			}
		}
	}
	k.follow(a, up)
	return slices.Sorted(maps.Keys(a.Hosts)), nil
}

// Resume implements [engine.Hosts].
func (k *link) Resume(ctx context.Context, h checkpoint.History, up engine.Upward) ([]string, bool, error) {
	a := k.a
	if a.UID == "" || a.UID != h.Lineage.UID || a.Epoch != h.Lineage.Epoch || a.Phase != engine.PhaseRun || a.Spec != k.spec.Revision {
		return nil, false, nil
	}
	for id, instance := range a.Hosts {
		if !k.registry.alive(id, instance) {
			k.log.Info("the running epoch cannot be taken over", "lost", id)
			return nil, false, nil
		}
		r, _, found, err := read[Report](ctx, k.store, reportPath(k.name, id))
		if err != nil {
			return nil, false, err
		}
		if !found || !k.about(r, id) || r.Phase != engine.PhaseRun || r.Failure != nil {
			return nil, false, nil
		}
	}
	k.follow(a, up)
	k.flow()
	return slices.Sorted(maps.Keys(a.Hosts)), true, nil
}

// follow makes an assignment the current one and follows its hosts' reports.
func (k *link) follow(a Assignment, up engine.Upward) {
	ctx, stop := context.WithCancel(context.Background())
	k.mu.Lock()
	k.a, k.up, k.running = a, up, false
	k.reports, k.told = map[string]Report{}, map[string]Report{}
	k.stop = stop
	k.mu.Unlock()
	for _, ids := range []map[string]string{a.Hosts, a.Leaving} {
		for id := range ids {
			k.group.Go(func() {
				for c := range k.store.Watch(ctx, reportPath(k.name, id)) {
					var r Report
					if found, err := decode(c.Record, &r); c.Err != nil || err != nil || !found || !c.Found {
						continue
					}
					k.reported(id, r)
				}
			})
		}
	}
	k.group.Go(func() { k.watchHosts(ctx) })
	k.group.Go(func() { k.tidy(ctx, a) })
}

// tidy removes what hosts have said that have no part in the pipeline any more.
func (k *link) tidy(ctx context.Context, a Assignment) {
	for _, dir := range []string{reportsDir(k.name), progressDir(k.name)} {
		ids, err := k.store.Children(ctx, dir)
		if err != nil {
			return // the next epoch does it
		}
		for _, id := range ids {
			if a.Hosts[id] == "" && a.Leaving[id] == "" {
				_ = k.store.Commit(ctx, k.guard, coordination.Delete(dir+"/"+id, coordination.AnyVersion))
			}
			if !k.registry.present(id) { // nor in any other, unless this is refused
				_ = k.store.Commit(ctx, k.guard, coordination.Delete(assignedDir(id), coordination.AnyVersion))
			}
		}
	}
}

// about says whether a report is of the current epoch and instance of a host.
func (k *link) about(r Report, id string) bool {
	instance := k.a.Hosts[id]
	if instance == "" {
		instance = k.a.Leaving[id]
	}
	return r.UID == k.a.UID && r.Epoch == k.a.Epoch && r.Instance == instance
}

func (k *link) reported(id string, r Report) {
	k.mu.Lock()
	if k.about(r, id) {
		if r.Failure != nil && k.reports[id].Failure == nil {
			k.failed(*r.Failure, k.a.Hosts)
		}
		k.reports[id] = r
		if k.running {
			k.tell(id, r)
		}
	}
	k.mu.Unlock()
	k.changed.announce()
}

// flow makes events of reports from now on. What was reported before comes first.
func (k *link) flow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = true
	for id, r := range k.reports {
		k.tell(id, r)
	}
}

// tell makes events of what is new in a report; the lock is held.
func (k *link) tell(id string, r Report) {
	if k.a.Hosts[id] == "" {
		return
	}
	was := k.told[id]
	k.told[id] = r
	post := k.up.Report
	for _, s := range r.Exhausted {
		if !slices.Contains(was.Exhausted, s) {
			post(checkpoint.Exhausted{Node: s.Node, Task: s.Task})
		}
	}
	if r.Changed != nil && (was.Changed == nil || *was.Changed < *r.Changed) {
		post(checkpoint.Changed{After: *r.Changed})
	}
	if r.Declined != nil && (was.Declined == nil || *was.Declined != *r.Declined) {
		post(checkpoint.Declined{N: r.Declined.N, Host: id, Err: errors.New(r.Declined.Error)})
	}
	if r.Committed > was.Committed {
		post(checkpoint.CommitsAnswered{Host: id, Through: r.Committed})
	}
	if r.CommitFailed != "" && was.CommitFailed == "" {
		post(checkpoint.CommitFailed{Host: id, Err: errors.New(r.CommitFailed)})
	}
	if r.Waiting != was.Waiting {
		post(checkpoint.PoolWaiting{Host: id, Waiting: r.Waiting})
	}
	if r.Failure != nil && was.Failure == nil {
		k.up.Fail(r.Failure.err())
	}
}

// watchHosts ends the epoch when a host of it is lost.
func (k *link) watchHosts(ctx context.Context) {
	for {
		changed := k.registry.changed.wait()
		if err := k.missing(); err != nil {
			k.mu.Lock()
			up := k.up
			k.mu.Unlock()
			up.Fail(err)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// missing says which host of the epoch is lost, or returns nil.
func (k *link) missing() error {
	for _, id := range slices.Sorted(maps.Keys(k.a.Hosts)) {
		if !k.registry.alive(id, k.a.Hosts[id]) {
			err := lost(id, "is lost, with its tasks "+strings.Join(k.tasksOn(id), ", "))
			k.failed(Failure{At: time.Now(), Epoch: k.a.Epoch, Host: id, Error: err.Error(), Uncounted: true}, k.a.Hosts)
			return err
		}
	}
	return nil
}

func (k *link) tasksOn(id string) []string {
	var tasks []string
	for t, h := range k.a.Tasks {
		if h == id {
			tasks = append(tasks, t)
		}
	}
	slices.Sort(tasks)
	return tasks
}

func lost(id, what string) error {
	return &engine.Uncounted{Err: fmt.Errorf("host %s %s", id, what)}
}

// Take implements [engine.Hosts].
func (k *link) Take(ctx context.Context, p engine.Phase) error {
	if err := k.assign(ctx, p); err != nil {
		return err
	}
	for {
		reported, gone := k.changed.wait(), k.registry.changed.wait()
		waiting, err := k.behind(p)
		if err != nil {
			return err
		}
		if len(waiting) == 0 {
			break
		}
		select {
		case <-reported:
		case <-gone: // one that has only to close its tasks may be gone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if p == engine.PhaseRun {
		k.flow()
	}
	return nil
}

// behind names the hosts that have not done a phase.
func (k *link) behind(p engine.Phase) (waiting []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.a.Hosts {
		r, ok := k.reports[id]
		if ok && r.Failure != nil && p != engine.PhaseClose {
			return nil, r.Failure.err()
		}
		if !ok || phaseIndex(r.Phase) < phaseIndex(p) {
			waiting = append(waiting, id)
		}
	}
	for id, instance := range k.a.Leaving {
		if _, ok := k.reports[id]; !ok && k.registry.alive(id, instance) {
			waiting = append(waiting, id)
		}
	}
	slices.Sort(waiting)
	return waiting, nil
}

func phaseIndex(p engine.Phase) int { return slices.Index(engine.Phases(), p) }

// assign writes the assignment with a phase, and tells hosts that have come into it
// or gone from it to follow the pipeline or not to.
func (k *link) assign(ctx context.Context, p engine.Phase) error {
	k.mu.Lock()
	k.a.Phase = p
	data, hosts := encode(k.a), k.a.with()
	k.mu.Unlock()
	var ops []coordination.Op
	for _, id := range hosts {
		if !slices.Contains(k.assigned, id) {
			ops = append(ops, coordination.Create(assignedPath(id, k.name), nil))
		}
	}
	for _, id := range k.assigned {
		if !slices.Contains(hosts, id) {
			ops = append(ops, coordination.Delete(assignedPath(id, k.name), coordination.AnyVersion))
		}
	}
	if err := guarded(ctx, k.store, k.guard, assignmentPath(k.name), data, ops...); err != nil {
		return err
	}
	k.assigned = hosts
	return nil
}

// Barrier implements [engine.Hosts]: the pending record is the barrier, which the
// hosts follow. The leader in turn follows their acks.
func (k *link) Barrier(b checkpoint.Barrier) {
	ctx, cancel := context.WithCancel(context.Background())
	k.mu.Lock()
	before := k.acks
	k.acks = cancel
	up := k.up
	k.mu.Unlock()
	if before != nil {
		before()
	}
	k.group.Go(func() {
		seen := map[string]bool{}
		for l := range k.ledger.WatchAcks(ctx, b.N) {
			for _, id := range l.Names {
				if seen[id] {
					continue
				}
				var ack checkpoint.Ack
				err := persist(ctx, func(ctx context.Context) (err error) {
					ack, err = k.ledger.ReadAck(ctx, b.N, id)
					return err
				})
				if err == nil {
					seen[id] = true
					up.Report(checkpoint.Acked{Ack: ack})
				}
			}
		}
	})
}

// Completed implements [engine.Hosts]: the hosts follow the records.
func (k *link) Completed(checkpoint.Record) { k.decided() }

// Aborted implements [engine.Hosts]: the hosts see the pending record go.
func (k *link) Aborted(uint64, error) { k.decided() }

// Committed implements [engine.Hosts]: the hosts follow committed_through.
func (k *link) Committed(uint64) {}

// decided stops waiting for acks.
func (k *link) decided() {
	k.mu.Lock()
	cancel := k.acks
	k.acks = nil
	k.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// End implements [engine.Hosts]. In a hurry everything is left as it is, for the
// next leader.
func (k *link) End(hurry bool) {
	if k.stop == nil {
		if hurry || k.a.UID == "" || k.a.Phase == engine.PhaseClose {
			return
		}
		// What an earlier leader has assigned may still run.
		k.follow(k.a, nobody)
	}
	if !hurry {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		if err := k.close(ctx); err != nil {
			k.log.Warn("it is not known whether all tasks are closed", "cause", err)
		}
		cancel()
	}
	k.decided()
	k.mu.Lock()
	k.up = nobody
	k.stop()
	k.stop = nil
	k.mu.Unlock()
	k.group.Wait()
}

// nobody listens.
var nobody = engine.Upward{Report: func(checkpoint.Event) {}, Fail: func(error) {}}

// close tells the hosts to close their tasks, and waits for those that live.
func (k *link) close(ctx context.Context) error {
	if err := k.assign(ctx, engine.PhaseClose); err != nil {
		return err
	}
	for {
		reported, gone := k.changed.wait(), k.registry.changed.wait()
		waiting, err := k.behind(engine.PhaseClose)
		if err != nil {
			return err
		}
		waiting = slices.DeleteFunc(waiting, func(id string) bool {
			return !k.registry.alive(id, k.a.Hosts[id]) && !k.registry.alive(id, k.a.Leaving[id])
		})
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-reported:
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("no answer from %s", strings.Join(waiting, ", "))
		}
	}
}

// Uncommitted implements [engine.Hosts].
func (k *link) Uncommitted() []string {
	k.mu.Lock()
	phase := k.a.Phase
	k.mu.Unlock()
	if phase != engine.PhaseCommit {
		return nil
	}
	waiting, _ := k.behind(engine.PhaseCommit)
	return waiting
}

// err is a host's failure as the leader's restart policy takes it.
func (f Failure) err() error {
	err := error(&hostError{f})
	switch {
	case f.Uncounted:
		return &engine.Uncounted{Err: err}
	case f.Fatal:
		return engine.MarkFatal(err)
	}
	return engine.RetryAfter(err, f.RetryAfter)
}

// hostError is a failure on a host.
type hostError struct{ Failure }

func (e *hostError) Error() string { return fmt.Sprintf("host %s: %s", e.Host, e.Failure.Error) }

// guarded writes a record under a leadership, whatever is there, and with it creates
// and deletes others, unless that is done.
func guarded(ctx context.Context, store coordination.Store, guard coordination.Op, path string, data []byte, others ...coordination.Op) error {
	ops := append([]coordination.Op{guard, coordination.Set(path, data, coordination.AnyVersion)}, others...)
	return persist(ctx, func(ctx context.Context) error {
		for {
			err := store.Commit(ctx, ops...)
			var conflict *coordination.ConflictError
			switch {
			case !errors.As(err, &conflict):
				return err
			case conflict.Index == 0:
				return fmt.Errorf("%w: %w", checkpoint.ErrFenced, err)
			case conflict.Index == 1 && errors.Is(err, coordination.ErrNotFound):
				ops[1] = coordination.Create(path, data)
			case conflict.Index == 1 && errors.Is(err, coordination.ErrExists):
				ops[1] = coordination.Set(path, data, coordination.AnyVersion)
			case conflict.Index > 1 && (errors.Is(err, coordination.ErrNotFound) || errors.Is(err, coordination.ErrExists)):
				ops = slices.Delete(ops, conflict.Index, conflict.Index+1)
			default:
				return err
			}
		}
	})
}

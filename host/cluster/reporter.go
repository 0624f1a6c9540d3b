package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/peer"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// reporter writes one host's report about one epoch, the newest state of it, as
// often as it changes and the session lets it: see [hostPause].
type reporter struct {
	store   coordination.Store
	ledger  *checkpoint.Ledger
	storage func() *storage.Storage
	path    string
	host    string
	log     *slog.Logger
	group   *sync.WaitGroup
	ctx     context.Context

	mu     sync.Mutex
	report Report
	dirty  chan struct{}
}

func newReporter(ctx context.Context, store coordination.Store, ledger *checkpoint.Ledger, path, host string, r Report, log *slog.Logger, group *sync.WaitGroup, st func() *storage.Storage) *reporter {
	rep := &reporter{
		store: store, ledger: ledger, path: path, host: host, report: r, log: log, group: group, ctx: ctx, storage: st,
		dirty: make(chan struct{}, 1),
	}
	group.Go(rep.write)
	return rep
}

// change changes the report.
func (r *reporter) change(do func(*Report)) {
	r.mu.Lock()
	do(&r.report)
	r.mu.Unlock()
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}

// write is the goroutine that writes.
func (r *reporter) write() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.dirty:
		}
		r.mu.Lock()
		data := encode(r.report)
		r.mu.Unlock()
		err := persist(r.ctx, func(ctx context.Context) error { return coordination.Put(ctx, r.store, r.path, data) })
		if err != nil {
			if r.ctx.Err() == nil {
				r.log.Warn("the leader cannot be told", "cause", err)
			}
			return // the session is over
		}
	}
}

// upward is how a worker's epoch reports.
func (r *reporter) upward() engine.Upward { return engine.Upward{Report: r.event, Fail: r.fail} }

func (r *reporter) event(ev checkpoint.Event) {
	switch ev := ev.(type) {
	case checkpoint.Acked:
		r.group.Go(func() { r.ack(ev.Ack) })
	case checkpoint.Exhausted:
		r.change(func(rep *Report) {
			if s := (Source{Node: ev.Node, Task: ev.Task}); !slices.Contains(rep.Exhausted, s) {
				rep.Exhausted = append(rep.Exhausted, s)
			}
		})
	case checkpoint.Changed:
		r.change(func(rep *Report) {
			if rep.Changed == nil || *rep.Changed < ev.After {
				rep.Changed = &ev.After
			}
		})
	case checkpoint.Declined:
		r.change(func(rep *Report) { rep.Declined = &Declined{N: ev.N, Error: ev.Err.Error()} })
	case checkpoint.CommitsAnswered:
		r.change(func(rep *Report) { rep.Committed = max(rep.Committed, ev.Through) })
	case checkpoint.CommitFailed:
		r.change(func(rep *Report) { rep.CommitFailed = ev.Err.Error() })
	case checkpoint.PoolWaiting:
		r.change(func(rep *Report) { rep.Waiting = ev.Waiting })
	}
}

// ack writes a host's ack below the pending checkpoint. One that comes too late
// takes its state with it.
func (r *reporter) ack(a checkpoint.Ack) {
	err := persist(r.ctx, func(ctx context.Context) error { return r.ledger.Ack(ctx, a) })
	switch {
	case errors.Is(err, checkpoint.ErrLate):
		if err := a.Discard(r.ctx, r.storage()); err != nil && r.ctx.Err() == nil {
			r.log.Warn("state of a failed checkpoint stays until the next start", "error", err)
		}
	case err != nil && r.ctx.Err() == nil:
		r.event(checkpoint.Declined{N: a.N, Host: r.host, Err: err})
	}
}

// fail says that the epoch cannot go on here.
func (r *reporter) fail(err error) {
	r.change(func(rep *Report) {
		if rep.Failure == nil {
			f := failureOf(err, r.host, rep.Epoch)
			rep.Failure = &f
		}
	})
}

// failureOf describes an error for a record.
func failureOf(err error, host string, epoch uint64) Failure {
	f := Failure{At: time.Now(), Epoch: epoch, Host: host, Error: err.Error(), Fatal: engine.Fatal(err)}
	var failed *task.Error
	if errors.As(err, &failed) {
		f.Node, f.Task, f.Plugin, f.RetryAfter = failed.Node, failed.ID.String(), failed.Plugin, failed.RetryAfter
		f.Fatal = f.Fatal || failed.Class == pluginv1.Error_CLASS_FATAL
	}
	var exit *process.ExitError
	if errors.As(err, &exit) {
		f.Plugin, f.Stderr = exit.Plugin, strings.Join(exit.Stderr, "\n")
	}
	var broken *peer.ChannelError
	if errors.As(err, &broken) {
		f.Uncounted = true
		if broken.Unreachable && broken.From == host {
			f.Peer = broken.To
		}
	}
	var unable *unableError
	if errors.As(err, &unable) {
		f.Uncounted, f.Unable = true, true
	}
	var uncounted *engine.Uncounted
	if errors.As(err, &uncounted) {
		f.Uncounted = true
	}
	return f
}

package engine

import (
	"context"

	"github.com/weirstream/weir/checkpoint"
)

// hostName stands for this host where there is only one.
const hostName = "local"

// local is the one host that is its own leader: whatever the leader says is a
// call of its worker.
type local struct {
	worker *Worker
}

var _ Hosts = (*local)(nil)

func (l *local) Ready(context.Context) error { return nil }

func (l *local) Begin(_ context.Context, r Restore, up Upward) ([]string, error) {
	l.worker.Begin(r, nil, up)
	return []string{hostName}, nil
}

// Resume has nothing to go on with: tasks end with their leader.
func (l *local) Resume(context.Context, checkpoint.History, Upward) ([]string, bool, error) {
	return nil, false, nil
}

func (l *local) Take(ctx context.Context, p Phase) error { return l.worker.Take(ctx, p) }

func (l *local) Barrier(b checkpoint.Barrier)   { l.worker.Barrier(b) }
func (l *local) Completed(r checkpoint.Record)  { l.worker.Completed(r) }
func (l *local) Aborted(n uint64, reason error) { l.worker.Aborted(n, reason) }
func (l *local) Committed(through uint64)       { l.worker.Committed(through) }
func (l *local) End(hurry bool)                 { l.worker.End(hurry) }
func (l *local) Uncommitted() []string {
	if len(l.worker.uncommitted()) > 0 {
		return []string{hostName}
	}
	return nil
}

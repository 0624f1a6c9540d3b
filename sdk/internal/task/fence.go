package task

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fence remembers the highest epoch of each {uid, node} that this process has
// seen in an Open, Commit or Sweep.
type fence struct {
	mu      sync.Mutex
	highest map[nodeKey]uint64
}

type nodeKey struct{ uid, node string }

// pass refuses an epoch below the highest seen, and remembers it otherwise.
func (f *fence) pass(uid, node string, epoch uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := nodeKey{uid, node}
	if seen := f.highest[key]; epoch < seen {
		return status.Errorf(codes.FailedPrecondition, "epoch %d of node %q is over: epoch %d has begun", epoch, node, seen)
	}
	if f.highest == nil {
		f.highest = map[nodeKey]uint64{}
	}
	f.highest[key] = epoch
	return nil
}

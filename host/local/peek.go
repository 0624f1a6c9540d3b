package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
)

// Peeked is a picture of a pipeline's records. It can be taken beside a process
// that runs the pipeline, and nothing can be written to it.
type Peeked struct{ *embedded.Snapshot }

var _ coordination.Store = Peeked{}

// errReadOnly is what writing to a picture gives.
var errReadOnly = errors.New("a picture of the state cannot be written to")

// Peek takes a picture of a pipeline's records. The caller closes it.
func Peek(ctx context.Context, stateDir, name string) (Peeked, error) {
	s, err := embedded.OpenSnapshot(ctx, filepath.Join(Dir(stateDir, name), dbFile))
	if errors.Is(err, fs.ErrNotExist) {
		names, listErr := Names(stateDir)
		if listErr != nil {
			return Peeked{}, listErr
		}
		if len(names) == 0 {
			return Peeked{}, fmt.Errorf("no pipeline has been run with state in %s", stateDir)
		}
		return Peeked{}, fmt.Errorf("no pipeline %q has state in %s; there are: %s", name, stateDir, strings.Join(names, ", "))
	}
	return Peeked{s}, err
}

// Commit implements [coordination.Store] by refusing.
func (Peeked) Commit(context.Context, ...coordination.Op) error { return errReadOnly }

// Watch implements [coordination.Store]: nothing changes.
func (Peeked) Watch(context.Context, string) <-chan coordination.Change {
	ch := make(chan coordination.Change, 1)
	ch <- coordination.Change{Err: errReadOnly}
	close(ch)
	return ch
}

// WatchChildren implements [coordination.Store]: nothing changes.
func (Peeked) WatchChildren(context.Context, string) <-chan coordination.Listing {
	ch := make(chan coordination.Listing, 1)
	ch <- coordination.Listing{Err: errReadOnly}
	close(ch)
	return ch
}

// WatchSession implements [coordination.Store]: there is none.
func (Peeked) WatchSession(context.Context) <-chan coordination.SessionState {
	ch := make(chan coordination.SessionState)
	close(ch)
	return ch
}

// Lease implements [coordination.Store]: there is none.
func (Peeked) Lease() coordination.Lease { return coordination.Lease{} }

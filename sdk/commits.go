package sdk

import (
	"context"

	"github.com/weirstream/weir/sdk/internal/task"
)

// Commits tells a sink's task how far the pipeline's output is committed. A sink
// that takes names from a bounded pool ([Task.Pool]) may use a name again once the
// checkpoint is committed that named it. All methods may be called concurrently.
type Commits struct{ inner *task.Commits }

// Through returns the newest checkpoint whose output, and that of all before it,
// is published, which is durable: nobody will commit it again. It is 0 where that
// is true of none since the task was opened.
func (c *Commits) Through() uint64 { return c.inner.Through() }

// Await waits until Through has reached the checkpoint, or ctx ends. Meanwhile the
// pipeline's status says that the sink takes no more data, and a checkpoint does
// not count as failed for the time that it takes.
func (c *Commits) Await(ctx context.Context, checkpoint uint64) error {
	return c.inner.Await(ctx, checkpoint)
}

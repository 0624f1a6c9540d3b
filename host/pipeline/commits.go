package pipeline

import "time"

// restartTime is what a restart takes beside its backoff: an epoch that ends, one
// that begins, and the commits of the restored checkpoint.
const restartTime = time.Minute

// NamePool is how many names a sink task may keep in use outside at a time, such as
// transactional ids: one to write with, one for each checkpoint that may fail in a
// row, and three whose commits are on their way.
func (p *Pipeline) NamePool() int { return p.Checkpoint.ToleratedFailures + 4 }

// CommitWithin is the longest that a sink's output waits for its commit with every
// failure that the pipeline tolerates: it is written right behind a barrier, as many
// checkpoints as may do fail as late as they can, and the commit needs a restart.
func (p *Pipeline) CommitWithin() time.Duration {
	c := p.Checkpoint
	one := max(c.Interval, c.MinPause) + c.Timeout
	return time.Duration(c.ToleratedFailures+1)*one + p.Restart.Backoff.Max + restartTime
}

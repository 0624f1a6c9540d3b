package checkpoint

import (
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Router maps the entries of one node's checkpoint onto new tasks, without
// looking into them. It wants all entries of one old task after the other, in
// their order, so that it needs no more memory than what it counts.
type Router struct{ old, new, max int }

// NewRouter maps from old tasks onto new ones. Follow says where the splits of
// the source before this node went (Router.Splits), for an operator that keeps
// event time by split; nil otherwise.
func NewRouter(old, new, maxParallelism int, follow map[string]int) *Router { panic("unwritten") }

// Route returns the new tasks that get this entry of an old task, sorted; none
// where another task's copy is enough. The result is valid until the next call.
func (r *Router) Route(task int, e *pluginv1.Entry) []int { panic("unwritten") }

// Splits says to which task each split went.
func (r *Router) Splits() map[string]int { panic("unwritten") }

// KeyGroupRange is the first and last key group that a task owns. The last is
// below the first where it owns none.
func KeyGroupRange(task, parallelism, maxParallelism int) (first, last int) { panic("unwritten") }

// KeyGroupOwner is the task that owns a key group.
func KeyGroupOwner(group, parallelism, maxParallelism int) int { panic("unwritten") }

package checkpoint

import (
	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Router maps the entries of one node's checkpoint onto new tasks, without
// looking into them. It wants all entries of one old task after the other, in
// their order, so that it needs no more memory than what it counts.
//
//	split, split time   same task where the parallelism is unchanged, else
//	                    spread; both kinds of one split together
//	key group           to the task that owns the group
//	file                to every task that owns a group of the old one's
//	list                spread, or to every task if it is a union
//	broadcast           one old task's copy to every task
//	writer              to exactly one task
//
// Committables and enumerator state are not routed: they go to Commit and to the
// enumerator. Entries of one task keep their order; a reader sorts splits of
// several old tasks by their place in the enumeration, which is in its payload.
type Router struct {
	old, new, max int
	follow        map[string]int
	splits        map[string]int
	copies        map[string]int // the old task whose copy of a broadcast is taken
	next          map[pluginv1.Entry_Kind]int
	every, one    []int
	parts         []int // where the rest of an entry in parts goes
	inParts       bool
}

// NewRouter maps from old tasks onto new ones. Follow says where the splits of
// the source before this node went (Router.Splits), for an operator on a forward
// edge that keeps event time by split; nil otherwise.
func NewRouter(old, new, maxParallelism int, follow map[string]int) *Router {
	r := &Router{
		old: old, new: new, max: maxParallelism, follow: follow,
		splits: map[string]int{}, copies: map[string]int{}, next: map[pluginv1.Entry_Kind]int{},
		one: make([]int, 1),
	}
	for i := range new {
		r.every = append(r.every, i)
	}
	return r
}

// Route returns the new tasks that get this entry of an old task, sorted; none
// where another task's copy is enough. The result is valid until the next call.
func (r *Router) Route(task int, e *pluginv1.Entry) []int {
	if !r.inParts {
		r.parts = r.route(task, e)
	}
	r.inParts = e.GetMore()
	return r.parts
}

func (r *Router) route(task int, e *pluginv1.Entry) []int {
	switch kind := e.GetKind(); kind {
	case pluginv1.Entry_KIND_SPLIT, pluginv1.Entry_KIND_SPLIT_TIME:
		return r.only(r.split(task, e.GetId()))
	case pluginv1.Entry_KIND_KEY_GROUP:
		return r.only(keygroup.Owner(int(e.GetKeyGroup()), r.max, r.new))
	case pluginv1.Entry_KIND_FILE:
		return r.Heirs(task)
	case pluginv1.Entry_KIND_LIST:
		if e.GetUnion() {
			return r.every
		}
		return r.only(r.spread(task, kind))
	case pluginv1.Entry_KIND_BROADCAST:
		if from, ok := r.copies[e.GetId()]; ok && from != task {
			return nil
		}
		r.copies[e.GetId()] = task
		return r.every
	case pluginv1.Entry_KIND_WRITER:
		return r.only(task % r.new)
	}
	return nil
}

// Heirs are the new tasks that own a key group of an old one, sorted: those that need
// its files.
func (r *Router) Heirs(task int) []int {
	first, last := keygroup.Range(task, r.max, r.old)
	return r.every[keygroup.Owner(first, r.max, r.new) : keygroup.Owner(last, r.max, r.new)+1]
}

func (r *Router) split(task int, id string) int {
	if to, ok := r.follow[id]; ok {
		return to
	}
	to, ok := r.splits[id]
	if !ok {
		to = r.spread(task, pluginv1.Entry_KIND_SPLIT)
		r.splits[id] = to
	}
	return to
}

// spread keeps entries where they were, or deals them out one by one.
func (r *Router) spread(task int, kind pluginv1.Entry_Kind) int {
	if r.old == r.new {
		return task
	}
	to := r.next[kind]
	r.next[kind] = (to + 1) % r.new
	return to
}

func (r *Router) only(task int) []int {
	r.one[0] = task
	return r.one
}

// Splits says to which task each split went.
func (r *Router) Splits() map[string]int { return r.splits }

package checkpoint

import (
	"cmp"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Uncommitted keeps the prepared output of one sink node on one host until it is
// answered as committed. What a checkpoint prepared that never got its record
// stays here and is in the next snapshot. The zero value is empty. It is not safe
// for concurrent use.
type Uncommitted struct {
	waiting []prepared // in checkpoint order
}

type prepared struct {
	task  int
	entry *pluginv1.Entry
}

func (p prepared) n() uint64 { return p.entry.GetCheckpoint() }

// Prepared adds what a task prepared at barrier n, and marks it so.
func (u *Uncommitted) Prepared(task int, n uint64, es Entries) {
	for _, e := range es {
		e.Component, e.Checkpoint = 0, n
		u.waiting = append(u.waiting, prepared{task, e})
	}
	slices.SortStableFunc(u.waiting, func(a, b prepared) int { return cmp.Compare(a.n(), b.n()) })
}

// Snapshot returns what checkpoint n has to list for a task: all up to n that is
// not answered, oldest first.
func (u *Uncommitted) Snapshot(task int, n uint64) Entries {
	var es Entries
	for _, p := range u.waiting {
		if p.task == task && p.n() <= n {
			es = append(es, p.entry)
		}
	}
	return es
}

// Due returns what is to be committed once checkpoint n has its record: all
// tasks' output up to n that is not answered, oldest first.
func (u *Uncommitted) Due(n uint64) Entries {
	var es Entries
	for _, p := range u.waiting {
		if p.n() <= n {
			es = append(es, p.entry)
		}
	}
	return es
}

// Answered forgets what Due(n) returned.
func (u *Uncommitted) Answered(n uint64) {
	u.waiting = slices.DeleteFunc(u.waiting, func(p prepared) bool { return p.n() <= n })
}

// Len is the number of committables that wait.
func (u *Uncommitted) Len() int { return len(u.waiting) }

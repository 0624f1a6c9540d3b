package cluster

import (
	"maps"
	"strings"
	"sync"

	"github.com/weirstream/weir/host/engine"
)

// board knows where the tasks of all pipelines are, so that placing one sees the
// room that the others leave.
type board struct {
	changed broadcast

	mu     sync.Mutex
	placed map[string]engine.Placement
}

func newBoard() *board { return &board{placed: map[string]engine.Placement{}} }

// set notes where a pipeline's tasks are, or that there are none.
func (b *board) set(name string, p engine.Placement) {
	b.mu.Lock()
	if p == nil {
		delete(b.placed, name)
	} else {
		b.placed[name] = p
	}
	b.mu.Unlock()
	b.changed.announce()
}

func (b *board) get(name string) engine.Placement {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.placed[name])
}

// used is how many slots of each host the other pipelines take.
func (b *board) used(but string) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usedLocked(but)
}

func (b *board) usedLocked(but string) map[string]int {
	used := map[string]int{}
	for name, p := range b.placed {
		if name == but {
			continue
		}
		for task, host := range p {
			if !strings.HasSuffix(task, "[enumerator]") {
				used[host]++
			}
		}
	}
	return used
}

// place lets a pipeline be placed, one at a time, and notes the result.
func (b *board) place(name string, do func(used map[string]int) (engine.Placement, error)) (engine.Placement, error) {
	b.mu.Lock()
	p, err := do(b.usedLocked(name))
	_, was := b.placed[name]
	if err == nil {
		b.placed[name] = p
	} else {
		delete(b.placed, name)
	}
	b.mu.Unlock()
	if err != nil && was { // its room is free for others
		b.changed.announce()
	}
	return p, err
}

package pipeline

import (
	"fmt"
	"strings"
)

// One cycle is repaired at a time, and read in one line.
const (
	maxCycles     = 20
	maxCycleNodes = 16
)

// cycles reports the cycles that a walk in depth first order finds: at least one
// for every set of nodes that lead to each other. Dead letters count.
func (l *loader) cycles() {
	const (
		unseen = iota
		onPath
		done
	)
	state := make(map[*draft]int, len(l.nodes))
	found := 0
	var path []*link
	var walk func(d *draft)
	walk = func(d *draft) {
		state[d] = onPath
		for _, k := range d.out {
			path = append(path, k)
			switch state[k.to] {
			case unseen:
				walk(k.to)
			case onPath:
				if found++; found <= maxCycles {
					l.cycle(path, k)
				}
			}
			path = path[:len(path)-1]
		}
		state[d] = done
	}
	for _, d := range l.nodes {
		if state[d] == unseen {
			walk(d)
		}
	}
}

// cycle reports the end of a path, which the last link closes.
func (l *loader) cycle(path []*link, closing *link) {
	start := len(path) - 1
	for path[start].from != closing.to {
		start--
	}
	var b strings.Builder
	path = path[start:]
	for i, k := range path {
		if n := len(path); n > maxCycleNodes && i >= maxCycleNodes/2 && i < n-maxCycleNodes/2 {
			if i == maxCycleNodes/2 {
				fmt.Fprintf(&b, "(%d more) -> ", n-maxCycleNodes)
			}
			continue
		}
		b.WriteString(k.from.name)
		if k.output != OutputMain {
			b.WriteString("." + k.output)
		}
		b.WriteString(" -> ")
	}
	l.fault(closing.at, CodeCycle, "records would go round for ever", "this closes a cycle: %s%s", b.String(), closing.to.name)
}

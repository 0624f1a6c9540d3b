package journal

import (
	"log/slog"
	"maps"
	"sync"
)

// Levels are the lowest levels that are logged: of single nodes, and of all else where
// All is set. The zero value changes nothing.
type Levels struct {
	All   *slog.Level           `json:"all,omitempty"`
	Nodes map[string]slog.Level `json:"nodes,omitempty"`
}

// With returns levels with another one for a node, or for all where that is empty:
// then what was set for single nodes is forgotten. A nil level is that which holds
// where nothing is set.
func (l Levels) With(node string, level *slog.Level) Levels {
	if node == "" {
		return Levels{All: level}
	}
	nodes := maps.Clone(l.Nodes)
	if nodes == nil {
		nodes = map[string]slog.Level{}
	}
	if level == nil {
		delete(nodes, node)
	} else {
		nodes[node] = *level
	}
	return Levels{All: l.All, Nodes: nodes}
}

// of is the level of a node, or of what is no node's where it is empty.
func (l Levels) of(node string) (slog.Level, bool) {
	if level, ok := l.Nodes[node]; ok {
		return level, true
	}
	if l.All != nil {
		return *l.All, true
	}
	return 0, false
}

// levels says which records are logged: those of a pipeline as was set for it, else as
// was set for the whole, else from the base on.
type levels struct {
	mu   sync.RWMutex
	base slog.Level
	set  map[string]Levels // by pipeline; the whole by ""
}

func (l *levels) change(pipeline string, to Levels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to.All == nil && len(to.Nodes) == 0 {
		delete(l.set, pipeline)
		return
	}
	if l.set == nil {
		l.set = map[string]Levels{}
	}
	l.set[pipeline] = to
}

// of is the lowest level of a node's records, or of the host's own.
func (l *levels) of(pipeline, node string) slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.ofLocked(pipeline, node)
}

func (l *levels) ofLocked(pipeline, node string) slog.Level {
	for _, name := range []string{pipeline, ""} {
		if level, ok := l.set[name].of(node); ok {
			return level
		}
	}
	return l.base
}

// lowest is the lowest level of any record that may be logged, by what is known of it:
// the pipeline and node are empty where they are not.
func (l *levels) lowest(pipeline, node string) slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	lowest := l.ofLocked(pipeline, node)
	for name, set := range l.set {
		if pipeline != "" && name != "" && name != pipeline {
			continue
		}
		if level, ok := set.of(node); ok && pipeline == "" && name != "" {
			lowest = min(lowest, level)
		}
		if node == "" {
			for _, level := range set.Nodes {
				lowest = min(lowest, level)
			}
		}
	}
	return lowest
}

package journal

import (
	"log/slog"
	"sync"
)

// levels says which records are logged.
type levels struct {
	mu   sync.RWMutex
	base slog.Level
	node map[string]slog.Level
}

func (l *levels) set(node string, level slog.Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case node == "":
		l.base, l.node = level, nil
	case l.node == nil:
		l.node = map[string]slog.Level{node: level}
	default:
		l.node[node] = level
	}
}

// of is the lowest level of a node's records, or of the host's own.
func (l *levels) of(node string) slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if level, ok := l.node[node]; ok {
		return level
	}
	return l.base
}

// lowest is the lowest level of any record that may be logged.
func (l *levels) lowest() slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	lowest := l.base
	for _, level := range l.node {
		lowest = min(lowest, level)
	}
	return lowest
}

package cluster

import "sync"

// broadcast wakes everybody who waits for the next change of something.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next change. Take it before looking.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// announce says that something has changed.
func (b *broadcast) announce() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// lapses counts how often the session was no longer sure, and wakes whoever must
// know at once.
type lapses struct {
	changed broadcast
	mu      sync.Mutex
	n       int
}

func (l *lapses) add() {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
	l.changed.announce()
}

func (l *lapses) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

package state

import "slices"

// journal remembers what a call changes, so that it can be taken back: a call that
// is repeated must find the state as it was.
type journal struct {
	changes []change
	bytes   []byte // of sub-keys and old values
}

// change is one write, and what was there before it.
type change struct {
	state    *State
	sub, old span
	had      bool
	length   int // of the old value, before an append
	timer    Timer
	kind     changeKind
}

type changeKind uint8

const (
	wrote changeKind = iota
	timerWasSet
	timerWasDeleted
	appended
)

// span is a part of the journal's bytes; nil where from is negative.
type span struct{ from, to int }

func (j *journal) reset() { j.changes, j.bytes = j.changes[:0], j.bytes[:0] }

func (j *journal) keep(b []byte) span {
	if b == nil {
		return span{-1, -1}
	}
	from := len(j.bytes)
	j.bytes = append(j.bytes, b...)
	return span{from, len(j.bytes)}
}

func (j *journal) at(s span) []byte {
	if s.from < 0 {
		return nil
	}
	return j.bytes[s.from:s.to:s.to]
}

// before notes what a write is about to replace.
func (j *journal) before(s *State, sub, old []byte) {
	j.changes = append(j.changes, change{state: s, sub: j.keep(sub), old: j.keep(old), had: old != nil})
}

func (j *journal) timerSet(t Timer) {
	j.changes = append(j.changes, change{kind: timerWasSet, timer: t})
}

func (j *journal) timerDeleted(t Timer) {
	j.changes = append(j.changes, change{kind: timerWasDeleted, timer: t})
}

// Mark is a place to go back to with Undo.
func (k *Keyed) Mark() int { return len(k.journal.changes) }

// Undo takes back what was changed since the mark, of the key at hand.
func (k *Keyed) Undo(mark int) {
	j := &k.journal
	for i := len(j.changes) - 1; i >= mark; i-- {
		switch c := j.changes[i]; {
		case c.kind == timerWasSet:
			k.timers.remove(k.current, c.timer)
		case c.kind == timerWasDeleted:
			k.timers.set(k.current, c.timer)
		case c.kind == appended:
			old := c.state.Table.Get(k.current, nil)[:c.length]
			c.state.Table.Put(k.current, nil, slices.Clone(old))
		case c.had:
			c.state.Table.Put(k.current, j.at(c.sub), j.at(c.old))
		default:
			c.state.Table.Delete(k.current, j.at(c.sub))
		}
	}
	k.urgent = k.urgent[:0]
	j.changes = j.changes[:mark]
}

// Get returns the value of the key at hand, nil where there is none.
func (s *State) Get(sub []byte) []byte { return s.Table.Get(s.keyed.Key(), sub) }

// Put sets it.
func (s *State) Put(sub, value []byte) {
	k := s.keyed.Key()
	s.keyed.journal.before(s, sub, s.Table.Get(k, sub))
	s.Table.Put(k, sub, value)
}

// Append adds to its end.
func (s *State) Append(tail []byte) {
	k := s.keyed.Key()
	if old := s.Table.Get(k, nil); old != nil {
		j := &s.keyed.journal
		j.changes = append(j.changes, change{kind: appended, state: s, length: len(old)})
	} else {
		s.keyed.journal.before(s, nil, nil)
	}
	s.Table.Append(k, tail)
}

// Delete removes it.
func (s *State) Delete(sub []byte) {
	k := s.keyed.Key()
	if old := s.Table.Get(k, sub); old != nil {
		s.keyed.journal.before(s, sub, old)
		s.Table.Delete(k, sub)
	}
}

// Each calls f for each entry of the map of the key at hand. f must not write to
// it.
func (s *State) Each(f func(sub, value []byte) bool) { s.Table.Each(s.keyed.Key(), f) }

// Millis is the processing time in milliseconds, as deadlines have it.
func (s *State) Millis() int64 { return s.keyed.millis() }

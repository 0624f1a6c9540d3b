package state

import (
	"errors"
	"fmt"
	"math"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"

	"github.com/weirstream/weir/proto/keygroup"
)

// NoTime is no watermark.
const NoTime int64 = math.MinInt64

// Keyed is the keyed state of one task.
type Keyed struct {
	// Now is the processing time, in nanoseconds.
	Now func() int64

	backend Backend
	groups  Groups
	states  []*State
	timers  *timers
	// current is the key at hand; has says that there is one.
	current Key
	has     bool
	turn    uint64 // of the key at hand
	keyBuf  []byte // of a timer that fires
	// urgent are timers that were due when they were set.
	urgent  []urgent
	ending  bool
	journal journal
	// watermark is the task's; restored are those that came with key groups, by
	// group, nil where none did.
	watermark int64
	restored  []int64
	// unclaimed are restored entries by the name of a state that nobody has opened.
	unclaimed map[string][]*pluginv1.Entry
	stored    Stored // of restored files; nil where there are none, or no longer any
}

type urgent struct {
	timer Timer
	key   Key
}

// State is one state of a Keyed.
type State struct {
	Table
	keyed  *Keyed
	spec   Spec
	header keygroup.Header
	warmer Warmer // the table, where it is one
}

// NewKeyed returns the state of a task as the entries of kind KEY_GROUP, and what
// is stored in files, have it; stored may be nil, and is closed by Opened or Close.
// Timers are restored at once; a state is when it is opened.
func NewKeyed(b Backend, g Groups, now func() int64, entries []*pluginv1.Entry, stored Stored) (*Keyed, error) {
	k := &Keyed{
		Now: now, backend: b, groups: g, timers: newTimers(), watermark: NoTime, stored: stored,
		keyBuf:    []byte{}, // an empty key is not null
		unclaimed: map[string][]*pluginv1.Entry{},
	}
	for _, e := range entries {
		if e.GetId() != keygroup.TimersID {
			k.unclaimed[e.GetId()] = append(k.unclaimed[e.GetId()], e)
			continue
		}
		if err := k.restoreTimers(e); err != nil {
			return nil, fmt.Errorf("timers of key group %d: %w", e.GetKeyGroup(), err)
		}
	}
	return k, nil
}

// Warm says that keys of these hashes will be the ones at hand soon.
func (k *Keyed) Warm(hashes []uint32) {
	for _, s := range k.states {
		if s.warmer != nil {
			s.warmer.Warm(hashes)
		}
	}
}

// SetKey makes a key the one at hand, whose hash is [keygroup.Hash]. It reports
// whether the task owns it.
func (k *Keyed) SetKey(key []byte, hash uint32) bool {
	g := keygroup.OfHash(hash, k.groups.Of)
	k.use(Key{Bytes: key, Hash: hash})
	return k.groups.First <= g && g <= k.groups.Last
}

// use makes a key the one at hand, in a turn of its own.
func (k *Keyed) use(key Key) {
	k.turn++
	key.Turn = k.turn
	k.current, k.has = key, true
}

// Unset ends the scope of the key at hand; Undo still knows it.
func (k *Keyed) Unset() { k.has = false }

// Key returns the key at hand. Without one it panics: the author's mistake.
func (k *Keyed) Key() Key {
	if !k.has {
		panic("keyed state and timers belong to a key: they are used within ProcessKeyed and OnTimer alone")
	}
	return k.current
}

// Begin forgets what was changed before: Undo cannot take that back any more.
func (k *Keyed) Begin() { k.journal.reset() }

// Err is the first error of the back end.
func (k *Keyed) Err() error { return k.backend.Err() }

// Close closes the back end.
func (k *Keyed) Close() error { return errors.Join(k.Opened(), k.backend.Close()) }

// Watermark is how far event time has come: for the key at hand, the greater of
// the task's watermark and that which its key group was restored with.
func (k *Keyed) Watermark() int64 {
	if k.restored == nil || !k.has {
		return k.watermark
	}
	return k.watermarkOf(keygroup.OfHash(k.current.Hash, k.groups.Of))
}

func (k *Keyed) watermarkOf(group int) int64 {
	if k.restored == nil {
		return k.watermark
	}
	return max(k.watermark, k.restored[group-k.groups.First])
}

// Advance says that event time has come to w.
func (k *Keyed) Advance(w int64) {
	k.watermark = max(k.watermark, w)
	if k.restored != nil && !slices.ContainsFunc(k.restored, func(r int64) bool { return r > k.watermark }) {
		k.restored = nil
	}
}

// End says that input has ended: what fires from now on sets no timers in
// processing time.
func (k *Keyed) End() { k.ending = true }

// SetTimer sets a timer of the key at hand, once however often it is called.
func (k *Keyed) SetTimer(tm Timer) {
	key := k.Key()
	if tm.Domain == ProcessingTime && k.ending || !k.timers.set(key, tm) {
		return
	}
	k.journal.timerSet(tm)
	if tm.Domain == EventTime && tm.At <= k.Watermark() {
		k.urgent = append(k.urgent, urgent{tm, Key{Bytes: slices.Clone(key.Bytes), Hash: key.Hash}})
	}
}

// DeleteTimer deletes a timer of the key at hand, if it is set.
func (k *Keyed) DeleteTimer(tm Timer) {
	if k.timers.remove(k.Key(), tm) {
		k.journal.timerDeleted(tm)
	}
}

// Urgent removes a timer that was due when it was set, and makes its key the one
// at hand. There is none after a call that set none.
func (k *Keyed) Urgent() (Timer, bool) {
	for len(k.urgent) > 0 {
		u := k.urgent[0]
		k.urgent = slices.Delete(k.urgent, 0, 1)
		if k.timers.remove(u.key, u.timer) { // it may have been deleted since
			k.use(u.key)
			return u.timer, true
		}
	}
	return Timer{}, false
}

// Next removes the first timer of a domain that is due at the limit, and makes its
// key the one at hand.
func (k *Keyed) Next(d Domain, limit int64) (Timer, bool) {
	tm, key, ok := k.timers.next(d, limit, k.keyBuf[:0])
	if ok {
		k.keyBuf = key.Bytes
		k.use(key)
	}
	return tm, ok
}

// First is when the first timer of a domain is due.
func (k *Keyed) First(d Domain) (at int64, ok bool) { return k.timers.first(d) }

// Expire drops some of what has outlived its TTL.
func (k *Keyed) Expire() {
	now := k.millis()
	for _, s := range k.states {
		if s.spec.TTL {
			s.Expire(now)
		}
	}
}

func (k *Keyed) millis() int64 { return k.Now() / 1e6 }

// Group is the key group of the key at hand.
func (k *Keyed) Group() int { return keygroup.OfHash(k.current.Hash, k.groups.Of) }

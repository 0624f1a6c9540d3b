package sdk

import "context"

// KeyedOperator turns records into records and remembers by key. The SDK scopes
// its state and timers ([Value], [Map], [List], [Task.SetTimer]) to the key at
// hand, moves them when the parallelism changes, and puts them into checkpoints: a
// restart finds them as they were at the checkpoint that it starts from.
//
// All records of a key come to one instance, in the order of each channel. One
// goroutine calls an instance.
type KeyedOperator interface {
	// ProcessKeyed handles a record; state and timers are those of its key. Where it
	// returns [Retry], what it did to state and timers is taken back and it is called
	// again; it must not have put records out before. The same holds for a record
	// that it fails ([Collector.Fail]) where on_error says to try again; a record
	// that is failed without another try leaves what was done to state.
	ProcessKeyed(ctx context.Context, r Record, out *Collector) error

	// Close releases what the operator holds.
	Close() error
}

// TimerHandler is an optional interface of a [KeyedOperator] that sets timers.
type TimerHandler interface {
	// OnTimer is called once for each timer whose time has come; state and timers
	// are those of the timer's key. Timers of one domain fire in the order of their
	// times, for one key also of their tags.
	OnTimer(ctx context.Context, t Timer, out *Collector) error
}

// BroadcastHandler is an optional interface of a [KeyedOperator] with an input port
// of partition [Broadcast], whose records come to every task.
type BroadcastHandler interface {
	// ProcessBroadcast handles a batch of such a port. It belongs to no key: only
	// what [BroadcastValue] and [TaskList] return may be used.
	ProcessBroadcast(ctx context.Context, in *Batch, out *Collector) error
}

// Domain is the time that a timer goes by.
type Domain uint8

// The domains.
const (
	// EventTime: the timer fires when the watermark has reached its time. At the
	// end of input all do.
	EventTime Domain = iota
	// ProcessingTime: the timer fires when the clock has. Those that are left at the
	// end of input fire then, and what fires then sets no more of them.
	ProcessingTime
)

// Timer is a timer that fires.
type Timer struct {
	Domain Domain
	// At is the time that it was set for.
	At Time
	// Tag is what it was set with: timers of one key, domain and time differ by it.
	Tag uint32
}

// SetTimer sets a timer of the key at hand, which [TimerHandler] gets when its time
// has come; a time that has passed has come when the call returns. A timer that is
// set again, with the same domain, time and tag, is one timer. It is part of each
// checkpoint until it fires.
func (t *Task) SetTimer(d Domain, at Time, tag uint32) { t.keyedState().SetTimer(timerOf(d, at, tag)) }

// DeleteTimer deletes a timer of the key at hand; there need not be one.
func (t *Task) DeleteTimer(d Domain, at Time, tag uint32) {
	t.keyedState().DeleteTimer(timerOf(d, at, tag))
}

// Watermark is how far event time has come: a record with an earlier time than it
// is late. It is the zero Time before the first watermark. For the key at hand it
// is not lower than at the checkpoint that the key's state was restored from.
func (t *Task) Watermark() Time { return UnixNano(t.keyedState().Watermark()) }

// Now is the processing time, by which timers of that domain and TTLs go. Tests set
// it.
func (t *Task) Now() Time { return UnixNano(t.now()) }

// Key is the key at hand, within ProcessKeyed and OnTimer. Read-only, and dead
// when the call returns.
func (t *Task) Key() []byte { return t.keyedState().Key().Bytes }

// Input is the input port that the record at hand came in by, within ProcessKeyed.
func (t *Task) Input() string { return t.input }

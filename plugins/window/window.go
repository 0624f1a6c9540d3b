package window

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
)

// windows is one way to divide records. All calls are about the key at hand.
type windows interface {
	// add adds a record of time at, and says whether it came too late.
	add(at int64, in *aggregate.Inputs, out *sdk.Collector) (late bool, err error)
	// fire handles a timer of the windows' own.
	fire(tm sdk.Timer, out *sdk.Collector) error
	// open yields the windows that are not complete, for early results.
	open(yield func(w *result) error) error
}

// Tags of timers.
const (
	tagFire  = iota // a window is complete
	tagClean        // nothing of it is needed any more
	tagEarly
)

// operator is one task's instance.
type operator struct {
	task     *sdk.Task
	set      *aggregate.Set
	windows  windows
	early    *time.Duration
	domain   sdk.Domain
	lateness int64

	// elements is the bag of all windows of a key: window, aggregate and element to
	// how many there are.
	elements *sdk.MapState[string, uint64]
	earlySet *sdk.ValueState[int64] // when the next early result is due
	late     *sdk.Counter

	scratch, other aggregate.State
	filled         bag
	buf            []byte
}

// result is a window as it is sent.
type result struct {
	start, end any // nanoseconds; nil where it is not known
	time       sdk.Time
	state      *aggregate.State
	bag        aggregate.Bag
}

var errNoTime = errors.New("the record has no time: its source needs event_time")

// ProcessKeyed implements [sdk.KeyedOperator].
func (o *operator) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	at := r.Time()
	if o.domain == sdk.ProcessingTime {
		at = o.task.Now()
	}
	if _, byCount := o.windows.(*counts); at.IsZero() && !byCount {
		out.Fail(r, errNoTime)
		return nil
	}
	in, err := o.set.Inputs(r, r.Time())
	if err != nil {
		out.Fail(r, err)
		return nil
	}
	late, err := o.windows.add(at.UnixNano(), in, out)
	switch {
	case err != nil:
		return err
	case late:
		o.late.Inc()
		out.To(lateOutput).Forward(r)
		return nil
	}
	o.scheduleEarly()
	return nil
}

// OnTimer implements [sdk.TimerHandler].
func (o *operator) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	if tm.Tag != tagEarly {
		return o.windows.fire(tm, out)
	}
	o.earlySet.Clear()
	any := false
	err := o.windows.open(func(w *result) error {
		any = true
		return o.send(w, earlyHeaders, out)
	})
	if any {
		o.scheduleEarly()
	}
	return err
}

// Close implements [sdk.KeyedOperator].
func (o *operator) Close() error { return nil }

// scheduleEarly sees that a result of what is there leaves in time.
func (o *operator) scheduleEarly() {
	if o.early == nil {
		return
	}
	if _, set := o.earlySet.Get(); set {
		return
	}
	due := o.task.Now().Add(*o.early)
	o.earlySet.Set(due.UnixNano())
	o.task.SetTimer(sdk.ProcessingTime, due, tagEarly)
}

// now is how far time has come, by which windows are complete.
func (o *operator) now() int64 {
	if o.domain == sdk.ProcessingTime {
		return o.task.Now().UnixNano()
	}
	return o.task.Watermark().UnixNano()
}

func (o *operator) setTimer(at int64, tag uint32) { o.task.SetTimer(o.domain, sdk.UnixNano(at), tag) }

func (o *operator) deleteTimer(at int64, tag uint32) {
	o.task.DeleteTimer(o.domain, sdk.UnixNano(at), tag)
}

// earlyHeaders mark a result that is not the last word on its window.
var earlyHeaders = sdk.Headers(nil).Add("weir.window", []byte("early"))

// send sends a window's result.
func (o *operator) send(w *result, h sdk.Headers, out *sdk.Collector) error {
	key := o.task.Key()
	b, ok, err := o.set.AppendResult(o.buf[:0], []aggregate.Field{
		{Name: "key", Value: strings.ToValidUTF8(string(key), "\ufffd")},
		{Name: "start", Value: millis(w.start)},
		{Name: "end", Value: millis(w.end)},
	}, w.state, w.bag)
	if o.buf = b; err != nil || !ok {
		return err
	}
	out.Append(sdk.Row{Key: key, Value: b, Time: w.time, Headers: h})
	return nil
}

func millis(ns any) any {
	if ns == nil {
		return nil
	}
	return int(sdk.UnixNano(ns.(int64)).UnixMilli())
}

// spanOf is a window of time [start, end).
func spanOf(start, end int64, st *aggregate.State, bag aggregate.Bag) *result {
	return &result{start: start, end: end, time: sdk.UnixNano(end - 1), state: st, bag: bag}
}

// bag holds elements under a prefix that is the window's own.
type bag struct {
	of     *sdk.MapState[string, uint64]
	window int64
}

func (o *operator) bag(window int64) bag { return bag{o.elements, window} }

// into is a window's bag, to add one record to: it serves until the next call.
func (o *operator) into(window int64) aggregate.Bag {
	o.filled = o.bag(window)
	return &o.filled
}

const bagPrefix = 10 // window and aggregate

// Add implements [aggregate.Bag].
func (b bag) Add(item int, element []byte, n uint64) {
	key := binary.BigEndian.AppendUint64(nil, uint64(b.window))
	key = binary.BigEndian.AppendUint16(key, uint16(item))
	name := string(append(key, element...))
	have, _ := b.of.Get(name)
	b.of.Set(name, have+n)
}

// Each implements [aggregate.Bag].
func (b bag) Each(item int, yield func([]byte, uint64)) { bags{b}.Each(item, yield) }

// bags are several windows' bags as one.
type bags []bag

// Add implements [aggregate.Bag].
func (bs bags) Add(int, []byte, uint64) { panic("window: a merged bag is for reading") }

// Each implements [aggregate.Bag].
func (bs bags) Each(item int, yield func([]byte, uint64)) {
	if len(bs) == 0 {
		return
	}
	sum := map[string]uint64{}
	for name, n := range bs[0].of.All() {
		window, of := int64(binary.BigEndian.Uint64([]byte(name))), int(binary.BigEndian.Uint16([]byte(name[8:])))
		if of != item {
			continue
		}
		for _, b := range bs {
			if b.window == window {
				sum[name[bagPrefix:]] += n
			}
		}
	}
	for element, n := range sum {
		yield([]byte(element), n)
	}
}

// move gives the bag's elements to another window, or drops them where to is nil.
func (b bag) move(to *int64) {
	for name, n := range b.of.All() {
		if int64(binary.BigEndian.Uint64([]byte(name))) != b.window {
			continue
		}
		b.of.Delete(name)
		if to != nil {
			bag{b.of, *to}.Add(int(binary.BigEndian.Uint16([]byte(name[8:]))), []byte(name[bagPrefix:]), n)
		}
	}
}

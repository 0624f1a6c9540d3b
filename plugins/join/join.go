// Package join is an operator that joins the records of two inputs that have one
// key and lie within a time of each other.
package join

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// Config is the operator's configuration.
type Config struct {
	Within time.Duration `weir:"within,required" min:"0s" max:"8760h" doc:"Records are joined whose times are no further apart, in either direction."`
	Type   string        `weir:"type" default:"inner" enum:"inner,left" doc:"inner: pairs alone. left: a record of the left input without a partner leaves too, with right: null, once none can come."`
}

// The inputs.
const (
	left  = "left"
	right = "right"
)

const lateOutput = "late"

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewKeyedOperator("join", "Joins the records of two inputs by key, within a time.", open,
		sdk.ByEventTime(),
		sdk.DiskState(diskstate.Pebble()),
		sdk.Inputs(
			sdk.Port{Name: left, Summary: "One side.", Partition: sdk.Key},
			sdk.Port{Name: right, Summary: "The other side.", Partition: sdk.Key},
		),
		sdk.Outputs(sdk.Output{Name: lateOutput, Summary: "Records behind the watermark, as they were: partners of them may be forgotten."}),
		sdk.Description(`A result is a JSON object with key, left and right: the values as JSON, or as text
where they are none. Its key is that of the records, its time the later of theirs;
without a partner it is within after the record's: when it is known that none comes.
Which pairs leave does not depend on the order in which records come.`),
		sdk.Example("Purchases within an hour of a click", "within: 1h\ntype: left\n"))
}

func open(_ context.Context, cfg *Config, t *sdk.Task) (*operator, error) {
	return &operator{
		task: t, within: cfg.Within.Nanoseconds(), outer: cfg.Type == "left",
		records: sdk.Map[string, []byte](t, "records"),
		next:    sdk.Value[uint64](t, "next"),
		late:    t.Metrics.Counter("late_records", "Records that came behind the watermark.", "1"),
	}, nil
}

// operator is one task's instance.
type operator struct {
	task   *sdk.Task
	within int64
	outer  bool
	// records waits for partners: side, time and number to whether there was one,
	// and the value.
	records *sdk.MapState[string, []byte]
	next    *sdk.ValueState[uint64]
	late    *sdk.Counter
	buf     []byte
}

// A stored record begins with a byte of these.
const (
	flagPaired = 1 << iota
	flagNull
)

const (
	sideLeft  = 'l'
	sideRight = 'r'
)

var errNoTime = errors.New("the record has no time: its source needs event_time")

// ProcessKeyed implements [sdk.KeyedOperator].
func (o *operator) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	at := r.Time()
	switch {
	case at.IsZero():
		out.Fail(r, errNoTime)
		return nil
	case at.Before(o.task.Watermark()):
		o.late.Inc()
		out.To(lateOutput).Forward(r)
		return nil
	}
	mine, other := byte(sideLeft), byte(sideRight)
	if o.task.Input() == right {
		mine, other = sideRight, sideLeft
	}
	t := at.UnixNano()
	stored := store(r.Value())
	for name, partner := range o.records.All() {
		if name[0] != other || distance(timeOf(name), t) > uint64(o.within) {
			continue
		}
		stored[0] |= flagPaired
		if partner[0]&flagPaired == 0 {
			partner[0] |= flagPaired
			o.records.Set(name, partner)
		}
		l, r := stored, partner
		if mine == sideRight {
			l, r = r, l
		}
		if err := o.send(l, r, max(t, timeOf(name)), out); err != nil {
			return err
		}
	}
	n, _ := o.next.Get()
	o.next.Set(n + 1)
	o.records.Set(nameOf(mine, t, n), stored)
	o.task.SetTimer(sdk.EventTime, sdk.UnixNano(o.over(t)), 0)
	return nil
}

// over is when no partner of a record can come any more that is not late.
func (o *operator) over(t int64) int64 {
	if over := t + o.within + 1; over > t {
		return over
	}
	return t
}

// OnTimer implements [sdk.TimerHandler].
func (o *operator) OnTimer(_ context.Context, tm sdk.Timer, out *sdk.Collector) error {
	empty := true
	for name, stored := range o.records.All() {
		t := timeOf(name)
		if o.over(t) != tm.At.UnixNano() {
			empty = false
			continue
		}
		o.records.Delete(name)
		if o.outer && name[0] == sideLeft && stored[0]&flagPaired == 0 {
			// Its own time is behind the watermark by now.
			if err := o.send(stored, nil, max(t, o.over(t)-1), out); err != nil {
				return err
			}
		}
	}
	if empty {
		o.next.Clear()
	}
	return nil
}

// Close implements [sdk.KeyedOperator].
func (o *operator) Close() error { return nil }

func store(value []byte) []byte {
	if value == nil {
		return []byte{flagNull}
	}
	return append([]byte{0}, value...)
}

func nameOf(side byte, t int64, n uint64) string {
	b := binary.BigEndian.AppendUint64([]byte{side}, uint64(t)^1<<63)
	return string(binary.BigEndian.AppendUint64(b, n))
}

func timeOf(name string) int64 { return int64(binary.BigEndian.Uint64([]byte(name[1:])) ^ 1<<63) }

func distance(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b)
}

// send sends a pair; r is nil where there is no partner.
func (o *operator) send(l, r []byte, t int64, out *sdk.Collector) error {
	b, err := expression.AppendJSON(append(o.buf[:0], `{"key":`...), strings.ToValidUTF8(string(o.task.Key()), "\ufffd"))
	if err == nil {
		b, err = appendValue(append(b, `,"left":`...), l)
	}
	if err == nil {
		b, err = appendValue(append(b, `,"right":`...), r)
	}
	if o.buf = b; err != nil {
		return err
	}
	out.Append(sdk.Row{Key: o.task.Key(), Value: append(b, '}'), Time: sdk.UnixNano(t)})
	return nil
}

// appendValue appends a stored value: JSON as it is, else as text.
func appendValue(b, stored []byte) ([]byte, error) {
	switch {
	case stored == nil || stored[0]&flagNull != 0:
		return append(b, "null"...), nil
	case gjson.ValidBytes(stored[1:]):
		return append(b, stored[1:]...), nil
	}
	return expression.AppendJSON(b, strings.ToValidUTF8(string(stored[1:]), "\ufffd"))
}

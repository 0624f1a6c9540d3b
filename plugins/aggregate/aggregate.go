// Package aggregate is an operator that keeps running aggregates of the records of
// each key.
package aggregate

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// Config is the operator's configuration.
type Config struct {
	Aggregates map[string]sdk.Expr `weir:"aggregates,required" doc:"Field of the result to aggregate, as in window: count(), sum(x), max(x), last(x), ... each over an expression."`
	Having     sdk.Expr            `weir:"having" doc:"A result leaves where this is true. Variables: key and the aggregates."`
	TTL        *time.Duration      `weir:"ttl" min:"1s" doc:"Forgets a key of which nothing came for so long, by the clock."`
}

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewKeyedOperator("aggregate", "Keeps running aggregates of each key, and sends them with every record.", open,
		sdk.Description(`For each record its key's aggregates leave, the record counted, as a JSON object
with key and the aggregates by name. Time, headers and origin are the record's.`),
		sdk.DiskState(diskstate.Pebble()),
		sdk.Example("Balance of each account", "aggregates: {balance: sum(json.amount), transfers: count()}\n"))
}

// Validate implements [sdk.Validator].
func (c *Config) Validate() []sdk.FieldError {
	_, faults := aggregate.Compile(c.Aggregates, c.Having)
	return faults
}

func open(_ context.Context, cfg *Config, t *sdk.Task) (*operator, error) {
	set, faults := aggregate.Compile(cfg.Aggregates, cfg.Having)
	if len(faults) > 0 {
		return nil, sdk.Fatal(faults[0])
	}
	o := &operator{task: t, set: set, state: sdk.Value[*aggregate.State](t, "state", sdk.WithCodec(set.Codec())), elements: sdk.Map[string, uint64](t, "elements")}
	if cfg.TTL != nil {
		o.ttl, o.until = *cfg.TTL, sdk.Value[int64](t, "until")
	}
	return o, nil
}

// operator is one task's instance.
type operator struct {
	task     *sdk.Task
	set      *aggregate.Set
	state    *sdk.ValueState[*aggregate.State]
	elements *sdk.MapState[string, uint64]
	ttl      time.Duration
	until    *sdk.ValueState[int64] // when the key is forgotten; nil without a TTL
	scratch  aggregate.State
	out      []byte
}

// ProcessKeyed implements [sdk.KeyedOperator].
func (o *operator) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	in, err := o.set.Inputs(r, r.Time())
	if err != nil {
		out.Fail(r, err)
		return nil
	}
	st, known := o.state.Get()
	if !known {
		st = &o.scratch
		o.set.Reset(st)
	}
	o.set.Add(st, in, bag{o.elements})
	o.state.Set(st)
	o.keep()
	key := aggregate.Field{Name: "key", Value: strings.ToValidUTF8(string(r.Key()), "\ufffd")}
	b, ok, err := o.set.AppendResult(o.out[:0], []aggregate.Field{key}, st, bag{o.elements})
	if o.out = b; err != nil || !ok {
		return err
	}
	out.Emit(r, append(out.AvailableBuffer(), b...))
	return nil
}

// keep puts off when the key is forgotten. There is one timer a key at a time.
func (o *operator) keep() {
	if o.until == nil {
		return
	}
	due := o.task.Now().Add(o.ttl)
	if _, set := o.until.Get(); !set {
		o.task.SetTimer(sdk.ProcessingTime, due, 0)
	}
	o.until.Set(due.UnixNano())
}

// OnTimer implements [sdk.TimerHandler].
func (o *operator) OnTimer(_ context.Context, tm sdk.Timer, _ *sdk.Collector) error {
	if until, ok := o.until.Get(); ok && until > tm.At.UnixNano() {
		o.task.SetTimer(sdk.ProcessingTime, sdk.UnixNano(until), 0)
		return nil
	}
	o.until.Clear()
	o.state.Clear()
	o.elements.Clear()
	return nil
}

// Close implements [sdk.KeyedOperator].
func (o *operator) Close() error { return nil }

// bag keeps elements by aggregate.
type bag struct{ of *sdk.MapState[string, uint64] }

// Add implements [aggregate.Bag].
func (b bag) Add(item int, element []byte, n uint64) {
	name := string(append(binary.BigEndian.AppendUint16(nil, uint16(item)), element...))
	have, _ := b.of.Get(name)
	b.of.Set(name, have+n)
}

// Each implements [aggregate.Bag].
func (b bag) Each(item int, yield func([]byte, uint64)) {
	for name, n := range b.of.All() {
		if int(binary.BigEndian.Uint16([]byte(name))) == item {
			yield([]byte(name[2:]), n)
		}
	}
}

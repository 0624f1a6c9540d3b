package sdk

import (
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Collector is where a component's records go. It belongs to the call that it was
// given to and to one goroutine, save Fail.
//
// Its methods return no error: the first one sticks, what follows is ignored, and
// the call's task fails with it. They block while the receiver is slow, save
// inside Read, where nothing is sent until Read returns. What a call sent takes
// effect when it returns without an error.
type Collector struct {
	out     *task.Output
	secrets secrets // hidden in the causes of failed records
}

// Append adds a new record. In an operator the record stems from no other and has
// no origin; [Collector.EmitRow] keeps it.
func (c *Collector) Append(r Row) {
	c.out.Append(r.Key, r.Value, r.Time.UnixNano(), wire.Headers(r.Headers), r.Origin)
}

// Emit adds a record with the key, time, headers and origin of from and a value
// of its own: a value that was appended to AvailableBuffer is not copied. A nil
// value is null.
func (c *Collector) Emit(from Record, value []byte) {
	c.out.Emit(from.batch, from.index, value)
}

// EmitRow adds a record that stems from from, whose origin it keeps; everything
// else is r's.
func (c *Collector) EmitRow(from Record, r Row) {
	c.out.EmitRow(from.batch, from.index, r.Key, r.Value, r.Time.UnixNano(), wire.Headers(r.Headers))
}

// Forward passes a record on.
func (c *Collector) Forward(r Record) { c.out.Forward(r.batch, r.index) }

// ForwardAll passes a whole batch on; nothing is copied.
func (c *Collector) ForwardAll(b *Batch) { c.out.ForwardAll(b.wire) }

// ForwardSelected passes on the records of b with these indices, in this order.
func (c *Collector) ForwardSelected(b *Batch, indices []uint32) {
	c.out.ForwardSelected(b.wire, indices)
}

// AvailableBuffer returns an empty slice at the end of the value column. A value
// that is appended to it and given to the next Append, Emit or EmitRow of this
// Collector is not copied again; it is dead after that.
func (c *Collector) AvailableBuffer() []byte { return c.out.AvailableBuffer() }

// Full reports that a batch is complete: a [Reader] returns soon.
func (c *Collector) Full() bool { return c.out.Full() }

// To returns the Collector of an output of that name, "out" among them. An
// output that the component has not declared fails the task.
func (c *Collector) To(output string) *Collector { return &Collector{c.out.To(output), c.secrets} }

// Err returns the first error, if any: a long loop may look.
func (c *Collector) Err() error { return c.out.Err() }

// Fail hands a record to the node's on_error policy (fail, retry, skip, dead
// letter); the other records go on. Any goroutine may call it while the record's
// batch is held, at the latest before the Flush returns that covers it.
func (c *Collector) Fail(r Record, err error) { c.out.Fail(r.batch, r.index, c.secrets.in(err)) }

// FailRow hands input that cannot be read as a record to the node's on_error
// policy: only a [Reader] calls it. length is the input's whole length where
// r.Value is only its beginning, or 0.
func (c *Collector) FailRow(r Row, length int, err error) {
	c.out.FailRow(r.Key, r.Value, r.Time.UnixNano(), wire.Headers(r.Headers), r.Origin, length, c.secrets.in(err))
}

package task

import (
	"fmt"
	"math"
	"time"

	"github.com/weirstream/weir/proto/wire"
)

// Output is where a component's records go: the core of the author's collector.
// It belongs to the goroutine of the call it was given to, save Fail, and is dead
// after the call. Its errors are sticky: after the first one it takes nothing
// more, and the call that it was given to fails with it.
//
// Inside Read it neither blocks nor sends. Elsewhere what is appended takes effect
// when the call returns without an error; a call that appends very much hands
// batches on while it runs, and blocks while the receiver is full.
type Output struct {
	c *collector
	l *lane
}

// Append adds a record. Everything is copied, but for a value that was appended
// to AvailableBuffer. A nil key or value is null; t may be [wire.NoTime]. ordinal
// is the record's place in its split; it means something inside Read only.
func (o *Output) Append(key, value []byte, t int64, headers wire.Headers, ordinal int64) {
	c, l, size := o.c, o.l, len(key)+len(value)+len(headers)
	switch c.room(l, size) {
	case taken:
		l.builder.Append(key, value, t, headers, c.split, ordinal)
		c.added(l, size)
	case tooLarge:
		c.failLarge(key, value, t, headers, c.split, ordinal)
	}
}

// Emit adds a record with the key, time, headers and origin of record i of from
// and a value of its own.
func (o *Output) Emit(from *wire.Batch, i int, value []byte) {
	c, l, size := o.c, o.l, len(value)+len(from.Key(i))+len(from.Headers(i))
	switch c.room(l, size) {
	case taken:
		l.builder.AppendFrom(from, i, value)
		c.added(l, size)
	case tooLarge:
		split, ordinal := from.Origin(i)
		c.failLarge(from.Key(i), value, from.Time(i), from.Headers(i), split, ordinal)
	}
}

// EmitRow adds a record of its own that stems from record i of from, whose origin
// it keeps.
func (o *Output) EmitRow(from *wire.Batch, i int, key, value []byte, t int64, headers wire.Headers) {
	c, l, size := o.c, o.l, len(key)+len(value)+len(headers)
	verdict := c.room(l, size)
	if verdict == ignored {
		return
	}
	split, ordinal := "", int64(0)
	if c.origin || verdict == tooLarge {
		split, ordinal = from.Origin(i)
	}
	if verdict == tooLarge {
		c.failLarge(key, value, t, headers, split, ordinal)
		return
	}
	l.builder.Append(key, value, t, headers, split, ordinal)
	c.added(l, size)
}

// Forward adds record i of from unchanged.
func (o *Output) Forward(from *wire.Batch, i int) { o.Emit(from, i, from.Value(i)) }

// ForwardAll passes a batch on as it is, uncopied.
func (o *Output) ForwardAll(b *wire.Batch) {
	c, l := o.c, o.l
	if c.roomFor(l, b.Len()) {
		l.freeze(c)
		b.Hold()
		l.stage(c, b)
		c.overflow()
	}
}

// ForwardSelected adds the records of from with these indices, in this order.
func (o *Output) ForwardSelected(from *wire.Batch, indices []uint32) {
	c, l := o.c, o.l
	if len(indices) > 0 && c.roomFor(l, len(indices)) {
		l.builder.AppendSelected(from, indices)
		l.bytes = l.builder.Size()
		c.added(l, 0)
	}
}

// AvailableBuffer returns an empty slice at the tail of the value column: a value
// that is appended to it and given to the next Append or Emit is not copied.
func (o *Output) AvailableBuffer() []byte {
	if o.l.builder == nil {
		if o.l.scratch == nil {
			o.l.scratch = make([]byte, 0, 4096)
		}
		return o.l.scratch
	}
	return o.l.builder.AvailableBuffer()
}

// Full reports that a batch is complete: a Reader returns soon.
func (o *Output) Full() bool { return o.c.full || o.c.err != nil }

// To returns the output of that name, "out" among them. A declared output that
// leads nowhere counts and drops; one that is not declared is an error.
func (o *Output) To(name string) *Output {
	l, err := o.c.lane(name)
	if err != nil {
		o.c.stick(err)
		return o
	}
	return &l.out
}

// Count is how many records were put out, to any output: a part of a call that put
// out none leaves it as it was.
func (o *Output) Count() uint64 { return o.c.count }

// Err returns the first error, which is also that of the call.
func (o *Output) Err() error { return o.c.err }

// Fail hands record i of from to the node's failure policy; the rest goes on. It
// may be called from any goroutine while from is held, also after the call that
// brought from: at the latest until the flush that covers it has returned.
func (o *Output) Fail(from *wire.Batch, i int, err error) {
	o.c.failures.add(from, i, err)
}

// FailRow hands a record that was never appended to the node's failure policy: a
// source's that cannot be read as a record. length is the record's whole length
// where value is only its beginning, or 0.
func (o *Output) FailRow(key, value []byte, t int64, headers wire.Headers, ordinal int64, length int, err error) {
	o.c.failures.addRow(key, value, t, headers, o.c.split, ordinal, length, err)
}

// lane is one output of one collector: the batch being built and those complete.
type lane struct {
	name    string
	outlet  *outlet
	builder *wire.Builder // nil where the output leads nowhere
	bytes   int           // of the open batch, roughly
	staged  []*wire.Batch
	dropped uint64
	scratch []byte
	out     Output
}

// collector is the core of all outputs of one call.
type collector struct {
	member    *member
	lanes     []*lane // by Member.outputs, then those that lead nowhere
	split     string  // of a reader
	origin    bool
	failures  *failures
	limit     int
	maxRecord int
	full      bool
	count     uint64
	most      uint64    // the count at which a reader has read enough; 0 for none
	from      uint64    // the count at which a read began
	first     time.Time // when the first record of a read was appended
	staged    int       // bytes of complete batches
	err       error     // sticky
	// spill is called when the complete batches are more than maxStaged bytes.
	spill     func() error
	maxStaged int
}

// newCollector makes the outputs of a member, for its calls on the loop or for
// one of its readers.
func newCollector(m *member, split string) *collector {
	limits := m.task.limits
	c := &collector{
		member:    m,
		split:     split,
		origin:    m.needsOrigin,
		failures:  m.failures,
		limit:     limits.batch,
		from:      math.MaxUint64, // no read
		maxRecord: limits.record,
		// Whoever returns once it is full may have put out almost a batch and then
		// the largest record.
		maxStaged: max(4*limits.batch, limits.record+2*limits.batch+batchOverhead),
	}
	c.spill = func() error {
		return &FatalError{fmt.Errorf("component %q: one call of Read appended more than %d bytes", m.spec.Component, c.maxStaged)}
	}
	for _, o := range m.outlets {
		if o.name != errorsOutput {
			c.open(o.name, o)
		}
	}
	if _, err := c.lane(mainOutput); err != nil {
		c.open(mainOutput, nil)
	}
	return c
}

func (c *collector) open(name string, o *outlet) *lane {
	l := &lane{name: name, outlet: o}
	l.out = Output{c: c, l: l}
	if o != nil {
		l.builder = c.member.task.pool.NewBuilder(c.limit)
		l.builder.SetOrigin(o.needsOrigin)
	}
	c.lanes = append(c.lanes, l)
	return l
}

func (c *collector) lane(name string) (*lane, error) {
	for _, l := range c.lanes {
		if l.name == name {
			return l, nil
		}
	}
	if !c.member.declares(name) {
		return nil, fmt.Errorf("component %q has no output %q", c.member.spec.Component, name)
	}
	return c.open(name, nil), nil
}

// output is the main output, which a call is given.
func (c *collector) output() *Output {
	for _, l := range c.lanes {
		if l.name == mainOutput {
			return &l.out
		}
	}
	return nil
}

// verdict is what becomes of a record.
type verdict int

const (
	ignored  verdict = iota // after an error, or to an output that leads nowhere
	taken                   // the open batch is ready for it
	tooLarge                // it is a failed record of the component
)

// room says what becomes of a record of that size.
func (c *collector) room(l *lane, size int) verdict {
	switch {
	case c.err != nil:
		return ignored
	case l.builder == nil:
		l.dropped++
		return ignored
	case size > c.maxRecord:
		return tooLarge
	}
	// A record that fills a batch of its own does not share one. What is complete
	// is not handed on here: the record's value may lie in its buffer.
	if l.bytes > 0 && l.bytes+size > c.limit+c.limit/8 {
		l.freeze(c)
	}
	c.starts()
	c.count++
	c.enough()
	return taken
}

// starts notes when a read has something.
func (c *collector) starts() {
	if c.count == c.from {
		c.first = time.Now()
	}
}

// enough makes a reader return where it has read as much as it may.
func (c *collector) enough() {
	if c.most > 0 && c.count >= c.most {
		c.full = true
	}
}

// roomFor says whether n records that came in a batch are taken.
func (c *collector) roomFor(l *lane, n int) bool {
	switch {
	case c.err != nil:
		return false
	case l.builder == nil:
		l.dropped += uint64(n)
		return false
	}
	c.starts()
	c.count += uint64(n)
	c.enough()
	return true
}

// added counts a record that was appended.
func (c *collector) added(l *lane, size int) {
	l.bytes += size + recordOverhead
	if l.bytes >= c.limit {
		l.freeze(c)
		c.overflow()
	}
}

// recordOverhead is what a record costs beside its bytes: ends and time.
const recordOverhead = 12

// batchOverhead is what a few batches cost beside their records: runs of origin.
const batchOverhead = 1 << 10

func (c *collector) overflow() {
	if c.staged > c.maxStaged && c.err == nil {
		c.stick(c.spill())
	}
}

func (c *collector) stick(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *collector) failLarge(key, value []byte, t int64, headers wire.Headers, split string, ordinal int64) {
	size := len(key) + len(value) + len(headers)
	c.failures.addRow(key, value, t, headers, split, ordinal, size,
		fmt.Errorf("a record of %d bytes: max_record is %d", size, c.maxRecord))
}

// freeze completes the open batch.
func (l *lane) freeze(c *collector) {
	if l.builder == nil {
		return
	}
	l.bytes = 0
	if b := l.builder.Freeze(); b != nil {
		l.stage(c, b)
	}
}

func (l *lane) stage(c *collector, b *wire.Batch) {
	l.staged = append(l.staged, b)
	c.staged += b.Size()
	c.full = true
}

// drop forgets what was collected since the last commit.
func (c *collector) drop() {
	for _, l := range c.lanes {
		for i, b := range l.staged {
			if b != nil {
				b.Release()
				l.staged[i] = nil
			}
		}
		l.staged, l.bytes = l.staged[:0], 0
		if l.builder != nil {
			l.builder.Discard()
		}
	}
	c.reset()
}

func (c *collector) reset() {
	c.full, c.staged, c.err = false, 0, nil
}

package task

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// keptBytes is what is left of a record above max_record.
const keptBytes = 64 << 10

// failures collects the records that a component fails, from any goroutine.
type failures struct {
	mu      sync.Mutex
	builder *wire.Builder // the records, item by item
	items   []failedItem
	base    int           // the items before it are none of the running call's
	wake    chan struct{} // told of a failure that no call of the loop may see
}

// failedItem is what is known of one failed record beside the record.
type failedItem struct {
	err    error
	length int         // of the whole record where only its beginning is kept
	from   *wire.Batch // the batch that held it; nil for one that was never in one
	undone bool        // the call did not take effect, or the record is tried again
}

// failedBatch is what was collected since the last look.
type failedBatch struct {
	records *wire.Batch // nil where there is none
	items   []failedItem
}

func (f failedBatch) release() {
	if f.records != nil {
		f.records.Release()
	}
}

func newFailures(pool *wire.Pool, wake chan struct{}) *failures {
	return &failures{builder: pool.NewBuilder(1 << 30), wake: wake}
}

func (f *failures) add(from *wire.Batch, i int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.builder.AppendRange(from, i, i+1)
	f.note(failedItem{err: err, from: from})
}

func (f *failures) addRow(key, value []byte, t int64, headers wire.Headers, split string, ordinal int64, length int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(key)+len(value)+len(headers) > keptBytes && length > 0 {
		key, value, headers = key[:min(len(key), keptBytes)], value[:min(len(value), keptBytes)], nil
	}
	f.builder.Append(key, value, t, headers, split, ordinal)
	f.note(failedItem{err: err, length: length})
}

func (f *failures) note(i failedItem) {
	if i.err == nil {
		i.err = errors.New("failed without a reason")
	}
	f.items = append(f.items, i)
	if f.wake != nil {
		signal(f.wake)
	}
}

// begin begins a call. What failed before it is none of its own, also where a
// batch of then had the address of one of now.
func (f *failures) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base = len(f.items)
}

// undo forgets what the running call failed of one, and the rows that it failed:
// it is repeated.
func (f *failures) undo(one *wire.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := f.base; i < len(f.items); i++ {
		if from := f.items[i].from; from == nil || from == one {
			f.items[i].undone = true
		}
	}
}

// of returns the failure of the one record of that batch in the running call.
func (f *failures) of(one *wire.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := f.base; i < len(f.items); i++ {
		if !f.items[i].undone && f.items[i].from == one {
			return f.items[i].err
		}
	}
	return nil
}

// take returns what was collected.
func (f *failures) take() failedBatch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.items) == 0 {
		return failedBatch{}
	}
	out := failedBatch{records: f.builder.Freeze(), items: f.items}
	f.items, f.base = nil, 0
	return out
}

func (f *failures) drop() { f.take().release() }

// processOne feeds a batch of one record, again and again while the record fails
// and the policy has tries left. Nothing behind it is processed meanwhile.
func (m *member) processOne(port int, one *wire.Batch) error {
	var waited time.Duration
	m.failures.begin()
	for try := 0; ; try++ {
		err := m.attempt(callName(m), one, func(ctx context.Context, out *Output) error { return m.feed(ctx, port, one, out) })
		if err != nil {
			return err
		}
		failed := m.failures.of(one)
		if failed == nil {
			if err := m.commit(); err != nil {
				return err
			}
			return m.settleFailures()
		}
		d := m.policy.wait(try, failed)
		m.col.drop()
		if m.stateful != nil {
			m.stateful.Undo()
		}
		if try >= m.policy.retries || waited+d > m.policy.bound || isFatal(failed) {
			m.givenUp = one
			err := m.settleFailures()
			m.givenUp = nil
			return err
		}
		m.failures.undo(one)
		if err := m.pause(d, try, failed); err != nil {
			return err
		}
		waited += d
	}
}

// pause waits before a record's next try.
func (m *member) pause(d time.Duration, try int, failed error) error {
	m.stats.retries.Add(1)
	m.log().Warn("a record is tried again", "error", failed, "after", d, "try", try+1)
	return wait(m.task.ctx, d)
}

// retryLate writes a record again that a sink failed after the call that brought
// it, and flushes each time to learn what became of it. It returns the error that
// is left, if any.
func (m *member) retryLate(records *wire.Batch, i int, failed error) (left, err error) {
	m.single.AppendRange(records, i, i+1)
	one := m.single.Freeze()
	defer one.Release()
	m.failures.begin()
	var waited time.Duration
	for try := 0; try < m.policy.retries && !isFatal(failed); try++ {
		d := m.policy.wait(try, failed)
		if waited += d; waited > m.policy.bound {
			break
		}
		if err := m.pause(d, try, failed); err != nil {
			return nil, err
		}
		if err := m.attempt("Write", one, func(ctx context.Context, out *Output) error { return m.sink.Write(ctx, 0, one, out) }); err != nil {
			return nil, err
		}
		if err := m.attempt("Flush", nil, func(ctx context.Context, _ *Output) error { return m.sink.Flush(ctx) }); err != nil {
			return nil, err
		}
		again := m.failures.of(one)
		if again == nil {
			return nil, nil
		}
		failed = again
		m.failures.undo(one)
	}
	return failed, nil
}

// late says that a record failed after its call and can be tried again: a sink's
// that has one input, for the port is not known any more.
func (m *member) late(item failedItem) bool {
	return m.policy.retries > 0 && m.sink != nil && len(m.spec.GetInputs()) <= 1 && item.from != nil && item.from != m.givenUp
}

// settleFailures treats the records that failed by the node's policy.
func (m *member) settleFailures() error {
	for {
		f := m.failures.take()
		if f.records == nil {
			return nil
		}
		err := m.settle(f)
		f.release()
		if err != nil {
			return err
		}
	}
}

func (m *member) settle(f failedBatch) error {
	out, now := &m.failOut, time.Now()
	for i, item := range f.items {
		if item.undone {
			continue
		}
		if m.late(item) {
			left, err := m.retryLate(f.records, i, item.err)
			if err != nil {
				return err
			}
			if left == nil {
				continue
			}
			item.err, now = left, time.Now()
		}
		split, ordinal := f.records.Origin(i)
		if m.policy.action == pluginv1.FailurePolicy_ACTION_FAIL || isFatal(item.err) {
			return m.fault("a record", fmt.Errorf("%s%w", whence(split, ordinal), item.err))
		}
		if i >= len(f.items)-policy.MaxSamples {
			m.stats.samples.add(now, f.records, i, item.err)
		}
		if m.policy.limit.Over(now) {
			return m.fault("a record", fmt.Errorf("%smore than %d failed records within %v, the last: %w", whence(split, ordinal), m.policy.limit.Count, m.policy.limit.Span, item.err))
		}
		if m.policy.action == pluginv1.FailurePolicy_ACTION_SKIP {
			m.stats.skipped.Add(1)
			continue
		}
		m.stats.deadLettered.Add(1)
		out.append(m, f.records, i, item, split, ordinal)
		if out.builder.Full() {
			if err := out.flush(m); err != nil {
				return err
			}
		}
	}
	return out.flush(m)
}

func whence(split string, ordinal int64) string {
	if split == "" {
		return ""
	}
	return fmt.Sprintf("split %q, ordinal %d: ", split, ordinal)
}

func isFatal(err error) bool {
	var fatal *FatalError
	return errors.As(err, &fatal)
}

// failOut builds what leaves on the errors output.
type failOut struct {
	builder *wire.Builder
	headers wire.Headers // reused
}

func (o *failOut) append(m *member, records *wire.Batch, i int, item failedItem, split string, ordinal int64) {
	if o.builder == nil {
		o.builder = m.task.pool.NewBuilder(m.task.limits.batch)
	}
	h := append(o.headers[:0], records.Headers(i)...)
	h = policy.AppendHeaders(h, textOf(item.err.Error()), m.spec.GetNode(), split, ordinal)
	if item.length > 0 {
		h = wire.AppendHeader(h, policy.HeaderLength, strconv.AppendInt(nil, int64(item.length), 10))
	}
	o.builder.Append(records.Key(i), records.Value(i), records.Time(i), h, split, ordinal)
	o.headers = h
}

func (o *failOut) flush(m *member) error {
	if o.builder == nil {
		return nil
	}
	if b := o.builder.Freeze(); b != nil {
		return m.errors.add(b)
	}
	return nil
}

func (o *failOut) discard() {
	if o.builder != nil {
		o.builder.Discard()
	}
}

package task

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Headers that a failed record carries beside its own.
const (
	HeaderError         = "weir.error"
	HeaderComponent     = "weir.component" // the node
	HeaderOriginSplit   = "weir.origin.split"
	HeaderOriginOrdinal = "weir.origin.ordinal"
	// HeaderLength is the whole length of a record of which only the beginning is
	// left.
	HeaderLength = "weir.length"
)

// keptBytes is what is left of a record above max_record.
const keptBytes = 64 << 10

// failures collects the records that a component fails, from any goroutine.
type failures struct {
	mu      sync.Mutex
	builder *wire.Builder // the records, item by item
	items   []failedItem
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

// undo forgets the failures of one: the record that is tried again, or, with nil,
// those of a call that did not take effect.
func (f *failures) undo(one *wire.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.items {
		if from := f.items[i].from; from == nil || from == one {
			f.items[i].undone = true
		}
	}
}

// of returns the failure of the one record of that batch.
func (f *failures) of(one *wire.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.items {
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
	f.items = nil
	return out
}

func (f *failures) drop() { f.take().release() }

// policy is a node's FailurePolicy.
type policy struct {
	action              pluginv1.FailurePolicy_Action
	retries             int
	backoff, maxBackoff time.Duration
	bound               time.Duration // of all waits for one record
	limit               window
}

func newPolicy(p *pluginv1.FailurePolicy, checkpointTimeout time.Duration) (policy, error) {
	out := policy{
		action:     p.GetAction(),
		retries:    int(p.GetRetries()),
		backoff:    orDefault(p.GetBackoff().AsDuration(), 100*time.Millisecond),
		maxBackoff: orDefault(p.GetMaxBackoff().AsDuration(), 10*time.Second),
		// A barrier waits behind the record, so the record must not take all of
		// the time that the barrier has.
		bound: checkpointTimeout / 2,
		limit: window{limit: p.GetLimit(), span: p.GetLimitWindow().AsDuration()},
	}
	if _, known := pluginv1.FailurePolicy_Action_name[int32(out.action)]; !known {
		return out, fmt.Errorf("on_failure: action %d is not known", out.action)
	}
	return out, nil
}

// wait is the time before a record's next try.
func (p *policy) wait(try int, err error) time.Duration {
	d := p.backoff
	for range try {
		if d *= 2; d >= p.maxBackoff {
			break
		}
	}
	d = min(d, p.maxBackoff)
	if again, ok := asRetry(err); ok {
		d = max(d, again.After)
	}
	return d
}

// processOne feeds a batch of one record, again and again while the record fails
// and the policy has tries left. Nothing behind it is processed meanwhile.
func (m *member) processOne(port int, one *wire.Batch) error {
	var waited time.Duration
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
	out := &m.failOut
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
			item.err = left
		}
		split, ordinal := f.records.Origin(i)
		if m.policy.action == pluginv1.FailurePolicy_ACTION_FAIL || isFatal(item.err) {
			return m.fault("a record", fmt.Errorf("%s%w", whence(split, ordinal), item.err))
		}
		now := time.Now()
		m.stats.samples.add(now, f.records, i, item.err)
		if m.policy.limit.over(now) {
			return m.fault("a record", fmt.Errorf("%smore than %d failed records within %v, the last: %w", whence(split, ordinal), m.policy.limit.limit, m.policy.limit.span, item.err))
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
	h = wire.AppendHeader(h, HeaderError, []byte(item.err.Error()))
	h = wire.AppendHeader(h, HeaderComponent, []byte(m.spec.GetNode()))
	if split != "" {
		h = wire.AppendHeader(h, HeaderOriginSplit, []byte(split))
		h = wire.AppendHeader(h, HeaderOriginOrdinal, strconv.AppendInt(nil, ordinal, 10))
	}
	if item.length > 0 {
		h = wire.AppendHeader(h, HeaderLength, strconv.AppendInt(nil, int64(item.length), 10))
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

// window counts failures within a sliding span of time, in steps of a 64th of it.
type window struct {
	limit uint64
	span  time.Duration
	steps [64]struct {
		at    int64
		count uint64
	}
	total uint64 // where there is no span
}

// over counts one failure and says whether they are now too many.
func (w *window) over(now time.Time) bool {
	if w.limit == 0 {
		return false
	}
	if w.span <= 0 {
		w.total++
		return w.total > w.limit
	}
	at := now.UnixNano() / max(1, int64(w.span)/int64(len(w.steps)))
	s := &w.steps[at%int64(len(w.steps))]
	if s.at != at {
		s.at, s.count = at, 0
	}
	s.count++
	var sum uint64
	for i := range w.steps {
		if at-w.steps[i].at < int64(len(w.steps)) {
			sum += w.steps[i].count
		}
	}
	return sum > w.limit
}

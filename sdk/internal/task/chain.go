package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// member is one component of a task's chain. All of it but stats and failures
// belongs to the loop.
type member struct {
	task  *task
	index int
	spec  *pluginv1.Member
	comp  *Component
	env   *Env

	source   Source
	operator Operator
	stateful Stateful // the operator, where it is one
	sink     Sink

	outlets     []*outlet
	timing      *timing // nil without event_time
	errors      *outlet // nil where failed records lead nowhere
	needsOrigin bool

	col      *collector
	spilled  bool // the running call has handed batches on
	single   *wire.Builder
	policy   onFailure
	failures *failures
	failOut  failOut
	givenUp  *wire.Batch // the record whose tries are over
	held     Held

	watermark    int64
	hasWatermark bool
	idle         bool
	finalTold    bool
	stats        stats
}

func (m *member) isSource() bool { return m.comp.Spec.GetKind() == pluginv1.Kind_KIND_SOURCE }

// fault names the member in an error of its own.
func (m *member) fault(call string, err error) error {
	var known *memberError
	var host *protocolError
	if errors.As(err, &known) || errors.As(err, &host) || m.task.ctx.Err() != nil {
		return err
	}
	return &memberError{m.index, fmt.Errorf("%s of component %q: %w", call, m.spec.GetComponent(), err)}
}

// openMembers opens every component, the last of the chain first, so that none
// is fed before it is ready.
func (t *task) openMembers(entries []*pluginv1.Entry) error {
	own, err := t.sortEntries(entries)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(t.members) {
		if err := m.open(own[m.index]); err != nil {
			return err
		}
	}
	return nil
}

// sortEntries divides the restored entries by member.
func (t *task) sortEntries(entries []*pluginv1.Entry) (map[int][]*pluginv1.Entry, error) {
	own := map[int][]*pluginv1.Entry{}
	for _, e := range entries {
		i := int(e.GetComponent())
		if i >= len(t.members) {
			return nil, protocolErrorf("restored %s in a chain of %d", describeEntry(e), len(t.members))
		}
		switch e.GetKind() {
		case pluginv1.Entry_KIND_SPLIT_TIME:
			// Without event_time, which the file may have lost, it is of no use.
			if s := t.members[i].timing; s != nil {
				if err := s.restore(e); err != nil {
					return nil, t.members[i].fault("restore", err)
				}
			}
			continue
		case pluginv1.Entry_KIND_SPLIT, pluginv1.Entry_KIND_ENUMERATOR:
			if !t.members[i].isSource() {
				return nil, protocolErrorf("restored %s, which is no source", describeEntry(e))
			}
			continue
		case pluginv1.Entry_KIND_FILE:
			if t.members[i].spec.GetKeyGroups() == nil {
				return nil, protocolErrorf("restored %s, which has no keyed state", describeEntry(e))
			}
		case pluginv1.Entry_KIND_COMMITTABLE:
			return nil, protocolErrorf("restored %s: committables go to Commit", describeEntry(e))
		case pluginv1.Entry_KIND_KEY_GROUP:
			if g := t.members[i].spec.GetKeyGroups(); g == nil || e.GetKeyGroup() < g.GetFirst() || e.GetKeyGroup() > g.GetLast() {
				return nil, protocolErrorf("restored %s: key group %d is not of this task", describeEntry(e), e.GetKeyGroup())
			}
		}
		own[i] = append(own[i], e)
	}
	return own, nil
}

func (m *member) open(restored []*pluginv1.Entry) error {
	t := m.task
	ref := t.open.GetTask()
	m.env = &Env{
		Owner: &pluginv1.Owner{
			Cluster: t.open.GetCluster(), Pipeline: t.open.GetPipeline(),
			Uid: ref.GetUid(), Node: m.spec.GetNode(), Epoch: ref.GetEpoch(),
		},
		Index:              int(ref.GetIndex()),
		Parallelism:        int(t.open.GetParallelism()),
		MaxParallelism:     int(t.open.GetMaxParallelism()),
		Role:               ref.GetRole(),
		Guarantee:          m.spec.GetGuarantee(),
		MaxRecord:          t.limits.record,
		Pool:               int(t.open.GetPool()),
		Commits:            t.commits,
		KeyGroups:          m.spec.GetKeyGroups(),
		OnDisk:             m.spec.GetState() == pluginv1.StateBackend_STATE_BACKEND_ON_DISK,
		Scratch:            t.open.GetScratch(),
		SecretPaths:        m.spec.GetSecretPaths(),
		Log:                newLogger(t.out, t.level, m.index),
		Metrics:            &Metrics{},
		Held:               &m.held,
		Restored:           restored,
		RestoredCheckpoint: t.open.GetRestoredCheckpoint(),
		Now:                func() int64 { return t.server.opts.Clock.Now().UnixNano() },
		Again:              m.againPart,
	}
	if m.env.Scratch != "" {
		m.env.Dir = filepath.Join(m.env.Scratch, strconv.Itoa(m.index))
	}
	for _, in := range m.spec.GetInputs() {
		m.env.Inputs = append(m.env.Inputs, in.GetPort())
	}
	config := m.spec.GetConfig()
	err := guard(func() (err error) {
		switch m.comp.Spec.GetKind() {
		case pluginv1.Kind_KIND_SOURCE:
			m.source, err = m.comp.OpenSource(t.ctx, config, m.env)
		case pluginv1.Kind_KIND_OPERATOR:
			m.operator, err = m.comp.OpenOperator(t.ctx, config, m.env)
			m.stateful, _ = m.operator.(Stateful)
		default:
			m.sink, err = m.comp.OpenSink(t.ctx, config, m.env)
		}
		return err
	})
	if err != nil {
		m.source, m.operator, m.stateful, m.sink = nil, nil, nil, nil
		return m.fault("open", err)
	}
	return nil
}

// close closes the component, whatever state it is in.
func (m *member) close() {
	m.release()
	var closing interface{ Close() error }
	switch {
	case m.source != nil:
		closing = m.source
	case m.operator != nil:
		closing = m.operator
	case m.sink != nil:
		closing = m.sink
	default:
		return
	}
	if err := guard(closing.Close); err != nil {
		m.log().Warn("closing failed", "error", err)
	}
}

// release gives back what the member still holds.
func (m *member) release() {
	if m.col != nil {
		m.col.drop()
	}
	m.single.Discard()
	m.failures.drop()
	m.failOut.discard()
	if m.timing != nil {
		m.timing.rest.Discard()
	}
	for _, o := range m.outlets {
		o.gather.Discard()
	}
}

func (m *member) log() *slog.Logger {
	if m.env != nil {
		return m.env.Log
	}
	return m.task.log
}

// process feeds a batch to the member and hands on what comes of it. The caller
// still releases b.
func (m *member) process(port int, b *wire.Batch) error {
	m.stats.in(b)
	if m.policy.retries == 0 {
		m.failures.begin()
		err := m.attempt(callName(m), b, func(ctx context.Context, out *Output) error { return m.feed(ctx, port, b, out) })
		if err != nil {
			return err
		}
		if err := m.commit(); err != nil {
			return err
		}
		return m.settleFailures()
	}
	if b.Len() == 1 {
		return m.processOne(port, b)
	}
	for i := range b.Len() {
		m.single.AppendRange(b, i, i+1)
		one := m.single.Freeze()
		err := m.processOne(port, one)
		one.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func callName(m *member) string {
	if m.sink != nil {
		return "Write"
	}
	return "Process"
}

func (m *member) feed(ctx context.Context, port int, b *wire.Batch, out *Output) error {
	if m.sink != nil {
		return m.sink.Write(ctx, port, b, out)
	}
	return m.operator.Process(ctx, port, b, out)
}

// call runs one call of the component, repeats it while it asks for that, and
// then hands its output on.
func (m *member) call(name string, f func(context.Context, *Output) error) error {
	m.failures.begin()
	if err := m.attempt(name, nil, f); err != nil {
		return err
	}
	return m.commit()
}

// attempt is call without handing the output on. b is the batch that the call is
// about, if any: what it failed of it is forgotten when the call is repeated.
func (m *member) attempt(name string, b *wire.Batch, f func(context.Context, *Output) error) error {
	var waited time.Duration
	for try := 0; ; try++ {
		err := m.once(f)
		if err == nil {
			return nil
		}
		m.col.drop()
		m.failures.undo(b)
		if m.task.ctx.Err() != nil {
			return context.Cause(m.task.ctx)
		}
		again, ok := asRetry(err)
		switch {
		case !ok:
			return m.fault(name, err)
		case m.spilled:
			return m.fault(name, fmt.Errorf("asked for a retry after its output had been handed on: %v", err))
		}
		if err := m.beforeRetry(name, again, try, &waited); err != nil {
			return err
		}
	}
}

// beforeRetry waits before a call is repeated.
func (m *member) beforeRetry(name string, again *RetryError, try int, waited *time.Duration) error {
	d := backoff(again.After, try)
	if *waited += d; *waited > m.task.limits.checkpoint {
		return m.fault(name, fmt.Errorf("still failing after %v of retries: %v", *waited-d, again))
	}
	m.stats.retries.Add(1)
	m.log().Warn("a call is repeated", "call", name, "error", again, "after", d)
	return wait(m.task.ctx, d)
}

// againPart is beforeRetry for a call within a call, see [Env].
func (m *member) againPart(_ context.Context, call string, err error, try int, waited *time.Duration) error {
	again, ok := asRetry(err)
	if !ok || m.task.ctx.Err() != nil {
		return err
	}
	return m.beforeRetry(call, again, try, waited)
}

// once runs one call, measured and guarded.
func (m *member) once(f func(context.Context, *Output) error) error {
	t := m.task
	m.spilled = false
	start, blocked := time.Now(), t.sender.blocked.Load()
	if t.nested == 0 {
		t.blockedBefore.Store(blocked)
		t.calling.Store(start.UnixNano())
	}
	t.nested++
	err := guard(func() error { return f(t.ctx, m.col.output()) })
	t.nested--
	if t.nested == 0 {
		t.calling.Store(0)
		t.busy.Add(int64(time.Since(start)) - (t.sender.blocked.Load() - blocked))
	}
	if err == nil {
		err = m.col.err
	}
	return err
}

// commit hands on what a call has put out.
func (m *member) commit() error {
	for _, l := range m.col.lanes {
		l.freeze(m.col)
		m.stats.unconnected.Add(l.dropped)
		l.dropped = 0
	}
	return m.handOn()
}

// spill hands complete batches on during a call that puts out very much.
func (m *member) spill() error {
	m.spilled = true
	return m.handOn()
}

// handOn hands on the complete batches.
func (m *member) handOn() error {
	m.col.reset()
	for _, l := range m.col.lanes {
		for i, b := range l.staged {
			l.staged[i] = nil
			if b == nil {
				continue // handed on before an error
			}
			if err := l.outlet.add(b); err != nil {
				return err
			}
		}
		l.staged = l.staged[:0]
	}
	return nil
}

// backoff is the wait before a repetition: what the component asks for, or else
// 100 ms, doubled each time up to 5 s.
func backoff(asked time.Duration, try int) time.Duration {
	if asked > 0 {
		return asked
	}
	return min(100*time.Millisecond<<min(try, 10), 5*time.Second)
}

package task

import (
	"context"
	"sync"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const (
	// partBytes bounds a snapshot part; a larger entry goes on in the next.
	partBytes = 1 << 20
	// maxLogs bounds the log records that wait to be sent.
	maxLogs = 1024
	// logBatch is how many log records one message carries.
	logBatch = 128
)

// outbox holds what a task says on Control. Its writers never wait: the host
// always reads Control. Failed overtakes everything, logs, reports and samples yield
// to all else, logs are dropped and counted beyond maxLogs, samples beyond maxTapped,
// and of reports only the newest is kept.
type outbox struct {
	mu      sync.Mutex
	failed  *pluginv1.ControlResponse
	items   []outItem
	logs    []*pluginv1.LogRecord
	dropped uint64
	report  *pluginv1.Report
	samples []*pluginv1.Tapped
	ready   chan struct{}
}

// outItem is a message, or a snapshot that is cut into parts as it is sent.
type outItem struct {
	message  *pluginv1.ControlResponse
	snapshot *snapshot
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

func (o *outbox) put(m *pluginv1.ControlResponse) { o.add(outItem{message: m}) }

func (o *outbox) putSnapshot(s *snapshot) { o.add(outItem{snapshot: s}) }

func (o *outbox) add(i outItem) {
	o.mu.Lock()
	o.items = append(o.items, i)
	o.mu.Unlock()
	signal(o.ready)
}

func (o *outbox) fail(err *pluginv1.Error) {
	o.mu.Lock()
	o.failed = &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: &pluginv1.Failed{Error: err}}}
	o.mu.Unlock()
	signal(o.ready)
}

func (o *outbox) log(r *pluginv1.LogRecord) {
	o.mu.Lock()
	if len(o.logs) < maxLogs {
		o.logs = append(o.logs, r)
	} else {
		o.dropped++
	}
	o.mu.Unlock()
	signal(o.ready)
}

// tapped keeps a sample where not too many wait, and says whether it does.
func (o *outbox) tapped(s *pluginv1.Tapped) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.samples) >= maxTapped {
		return false
	}
	o.samples = append(o.samples, s)
	signal(o.ready)
	return true
}

func (o *outbox) setReport(r *pluginv1.Report) {
	o.mu.Lock()
	o.report = r
	o.mu.Unlock()
	signal(o.ready)
}

// drain sends everything that is there. Once the task is over, keyed state that
// has not been sent yet is not.
func (o *outbox) drain(task context.Context, send func(*pluginv1.ControlResponse) error) error {
	for {
		item, ok := o.next()
		if !ok {
			return nil
		}
		var err error
		if item.snapshot != nil {
			err = item.snapshot.send(func(m *pluginv1.ControlResponse) error {
				if failed := o.takeFailed(); failed != nil {
					if err := send(failed); err != nil {
						return err
					}
				}
				return send(m)
			}, func() bool { return task.Err() != nil })
		} else {
			err = send(item.message)
		}
		if err != nil {
			return err
		}
	}
}

// run sends until ctx ends, and then what is left. task ends when the task is told
// to, before ctx.
func (o *outbox) run(ctx, task context.Context, send func(*pluginv1.ControlResponse) error) error {
	defer o.release()
	for {
		if err := o.drain(task, send); err != nil {
			return err
		}
		select {
		case <-o.ready:
		case <-ctx.Done():
			return o.drain(task, send)
		}
	}
}

func (o *outbox) next() (outItem, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.failed != nil:
		m := o.failed
		o.failed = nil
		return outItem{message: m}, true
	case len(o.items) > 0:
		i := o.items[0]
		o.items[0] = outItem{}
		if o.items = o.items[1:]; len(o.items) == 0 {
			o.items = nil
		}
		return i, true
	case len(o.logs) > 0 || o.dropped > 0:
		n := min(len(o.logs), logBatch)
		l := &pluginv1.Log{Records: o.logs[:n:n], Dropped: o.dropped}
		o.logs, o.dropped = o.logs[n:], 0
		return outItem{message: &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Log{Log: l}}}, true
	case o.report != nil:
		r := o.report
		o.report = nil
		return outItem{message: &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Report{Report: r}}}, true
	case len(o.samples) > 0:
		s := o.samples[0]
		o.samples[0] = nil
		o.samples = o.samples[1:]
		return outItem{message: &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Tapped{Tapped: s}}}, true
	}
	return outItem{}, false
}

func (o *outbox) takeFailed() *pluginv1.ControlResponse {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.failed
	o.failed = nil
	return m
}

// release gives up snapshots that nobody sends any more.
func (o *outbox) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range o.items {
		if i.snapshot != nil {
			releaseAll(i.snapshot.later)
		}
	}
	o.items = nil
}

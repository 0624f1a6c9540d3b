package task

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

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
// always reads Control. Failed overtakes everything, logs and reports yield to
// all else, logs are dropped and counted beyond maxLogs, and of reports only the
// newest is kept.
type outbox struct {
	mu      sync.Mutex
	failed  *pluginv1.ControlResponse
	items   []outItem
	logs    []*pluginv1.LogRecord
	dropped uint64
	report  *pluginv1.Report
	ready   chan struct{}
}

// outItem is a message, or a snapshot that is cut into parts as it is sent.
type outItem struct {
	message  *pluginv1.ControlResponse
	snapshot *snapshot
}

// snapshot is what a task says about one checkpoint.
type snapshot struct {
	entries []*pluginv1.Entry
	done    *pluginv1.SnapshotDone
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

func (o *outbox) setReport(r *pluginv1.Report) {
	o.mu.Lock()
	o.report = r
	o.mu.Unlock()
	signal(o.ready)
}

// drain sends everything that is there.
func (o *outbox) drain(send func(*pluginv1.ControlResponse) error) error {
	for {
		item, ok := o.next()
		if !ok {
			return nil
		}
		var err error
		if item.snapshot != nil {
			err = item.snapshot.send(send)
		} else {
			err = send(item.message)
		}
		if err != nil {
			return err
		}
	}
}

// run sends until ctx ends, and then what is left.
func (o *outbox) run(ctx context.Context, send func(*pluginv1.ControlResponse) error) error {
	for {
		if err := o.drain(send); err != nil {
			return err
		}
		select {
		case <-o.ready:
		case <-ctx.Done():
			return o.drain(send)
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
	}
	return outItem{}, false
}

// send sends the snapshot in parts of about partBytes, then that it is done.
func (s *snapshot) send(send func(*pluginv1.ControlResponse) error) error {
	var part []*pluginv1.Entry
	size := 0
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		m := &pluginv1.SnapshotPart{Checkpoint: s.done.Checkpoint, Entries: part}
		part, size = nil, 0
		return send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotPart{SnapshotPart: m}})
	}
	for _, e := range s.entries {
		for _, piece := range cutEntry(e) {
			n := proto.Size(piece)
			if size > 0 && size+n > partBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			part = append(part, piece)
			size += n
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotDone{SnapshotDone: s.done}})
}

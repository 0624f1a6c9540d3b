package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// controlQueue holds what is to be sent on Control. Its writers never block: the
// host says little there, and control must not wait for data.
type controlQueue struct {
	mu    sync.Mutex
	items []*pluginv1.ControlRequest
	ready chan struct{} // holds one token while items is not empty
}

func newControlQueue() *controlQueue {
	return &controlQueue{ready: make(chan struct{}, 1)}
}

func (q *controlQueue) put(r *pluginv1.ControlRequest) {
	q.mu.Lock()
	q.items = append(q.items, r)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *controlQueue) take() []*pluginv1.ControlRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}

func (t *Task) sendControl() error {
	var beat <-chan time.Time
	if lease := t.cfg.Open.Lease.AsDuration(); lease > 0 {
		ticker := time.NewTicker(lease / 4)
		defer ticker.Stop()
		beat = ticker.C
	}
	for {
		select {
		case <-t.ctx.Done():
			return nil
		case <-beat:
			t.control.put(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Heartbeat{Heartbeat: &pluginv1.Heartbeat{}}})
		case <-t.control.ready:
			for _, r := range t.control.take() {
				if err := t.stream.Send(r); err != nil {
					// The receiving side learns why the stream broke.
					return nil
				}
			}
		}
	}
}

func (t *Task) receiveControl() error {
	snapshots := snapshots{members: len(t.cfg.Open.Chain)}
	for {
		r, err := t.stream.Recv()
		if err != nil {
			return t.controlEnded(err)
		}
		switch k := r.Kind.(type) {
		case *pluginv1.ControlResponse_Opened:
			select {
			case <-t.opened:
				return t.errorf("the plugin broke the protocol: Opened twice")
			default:
				close(t.opened)
			}
		case *pluginv1.ControlResponse_SnapshotPart:
			if err := snapshots.add(k.SnapshotPart); err != nil {
				return t.errorf("the plugin broke the protocol: %w", err)
			}
		case *pluginv1.ControlResponse_SnapshotDone:
			s, err := snapshots.finish(k.SnapshotDone)
			if err == nil {
				err = t.barriers.snapshot(&s)
			}
			if err != nil {
				return t.errorf("the plugin broke the protocol: %w", err)
			}
			if k.SnapshotDone.Error != nil {
				s.Err = t.failed(k.SnapshotDone.Error)
			}
			t.cfg.Observer.Snapshot(t.cfg.ID, s)
		case *pluginv1.ControlResponse_SplitRequest:
			if !t.reads() {
				return t.errorf("the plugin broke the protocol: a split request from a task that reads none")
			}
			k.SplitRequest.Reader = uint32(t.cfg.ID.Index)
			t.cfg.Observer.SplitRequest(t.cfg.ID, k.SplitRequest)
		case *pluginv1.ControlResponse_Exhausted:
			if !t.reads() {
				return t.errorf("the plugin broke the protocol: Exhausted from a task that reads no splits")
			}
			t.cfg.Observer.Exhausted(t.cfg.ID)
		case *pluginv1.ControlResponse_Changed:
			t.cfg.Observer.Changed(t.cfg.ID, k.Changed.GetAfter())
		case *pluginv1.ControlResponse_Report:
			t.cfg.Observer.Report(t.cfg.ID, k.Report)
		case *pluginv1.ControlResponse_AwaitingCommits:
			t.cfg.Observer.AwaitingCommits(t.cfg.ID, k.AwaitingCommits.GetWaiting())
		case *pluginv1.ControlResponse_Tapped:
			t.cfg.Observer.Tapped(t.cfg.ID, k.Tapped)
		case *pluginv1.ControlResponse_Log:
			t.log(k.Log)
		case *pluginv1.ControlResponse_Failed:
			// The plugin closes what it has opened and then says Closed.
			t.fail(t.failed(k.Failed.GetError()))
		case *pluginv1.ControlResponse_Closed:
			close(t.closed)
			if !t.closing.Load() && t.Err() == nil {
				return t.errorf("the plugin closed the task without being asked")
			}
			return nil
		default:
			// A newer plugin says something that this host does not know.
		}
	}
}

// controlEnded explains the end of the control stream.
func (t *Task) controlEnded(err error) error {
	switch {
	case t.ctx.Err() != nil, t.closing.Load():
		return nil
	case errors.Is(err, io.EOF):
		return t.errorf("the plugin ended the control stream without a word")
	default:
		return t.errorf("control stream: %w", err)
	}
}

// log repeats the plugin's records in the host's log, with their own time.
func (t *Task) log(l *pluginv1.Log) {
	for _, r := range l.GetRecords() {
		var level slog.Level
		if err := level.UnmarshalText([]byte(r.GetLevel())); err != nil {
			level = slog.LevelInfo
		}
		ctx := context.Background()
		if !t.cfg.Log.Enabled(ctx, level) {
			continue
		}
		node := t.cfg.ID.Node
		if i := int(r.GetComponent()); i < len(t.cfg.Members) {
			node = t.cfg.Members[i]
		}
		record := slog.NewRecord(time.Unix(0, r.GetTimeUnixNano()), level, r.GetMessage(), 0)
		record.AddAttrs(slog.String("node", node), slog.Int("task", t.cfg.ID.Index), slog.String("plugin", t.cfg.Plugin))
		record.AddAttrs(attributes(r.GetAttributes())...)
		// A log that cannot be written has nobody to tell.
		_ = t.cfg.Log.Handler().Handle(ctx, record)
	}
	if l.GetDropped() > 0 {
		t.cfg.Log.Warn("log records were dropped because there were too many",
			"node", t.cfg.ID.Node, "task", t.cfg.ID.Index, "plugin", t.cfg.Plugin, "dropped", l.GetDropped())
	}
}

// attributes reads a JSON object in its own order.
func attributes(object []byte) []slog.Attr {
	d := json.NewDecoder(bytes.NewReader(object))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	var attrs []slog.Attr
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return attrs
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return attrs
		}
		attrs = append(attrs, slog.Any(fmt.Sprint(name), value))
	}
	return attrs
}

// reads says whether the task reads splits.
func (t *Task) reads() bool {
	return t.cfg.ID.Role != pluginv1.Role_ROLE_ENUMERATOR && len(t.cfg.Open.Chain[0].Inputs) == 0
}

// snapshots joins the parts of a task's snapshots.
type snapshots struct {
	members    int // of the task's chain
	checkpoint uint64
	entries    []*pluginv1.Entry
	open       bool // the last entry goes on
}

func (s *snapshots) add(p *pluginv1.SnapshotPart) error {
	if s.checkpoint == 0 {
		s.checkpoint = p.Checkpoint
	}
	if p.Checkpoint == 0 || s.checkpoint != p.Checkpoint {
		return fmt.Errorf("a snapshot part of checkpoint %d among those of %d", p.Checkpoint, s.checkpoint)
	}
	for _, e := range p.Entries {
		if int(e.Component) >= s.members || e.Kind == pluginv1.Entry_KIND_UNSPECIFIED {
			return fmt.Errorf("snapshot of checkpoint %d: an entry of kind %v and component %d in a chain of %d", p.Checkpoint, e.Kind, e.Component, s.members)
		}
		if !s.open {
			s.entries = append(s.entries, e)
		} else {
			last := s.entries[len(s.entries)-1]
			if last.Kind != e.Kind || last.Component != e.Component || last.Id != e.Id || last.KeyGroup != e.KeyGroup {
				return fmt.Errorf("snapshot of checkpoint %d: an entry that goes on is followed by another", p.Checkpoint)
			}
			last.Content = &pluginv1.Entry_Payload{Payload: append(last.GetPayload(), e.GetPayload()...)}
		}
		s.open = e.More
	}
	return nil
}

func (s *snapshots) finish(d *pluginv1.SnapshotDone) (Snapshot, error) {
	if s.checkpoint != 0 && s.checkpoint != d.Checkpoint || s.open {
		return Snapshot{}, fmt.Errorf("the snapshot of checkpoint %d ended amid that of %d", d.Checkpoint, s.checkpoint)
	}
	for _, e := range s.entries {
		e.More = false
	}
	out := Snapshot{Checkpoint: d.Checkpoint, Entries: s.entries, Synchronous: d.Synchronous.AsDuration()}
	*s = snapshots{members: s.members}
	return out, nil
}

// partBytes bounds a restore part; an entry above it is cut into several.
const partBytes = 1 << 20

// parts cuts entries into messages of about as many bytes; 0 is partBytes.
func parts(entries []*pluginv1.Entry, bytes int) []*pluginv1.RestorePart {
	if bytes == 0 {
		bytes = partBytes
	}
	var out []*pluginv1.RestorePart
	part, size := &pluginv1.RestorePart{}, 0
	flush := func() {
		if len(part.Entries) > 0 {
			out = append(out, part)
			part, size = &pluginv1.RestorePart{}, 0
		}
	}
	for _, e := range entries {
		payload := e.GetPayload()
		for len(payload) > bytes {
			flush()
			head := proto.CloneOf(e)
			head.Content = &pluginv1.Entry_Payload{Payload: payload[:bytes]}
			head.More = true
			part.Entries = append(part.Entries, head)
			flush()
			payload = payload[bytes:]
			e = proto.CloneOf(e)
			e.Content = &pluginv1.Entry_Payload{Payload: payload}
		}
		if size += proto.Size(e); size > bytes {
			flush()
		}
		part.Entries = append(part.Entries, e)
	}
	flush()
	return out
}

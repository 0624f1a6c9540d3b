package task

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// snapshot is what a task says about one checkpoint.
type snapshot struct {
	entries []*pluginv1.Entry
	later   []memberLater
	done    *pluginv1.SnapshotDone
}

// memberLater is a member's keyed state, whose entries are made as they are sent.
type memberLater struct {
	member *member
	state.Later
}

func releaseAll(later []memberLater) {
	for _, l := range later {
		l.Release()
	}
}

// send sends the snapshot in parts of about partBytes, then that it is done. Where
// it is abandoned, it ends without a word.
func (s *snapshot) send(send func(*pluginv1.ControlResponse) error, abandoned func() bool) error {
	defer releaseAll(s.later)
	p := parts{checkpoint: s.done.Checkpoint, send: send}
	for _, e := range s.entries {
		p.add(e)
	}
	for _, l := range s.later {
		err := guard(func() error {
			return l.Walk(func(e *pluginv1.Entry) bool {
				e.Component = uint32(l.member.index)
				p.add(e)
				return p.err == nil && !abandoned()
			})
		})
		if abandoned() {
			return p.err
		}
		if err != nil && s.done.Error == nil {
			s.done.Error = wireError(l.member.fault("Snapshot", fmt.Errorf("keyed state: %w", err)))
		}
	}
	p.flush()
	if p.err != nil {
		return p.err
	}
	return send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotDone{SnapshotDone: s.done}})
}

// parts cuts entries into messages.
type parts struct {
	checkpoint uint64
	send       func(*pluginv1.ControlResponse) error
	entries    []*pluginv1.Entry
	size       int
	err        error // sticky
}

func (p *parts) add(e *pluginv1.Entry) {
	for _, piece := range cutEntry(e) {
		n := proto.Size(piece)
		if p.size > 0 && p.size+n > partBytes {
			p.flush()
		}
		p.entries = append(p.entries, piece)
		p.size += n
	}
}

func (p *parts) flush() {
	if len(p.entries) == 0 || p.err != nil {
		return
	}
	m := &pluginv1.SnapshotPart{Checkpoint: p.checkpoint, Entries: p.entries}
	p.entries, p.size = nil, 0
	p.err = p.send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotPart{SnapshotPart: m}})
}

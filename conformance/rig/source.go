package rig

import (
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// startEnumerator starts the enumerator of a source and joins it to the readers:
// their requests go to it, its assignments and barriers to them.
func (s *Stage) startEnumerator(id task.ID, restore []*pluginv1.Entry, held []string) {
	e := s.newTask(id)
	e.onFrame = func(ev Event) {
		switch ev.Kind {
		case wire.KindAssign, wire.KindNoMoreSplits:
			if to := int(ev.Target) - 1; to >= 0 && to < len(s.Tasks) {
				m := proto.CloneOf(ev.Message)
				m.Target = 0
				s.Tasks[to].message(m)
			}
		case wire.KindBarrier:
			for _, t := range s.Tasks {
				t.message(ev.Message)
			}
		}
	}
	s.Enumerator = e
	s.launch(e, restore, held)
	for _, t := range s.Tasks {
		// What a reader asked for before counts too.
		var early []*pluginv1.SplitRequest
		t.update(func() {
			t.onRequest = e.Task.SplitRequest
			early = t.requests
		})
		for _, r := range early {
			e.Task.SplitRequest(r)
		}
	}
}

// Exhausted says whether every reader has said that nothing is left.
func (s *Stage) Exhausted() bool {
	for _, t := range s.Tasks {
		done := false
		t.look(func() { done = t.exhausted })
		if !done {
			return false
		}
	}
	return true
}

// AwaitExhausted waits until every reader has.
func (s *Stage) AwaitExhausted() { s.Await("the end of the input", s.Exhausted) }

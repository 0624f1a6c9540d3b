package task

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// forward carries what a task sends to the next one, as an edge does.
func (t *hostTask) forward(next *hostTask, seen *int) {
	t.mu.Lock()
	frames := slices.Clone(t.frames[*seen:])
	*seen = len(t.frames)
	t.mu.Unlock()
	for _, f := range frames {
		if f.message == nil {
			w := t.h.pool.NewBuilder(1 << 20)
			for _, r := range f.records {
				w.Append([]byte(r.key), []byte(r.value), r.time, nil, r.split, r.ordinal)
			}
			next.feedBatch(0, w.Freeze())
			continue
		}
		switch f.message.GetKind().(type) {
		case *pluginv1.Frame_SplitOpened, *pluginv1.Frame_SplitEnded:
		default:
			m := &pluginv1.Frame{Kind: f.message.GetKind()}
			next.frame(m)
		}
	}
}

// pump forwards along the tasks until done says so.
func pump(t *testing.T, tasks []*hostTask, seen []int, what string, done func() bool) {
	t.Helper()
	stop := false
	for !stop {
		stop = done()
		for i := 1; i < len(tasks); i++ {
			tasks[i-1].forward(tasks[i], &seen[i-1])
		}
		for _, r := range tasks[1].heard(func(m *pluginv1.ControlResponse) bool { return m.GetSplitRequest() != nil }) {
			if !asked[r] {
				asked[r] = true
				tasks[0].say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SplitRequest{SplitRequest: r.GetSplitRequest()}})
			}
		}
	}
}

var asked = map[*pluginv1.ControlResponse]bool{}

// TestRecordsArePublishedOnceAcrossARestore runs source, operator and sink over
// the wire, restores from a checkpoint in the middle, and commits from the
// snapshots: each record is published once.
func TestRecordsArePublishedOnceAcrossARestore(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 5000, "b": 3000}, perRead: 100, concurrent: 1}
	upper := mapped(strings.ToUpper)
	sink := &fakeSink{twoPhase: true}
	h := newHost(t, []*Component{sourceNamed("source", source), operatorNamed("upper", upper), sinkNamed("sink", sink)})

	start := func(epoch uint64, restore []*pluginv1.Entry, node map[string][]*pluginv1.Entry) []*hostTask {
		opens := []*pluginv1.Open{
			enumeratorOf(memberOf("source"), 1),
			openOf(memberOf("source", toHost("out"))),
			openOf(fed(memberOf("upper", toHost("out")))),
			openOf(fed(memberOf("sink"))),
		}
		var tasks []*hostTask
		for i, o := range opens {
			o.Task.Epoch = epoch
			var entries []*pluginv1.Entry
			for _, e := range node[fmt.Sprint(i)] {
				if e.Kind == pluginv1.Entry_KIND_SPLIT {
					opens[0].HeldSplits = append(opens[0].HeldSplits, e.Id)
				}
				if e.Kind != pluginv1.Entry_KIND_COMMITTABLE {
					entries = append(entries, e)
				}
			}
			if i == 0 {
				for _, e := range node["1"] {
					opens[0].HeldSplits = append(opens[0].HeldSplits, e.Id)
				}
			}
			tasks = append(tasks, h.open(o, entries...))
		}
		return tasks
	}
	var published []string
	tasks := start(1, nil, nil)
	seen := make([]int, 4)
	collect := func(n uint64) map[string][]*pluginv1.Entry {
		out := map[string][]*pluginv1.Entry{}
		for i, task := range tasks {
			out[fmt.Sprint(i)] = task.snapshot(n)
		}
		for _, e := range out["3"] {
			if e.Kind == pluginv1.Entry_KIND_COMMITTABLE {
				published = append(published, strings.Split(strings.Trim(string(e.GetPayload()), "[]"), ",")...)
			}
		}
		return out
	}
	pump(t, tasks, seen, "some records", func() bool { return len(sink.seen()) > 500 })
	tasks[0].barrier(1)
	pump(t, tasks, seen, "barrier", func() bool { return strings.Contains(tasks[3].shape(), "barrier(1)") })
	state := collect(1)
	pump(t, tasks, seen, "more records", func() bool { return len(sink.seen()) > 2500 })
	for _, task := range tasks {
		task.close()
	}
	sink.written = nil

	tasks = start(2, nil, state)
	seen = make([]int, 4)
	pump(t, tasks, seen, "exhausted", func() bool {
		return len(tasks[1].heard(func(m *pluginv1.ControlResponse) bool { return m.GetExhausted() != nil })) > 0
	})
	tasks[0].barrier(2, atEnd)
	pump(t, tasks, seen, "barrier", func() bool { return strings.Contains(tasks[3].shape(), "barrier(2)") })
	collect(2)
	for _, task := range tasks {
		task.close()
	}

	want := map[string]int{}
	for id, n := range source.counts {
		for i := range n {
			want[fmt.Sprintf(`"%s:%d"`, strings.ToUpper(id), i)]++
		}
	}
	for _, v := range published {
		want[v]--
	}
	for v, n := range want {
		if n != 0 {
			t.Errorf("%s: published %d times too few", v, n)
		}
	}
	_ = wire.NoTime
}

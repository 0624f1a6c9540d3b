package task

import (
	"slices"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// tapChain is an operator before a sink, in one task: what passes between them never
// leaves the plugin.
func tapChain(t *testing.T) (*hostTask, *fakeSink) {
	sink := &fakeSink{}
	h := newHost(t, []*Component{operatorNamed("op", mapped(func(s string) string { return s + "!" })), sinkNamed("sink", sink)})
	between := toNext("out")
	between.Exclusive = true
	return h.open(openOf(fed(memberOf("op", between)), fed(memberOf("sink")))), sink
}

// tapped switches the tap between the two, and returns once that has been heard: what
// follows on Control was.
func (t *hostTask) tapped(on bool) {
	t.h.t.Helper()
	before := len(t.heard(isLog))
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetTap{SetTap: &pluginv1.SetTap{On: on}}})
	t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetLogLevel{SetLogLevel: &pluginv1.SetLogLevel{Level: "no level"}}})
	t.await("word of the wrong log level", func() bool { return len(filter(t.said, isLog)) > before })
}

func isLog(m *pluginv1.ControlResponse) bool    { return m.GetLog() != nil }
func isSample(m *pluginv1.ControlResponse) bool { return m.GetTapped() != nil }

func filter(all []*pluginv1.ControlResponse, f func(*pluginv1.ControlResponse) bool) []*pluginv1.ControlResponse {
	return slices.DeleteFunc(slices.Clone(all), func(m *pluginv1.ControlResponse) bool { return !f(m) })
}

// samples are the values of all samples so far, and how many were dropped.
func (t *hostTask) samples() (values []string, dropped uint64) {
	t.h.t.Helper()
	for _, m := range t.heard(isSample) {
		dropped += m.GetTapped().GetDropped()
		f, err := wire.FrameOf(m.GetTapped().GetSample())
		if err != nil {
			t.h.t.Fatal(err)
		}
		seen, err := t.read(&f)
		if err != nil {
			t.h.t.Fatal(err)
		}
		for _, r := range seen.records {
			values = append(values, r.value)
		}
	}
	return values, dropped
}

// What passes inside a plugin is shown while somebody asks for it, and only then.
func TestAnOutputInsideAPluginIsSampledOnRequest(t *testing.T) {
	task, sink := tapChain(t)
	feed := func(n uint64, values ...string) {
		task.feed(values...)
		task.barrier(n)
		task.passed(n)
	}
	feed(1, "before")
	task.tapped(true)
	feed(2, "a", "b")
	task.hear("a sample", isSample)
	task.tapped(false)
	feed(3, "after")
	task.close()
	if values, dropped := task.samples(); !slices.Equal(values, []string{"a!", "b!"}) || dropped != 0 {
		t.Errorf("sampled %q, %d dropped", values, dropped)
	}
	if got := sink.seen(); len(got) != 4 {
		t.Errorf("the sink got %q", got)
	}
}

// However much passes, few records are copied, and the others are counted.
func TestASampleIsBounded(t *testing.T) {
	task, sink := tapChain(t)
	task.tapped(true)
	const records = 1000
	n := uint64(0)
	feed := func(values ...string) {
		n++
		task.feed(values...)
		task.barrier(n)
		task.passed(n)
	}
	feed(make([]string, records)...)
	// The next sample tells of those after the first.
	for len(task.heard(isSample)) < 2 {
		feed("another")
	}
	values, dropped := task.samples()
	task.close()
	if shown := len(values) - int(n-1); shown > tapRecords || dropped < records-tapRecords {
		t.Errorf("%d records shown, %d dropped, of %d", len(values), dropped, len(sink.seen()))
	}
}

// A tap on what is not there, or on what the host sees itself, costs the task nothing.
func TestATapOnNothingIsNoFault(t *testing.T) {
	sink := &fakeSink{}
	h := newHost(t, []*Component{operatorNamed("op", mapped(func(s string) string { return s })), sinkNamed("sink", sink)})
	task := h.open(openOf(fed(memberOf("op", toHost("out")))))
	for _, r := range []*pluginv1.SetTap{{Component: 9, On: true}, {Output: 9, On: true}, {On: true}} {
		task.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetTap{SetTap: r}})
	}
	task.feed("a")
	if got := task.values(1, 0); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q", got)
	}
	task.close()
}

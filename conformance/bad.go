package conformance

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

type (
	entry  = pluginv1.Entry
	member = pluginv1.Member
)

// garbageEntry is a committable that no component has made.
func garbageEntry() []*entry {
	return []*entry{{
		Kind: pluginv1.Entry_KIND_COMMITTABLE, Id: "garbage", Checkpoint: 1,
		Content: &pluginv1.Entry_Payload{Payload: []byte("\x00\xffno committable")},
	}}
}

// Headers that a dead letter has.
const (
	headerError     = "weir.error"
	headerComponent = "weir.component"
)

// mixed puts the bad records among good ones: at the front, at the end and
// between.
func (t *T) mixed() (all, good []exchange.Record) {
	var out []exchange.Record
	for i, b := range t.entry.Bad {
		if i > 0 || t.Rand.IntN(2) == 0 {
			g := t.Records(1 + t.Rand.IntN(4))
			good = append(good, g...)
			out = append(out, g...)
		}
		out = append(out, b)
	}
	g := t.Records(5)
	good = append(good, g...)
	out = append(out, g...)
	last := t.entry.Bad[0]
	return append(out, last), good
}

// withPolicy opens the component with another failure policy.
func (t *T) withPolicy(epoch uint64, action pluginv1.FailurePolicy_Action) rig.Open {
	o := t.Open(epoch, 1, nil)
	m := proto.CloneOf(o.Chain[0])
	m.OnFailure = &pluginv1.FailurePolicy{Action: action}
	o.Chain = []*pluginv1.Member{m}
	return o
}

// deadLetters checks that what left on `errors` is the bad records, in order and
// whole.
func (t *T) deadLetters(letters []rig.Received) {
	want := append(slices.Clone(t.entry.Bad), t.entry.Bad[0])
	var got []exchange.Record
	for _, l := range letters {
		headers := make(map[string]string)
		var own []exchange.Header
		for _, h := range l.Headers {
			if len(h.Name) > 5 && h.Name[:5] == "weir." {
				headers[h.Name] = string(h.Value)
			} else {
				own = append(own, h)
			}
		}
		if headers[headerError] == "" {
			t.Fatalf("a failed record left without the header %s: %v", headerError, l.Record)
		}
		if headers[headerComponent] != Node {
			t.Fatalf("a failed record has the header %s %q and should have the node's name %q: %v", headerComponent, headers[headerComponent], Node, l.Record)
		}
		r := l.Record
		r.Headers = own
		got = append(got, r)
	}
	if d := difference(want, got, exchange.AllFields); d != "" {
		t.Fatalf("on `errors`: %s", d)
	}
}

func (t *T) badRecordsOfSink() {
	r := t.newSinkRun(1)
	records, good := t.mixed()
	t.Logf("sent %d records, %d of them bad: %s", len(records), len(t.entry.Bad)+1, list(records))
	r.s.Send(0, 0, records...)
	r.since = good
	cut := r.checkpoint(rig.Roll)
	t.deadLetters(cut.ReceivedAll(pipeline.OutputErrors))
	r.commit()
	r.finish()

	skip := r.p.Stage(t.withPolicy(2, pluginv1.FailurePolicy_ACTION_SKIP))
	skip.Send(0, 0, t.entry.Bad...)
	if n := len(skip.Checkpoint().ReceivedAll(pipeline.OutputErrors)); n > 0 {
		t.Fatalf("with the policy skip %d records left on `errors`", n)
	}
	skip.Close()
	t.mustFail(r.p, 3)
}

// mustFail checks that a bad record fails the task where the policy says so.
func (t *T) mustFail(p *rig.Plugin, epoch uint64) {
	fail := p.Stage(t.withPolicy(epoch, pluginv1.FailurePolicy_ACTION_FAIL))
	fail.Send(0, 0, t.entry.Bad[0])
	fail.Trigger()
	if fail.Failure(20*time.Second) == nil {
		t.Fatalf("with the policy fail the task went on behind a bad record: %v", t.entry.Bad[0])
	}
}

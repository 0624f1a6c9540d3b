package conformance

import (
	"bytes"
	"slices"

	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var operatorCases = []Case{
	{
		ID: "WC-OPR-001", Title: "it gives what is expected", Kinds: operators,
		Needs: func(t *Target) Missing {
			if t.Entry.Expect == nil || t.Entry.Input == nil {
				return notConfigured("`input` and `expect`")
			}
			return ""
		},
		Demands: "Of the records in `input` come those in `expect`, by output; in order where the component claims preserves_order. Fields that `expect` does not give may be anything, and so may outputs that it does not name.",
		Why:     "The kit cannot know what an operator is for.",
		Fix:     "The message shows the first record that differs.",
		run: func(t *T) {
			var in []piece
			for i, port := range t.Ports() {
				list := t.entry.Input[port]
				if i == 0 {
					list = append(slices.Clone(t.entry.Input[""]), list...)
				}
				if len(list) > 0 {
					in = append(in, piece{i, list})
				}
			}
			got := t.alone(in)
			for name, want := range t.entry.Expect {
				if d := unexpected(want, got[name], t.Left.GetPreservesOrder()); d != "" {
					t.Fatalf("on %q: %s", name, d)
				}
			}
		},
	},
	{
		ID: "WC-OPR-002", Title: "what comes does not depend on how records are put into batches", Kinds: operators, Needs: repeatable,
		Demands: "The same input, at once and in small batches of any size, gives the same output.",
		Why:     "How records fall into batches depends on load and chance, and changes when they come again.",
		Fix:     "Keep nothing from one record to the next but state. Look for results that are kept for a batch, and for a value that is kept without being copied.",
		run: func(t *T) {
			in := t.input(t.ordinary())
			want := t.alone(in)
			s := t.Start().Stage(t.Open(1, 1, nil))
			for _, x := range t.cutUp(in) {
				s.Send(0, x.port, x.records...)
			}
			t.compare("in small batches", want, t.outcomeOf(endOf(s), 0))
			s.Close()
		},
	},
	{
		ID: "WC-OPR-003", Title: "what belongs before a barrier comes before it", Kinds: operators,
		Demands: "When a barrier is passed on, everything that comes of the records before it has been sent: on all outputs, failed records included. Nothing behind the barrier stems, by its origin, from a record before it.",
		Why:     "What comes late is in the wrong checkpoint: after a restore it is lost or comes twice.",
		Fix:     "Wait for what is asynchronous, and flush what is buffered, before the barrier is passed on.",
		run: func(t *T) {
			s := t.Start().Stage(t.Open(1, 1, nil))
			var cuts []*rig.Cut
			sent := int64(0)
			var before []int64
			for range 5 {
				in := t.input(t.ordinary() / 5)[0]
				s.SendFrom(0, in.port, "split", sent, in.records...)
				sent += int64(len(in.records))
				before = append(before, sent)
				cuts = append(cuts, s.Checkpoint())
			}
			cuts = append(cuts, s.Checkpoint(rig.End))
			for _, name := range t.outputs() {
				for i, c := range cuts[1:] {
					for _, r := range c.Received(0, name)[len(cuts[i].Received(0, name)):] {
						if r.Split == "split" && r.Ordinal < before[i] {
							t.Fatalf("on %q what comes of record %d came behind barrier %d, which was sent behind record %d: %s", name, r.Ordinal, cuts[i].Checkpoint, before[i]-1, r.Record)
						}
					}
				}
			}
			s.Close()
		},
	},
	{
		ID: "WC-OPR-004", Title: "nothing is kept back at the end of the input", Kinds: operators, Needs: repeatable,
		Demands: "What comes of a few records before the barrier that ends the input is all that comes of them, by their origin, where many records follow.",
		Why:     "A buffer that waits to be full keeps the end of every bounded input.",
		Fix:     "Send what is held when the input ends, and at each barrier what does not depend on later records.",
		run: func(t *T) {
			few, many := t.input(7)[0], t.input(t.ordinary())[0]
			of := func(c *rig.Cut) outcome {
				out := make(outcome)
				for _, name := range t.outputs() {
					for _, r := range c.Received(0, name) {
						if r.Split == "split" && r.Ordinal < int64(len(few.records)) {
							out[name] = append(out[name], r.Record)
						}
					}
				}
				return out
			}
			o := t.Open(1, 1, nil)
			o.UID += "ref"
			long := t.Start().Stage(o)
			long.SendFrom(0, few.port, "split", 0, few.records...)
			long.SendFrom(0, many.port, "split", int64(len(few.records)), many.records...)
			want := of(long.Checkpoint(rig.End))
			long.Close()
			short := t.Start().Stage(t.Open(1, 1, nil))
			short.SendFrom(0, few.port, "split", 0, few.records...)
			t.compare("at the end of the input", want, of(short.Checkpoint(rig.End)))
			short.Close()
		},
	},
	{
		ID: "WC-OPR-005", Title: "the order of records is kept", Kinds: operators,
		Needs:   all(claims("preserves_order", (*pluginv1.Capabilities).GetPreservesOrder), repeatable),
		Demands: "Each record that comes stems from one input record, by its origin, and they come in the order of those.",
		Why:     "`weir validate` tells people that order is kept behind such an operator.",
		Fix:     "Send in the order of the input, or do not claim preserves_order.",
		run: func(t *T) {
			s := t.Start().Stage(t.Open(1, 1, nil))
			s.SendFrom(0, 0, "split", 0, t.input(t.ordinary())[0].records...)
			cut := s.Checkpoint(rig.End)
			for _, name := range t.outputs() {
				last := int64(-1)
				for _, r := range cut.Received(0, name) {
					if r.Split != "split" {
						t.Fatalf("on %q a record says that it comes from split %q, and all input came from %q: %s", name, r.Split, "split", r.Record)
					}
					if r.Ordinal < last {
						t.Fatalf("on %q what comes of record %d came behind what comes of record %d: %s", name, r.Ordinal, last, r.Record)
					}
					last = r.Ordinal
				}
			}
			s.Close()
		},
	},
	{
		ID: "WC-OPR-006", Title: "the key is kept", Kinds: operators,
		Needs:   claims("preserves_key", (*pluginv1.Capabilities).GetPreservesKey),
		Demands: "Each record that comes has the key of the input record that it stems from, by its origin; a null key stays null, and an empty one empty.",
		Why:     "Where the claim stands the host lets records that are partitioned by key stay where they are.",
		Fix:     "Take key and origin over from the record that is being processed, or do not claim preserves_key.",
		run: func(t *T) {
			in := t.input(t.ordinary())[0].records
			in = append(in, t.Special()...)
			s := t.Start().Stage(t.Open(1, 1, nil))
			s.SendFrom(0, 0, "split", 0, in...)
			cut := s.Checkpoint(rig.End)
			for _, name := range t.outputs() {
				for _, r := range cut.Received(0, name) {
					if r.Split != "split" || r.Ordinal < 0 || r.Ordinal >= int64(len(in)) {
						t.Fatalf("on %q a record says that it is number %d of split %q, which was not sent: %s", name, r.Ordinal, r.Split, r.Record)
					}
					if from := in[r.Ordinal]; (from.Key == nil) != (r.Key == nil) || !bytes.Equal(from.Key, r.Key) {
						t.Fatalf("on %q came %s of %s: the key is another", name, r.Record, from)
					}
				}
			}
			s.Close()
		},
	},
	{
		ID: "WC-OPR-007", Title: "records that are easily got wrong do no harm", Kinds: operators, Needs: repeatable,
		Demands: "Empty and null keys and values, any bytes, odd headers and times, and a record close to max_record, each alone and among others, are processed or fail one by one, and what comes of the others does not change.",
		Why:     "One record that nobody thought of must not stop a pipeline, or change its neighbours.",
		Fix:     "Fail the record that cannot be processed, and go on.",
		run: func(t *T) {
			odd := append(t.Special(), t.Sized(1, rig.MaxRecordBytes/2)...)
			want := t.alone([]piece{{0, odd}})
			s := t.Start().Stage(t.Open(1, 1, nil))
			for _, r := range odd {
				s.Send(0, 0, r)
			}
			t.compare("one by one", want, t.outcomeOf(endOf(s), 0))
			s.Close()
		},
	},
	{
		ID: "WC-OPR-008", Title: "a record that fails is told with the right place, and the others go on", Kinds: operators, Needs: all(hasBad, repeatable),
		Demands: "Of a batch with bad records among good ones exactly the bad ones leave on `errors`, whole, with the headers weir.error and weir.component, and what comes of the good ones is what comes of them alone. With the policy `skip` nothing leaves on `errors`, with `fail` the task fails.",
		Why:     "A wrong index dead-letters a good record and drops the bad one without a trace.",
		Fix:     "Fail the record by its place in its batch, before the next one is processed.",
		run: func(t *T) {
			records, good := t.mixed()
			want := t.alone([]piece{{0, good}})
			if n := len(want[pipeline.OutputErrors]); n > 0 {
				t.Brokenf("%d of the good records fail: give `records.value` that the component takes", n)
			}
			p := t.Start()
			s := p.Stage(t.Open(1, 1, nil))
			s.Send(0, 0, records...)
			t.Logf("sent %d records, %d of them bad: %s", len(records), len(t.entry.Bad)+1, list(records))
			cut := endOf(s)
			t.deadLetters(cut.Received(0, pipeline.OutputErrors))
			got := t.outcomeOf(cut, 0)
			got[pipeline.OutputErrors] = nil
			t.compare("among bad records", want, got)
			s.Close()

			skip := p.Stage(t.withPolicy(2, pluginv1.FailurePolicy_ACTION_SKIP))
			skip.Send(0, 0, records...)
			t.compare("with the policy skip", want, t.outcomeOf(endOf(skip), 0))
			skip.Close()
			t.mustFail(p, 3)
		},
	},
	{
		ID: "WC-OPR-009", Title: "tasks and streams do not mix", Kinds: operators, Needs: all(repeatable, several),
		Demands: "Four tasks in one process, each with input of its own at the same time, give each what it would give alone.",
		Why:     "State that is shared by accident mixes tasks up as soon as there are two.",
		Fix:     "Keep everything in the task. Look for package variables, shared buffers and caches.",
		run: func(t *T) {
			const n = 4
			inputs := make([][]piece, n)
			want := make([]outcome, n)
			for i := range n {
				inputs[i] = t.input(t.ordinary())
				want[i] = t.alone(inputs[i])
			}
			p := t.Start()
			stages := make([]*rig.Stage, n)
			for i := range n {
				o := t.Open(1, 1, nil)
				o.UID += string(rune('a' + i))
				stages[i] = p.Stage(o)
			}
			cuts := make([][]piece, n)
			for i := range n {
				cuts[i] = t.cutUp(inputs[i])
			}
			for more := true; more; {
				more = false
				for i, s := range stages {
					if len(cuts[i]) > 0 {
						s.Send(0, cuts[i][0].port, cuts[i][0].records...)
						cuts[i] = cuts[i][1:]
						more = true
					}
				}
			}
			for i, s := range stages {
				t.compare("beside three other tasks", want[i], t.outcomeOf(endOf(s), 0))
				s.Close()
			}
		},
	},
	{
		ID: "WC-OPR-010", Title: "killed and restored, it gives what it would have given", Kinds: operators, Needs: repeatable,
		Demands: "After a checkpoint the process is killed with SIGKILL; a new one restores it and gets the records behind it again. What came before the barrier and what comes then are what comes of all records.",
		Why:     "What is kept outside the snapshot is gone.",
		Fix:     "Put into the snapshot what later results depend on, as it was at the barrier.",
		run: func(t *T) {
			in := t.cutUp(t.input(t.ordinary()))
			want := t.alone(in)
			half := len(in) / 2
			p := t.Start()
			s := p.Stage(t.Open(1, 1, nil))
			for _, x := range in[:half] {
				s.Send(0, x.port, x.records...)
			}
			cut := s.Checkpoint()
			for _, x := range in[half:] {
				s.Send(0, x.port, x.records...)
			}
			t.pause(t.moment())
			p.SIGKILL()
			again := t.Start().Stage(t.Open(2, 1, cut))
			for _, x := range in[half:] {
				again.Send(0, x.port, x.records...)
			}
			before, after := t.outcomeOf(cut, 0), t.outcomeOf(endOf(again), 0)
			for name := range before {
				before[name] = append(before[name], after[name]...)
			}
			t.compare("killed and restored", want, before)
			again.Close()
		},
	},
	{
		ID: "WC-OPR-011", Title: "watermarks pass behind what they are behind", Kinds: operators,
		Demands: "A watermark leaves on every output that leads anywhere, behind everything that comes of earlier records, and none goes back. Idle passes too.",
		Why:     "A window closes when the watermark passes it: a record that comes behind is late.",
		Fix:     "Send what is buffered before the watermark, and the watermark on every output.",
		run: func(t *T) {
			s := t.Start().Stage(t.Open(1, 1, nil))
			const base = int64(1_800_000_000_000_000_000)
			for i := range 3 {
				for _, x := range t.input(20) {
					s.Send(0, x.port, x.records...)
				}
				for port := range t.Ports() {
					s.SendMessage(0, &pluginv1.Frame{Port: uint32(port), Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: base + int64(i)}}})
				}
			}
			s.SendMessage(0, &pluginv1.Frame{Kind: &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}})
			s.Checkpoint()
			t.watermarksAreSound(s, base+2)
			s.Close()
		},
	},
	{
		ID: "WC-OPR-012", Title: "it takes no more than it can send", Kinds: operators,
		Needs: func(t *Target) Missing {
			if t.Left.GetKeyedState() {
				return notConfigured("a component without state by key, which may keep what it takes")
			}
			return ""
		},
		Demands: "While nobody takes its output, a task stops taking input after a few batches; when the output flows again everything comes.",
		Why:     "Back-pressure is what keeps a pipeline's memory bounded. A queue in a plugin undoes it.",
		Fix:     "Do not read Run faster than you work, and let a send that blocks block.",
		run:     func(t *T) { t.backPressure() },
	},
	{
		ID: "WC-OPR-013", Title: "in a chain it gives what it gives alone", Kinds: operators,
		Needs: all(repeatable, func(t *Target) Missing {
			if t.Manifest.GetNoChains() {
				return notClaimed("the plugin runs no chains")
			}
			if len(t.Ports()) > 1 || t.Left.GetKeyedState() {
				return notConfigured("a component with one input and no state by key")
			}
			return ""
		}),
		Demands: "Two members of the component in one task, joined on `out`, give what a second task gives of what the first one sent.",
		Why:     "The host joins neighbours of one plugin into chains by itself.",
		Fix:     "Run every member of Open.chain, in order, barriers included; or say no_chains in the manifest.",
		run:     func(t *T) { t.chained() },
	},
	{
		ID: "WC-OPR-014", Title: "a newer version goes on where an older one was", Kinds: operators, Needs: all(repeatable, previously),
		Demands: "A checkpoint of the older version (--previous) is restored by the newer one, which gives with the rest of the input what it would have given with all of it.",
		Why:     "An upgrade keeps the state.",
		Fix:     "Read the state of older versions; add fields and change none.",
		run: func(t *T) {
			in := t.cutUp(t.input(t.ordinary()))
			want := t.alone(in)
			o := t.Open(1, 1, nil)
			o.Chain = []*member{t.PreviousMember()}
			s := t.StartPrevious().Stage(o)
			half := len(in) / 2
			for _, x := range in[:half] {
				s.Send(0, x.port, x.records...)
			}
			cut := s.Checkpoint()
			s.Close()
			again := t.Start().Stage(t.Open(2, 1, cut))
			for _, x := range in[half:] {
				again.Send(0, x.port, x.records...)
			}
			before, after := t.outcomeOf(cut, 0), t.outcomeOf(endOf(again), 0)
			for name := range before {
				before[name] = append(before[name], after[name]...)
			}
			t.compare("with the older version's snapshot", want, before)
			again.Close()
		},
	},
	{
		ID: "WC-OPR-015", Title: "state by key goes to another parallelism", Kinds: operators,
		Needs:   all(claims("keyed_state", (*pluginv1.Capabilities).GetKeyedState), repeatable, several),
		Demands: "Records go to the tasks that own their keys; a checkpoint of several tasks is restored by one and by more, which get the rest of the input. All tasks together give what one task gives of all records.",
		Why:     "A pipeline is rescaled without losing what it has counted.",
		Fix:     "Put each key's state, timers too, into the entry of its key group, and take over every group that is handed back.",
		run: func(t *T) {
			in := t.cutUp(t.input(t.ordinary()))
			want := t.alone(in)
			got := make(outcome)
			p := t.Start()
			var cut *rig.Cut
			third := len(in)/3 + 1
			for i, n := range []int{t.Parallelism(), 1, t.Parallelism() + 1} {
				s := p.Stage(t.Open(uint64(i)+1, n, cut))
				for _, x := range in[min(i*third, len(in)):min((i+1)*third, len(in))] {
					s.SendByKey(x.port, x.records...)
				}
				if i < 2 {
					cut = s.Checkpoint()
				} else {
					cut = endOf(s)
				}
				got.add(t.outcomeOfAll(cut))
				s.Close()
			}
			t.compareBags("at three parallelisms, one after the other", want, got)
		},
	},
}

package conformance

import (
	"slices"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/proto/wire"
)

var sourceCases = []Case{
	{
		ID: "WC-SRC-001", Title: "everything is read, once", Kinds: sources, Needs: hasInput,
		Demands: "Several pieces of input, read by several tasks, all come: no record is lost, doubled or changed. Without `feed` a second complete read gives what the first gave.",
		Why:     "It is what a source is for.",
		Fix:     "Assign each split to one reader; give it a start and, if it is bounded, an end that the next split begins at.",
		run: func(t *T) {
			r := t.newSourceRun(t.ordinary(), 60, 3)
			got := r.rest(t.Start(), 1, t.Parallelism(), nil, 0)
			r.exactly("read by several tasks", got)
		},
	},
	{
		ID: "WC-SRC-002", Title: "the records of a split keep their order", Kinds: sources, Needs: isFed,
		Demands: "Of each piece that was fed the records of one split come in the order in which they were fed.",
		Why:     "It is the only order that a pipeline promises, and what keys are counted on.",
		Fix:     "Read a split with one thread, in order. Ordinals in the origin rise with it.",
		run: func(t *T) {
			r := t.newSourceRun(t.ordinary(), 60, 2)
			got := r.rest(t.Start(), 1, t.Parallelism(), nil, 0)
			r.exactly("read", got)
			r.ordered(got)
		},
	},
	{
		ID: "WC-SRC-003", Title: "bounded input ends", Kinds: sources, Needs: all(isBounded, hasInput),
		Demands: "When everything has been read every reader says Exhausted; each split that was opened has ended, once; the enumerator sends NoMoreSplits once to each reader. Empty input ends too.",
		Why:     "Else a bounded pipeline runs for ever, or ends before everything has come.",
		Fix:     "Send NoMoreSplits when nothing is left and nothing will come, also to a reader that has never had a split. Say Exhausted when no split is held and NoMoreSplits has come.",
		run: func(t *T) {
			r := t.newSourceRun(t.ordinary(), 60, 3)
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			s.AwaitExhausted()
			cut := s.Checkpoint(rig.End)
			r.exactly("when every reader had said Exhausted", cut.ReceivedAll(pipeline.OutputMain))
			opened, ended := marks(s)
			if len(opened) == 0 && len(r.want) > 0 {
				t.Fatalf("%d records came, and no SplitOpened before them", len(r.want))
			}
			slices.Sort(opened)
			slices.Sort(ended)
			if !slices.Equal(opened, ended) {
				t.Fatalf("the splits that were opened, %v, are not those that have ended, %v", opened, ended)
			}
			none := make(map[uint32]int)
			for _, e := range s.Enumerator.Events() {
				if e.Kind == wire.KindNoMoreSplits {
					none[e.Target]++
				}
			}
			for i := range s.Tasks {
				if n := none[uint32(i)+1]; n != 1 {
					t.Fatalf("reader %d was sent NoMoreSplits %d times", i, n)
				}
			}
			s.Close()
		},
	},
	{
		ID: "WC-SRC-004", Title: "the last records come at the end of the input", Kinds: sources, Needs: all(isBounded, isFed),
		Demands: "Input of a single record, and the last few records of longer input, come before the reader says Exhausted.",
		Why:     "A batch that is kept back until it is full is lost at the end.",
		Fix:     "Send what is gathered before SplitEnded and before Exhausted.",
		run: func(t *T) {
			r := t.newSourceRun(1, 10, 1)
			s := t.Start().Stage(t.Open(1, 1, nil))
			s.AwaitExhausted()
			r.exactly("when the reader had said Exhausted", s.Checkpoint().ReceivedAll(pipeline.OutputMain))
			s.Close()
		},
	},
	{
		ID: "WC-SRC-005", Title: "records that are easily got wrong come as they are", Kinds: sources, Needs: isFed,
		Demands: "Empty and null values and keys, any bytes, UTF-8, headers in their order with repeated names, null and empty values, times and no time come as they were fed, as far as conformance.yaml says that the outside carries them.",
		Why:     "What a source changes no later step can put right.",
		Fix:     "Keep bytes bytes, null apart from empty, and no time apart from time 0.",
		run: func(t *T) {
			r := &sourceRun{t: t}
			r.feed(append(t.Special(), t.Records(3)...))
			r.exactly("records that are easily got wrong", r.rest(t.Start(), 1, 1, nil, 0))
		},
	},
	{
		ID: "WC-SRC-006", Title: "a huge record comes", Kinds: sources, Needs: isFed,
		Demands: "A record close to the host's limit of 8 MiB, or of records.max_size, comes whole, among small ones.",
		Why:     "Scanners and buffers have limits that nobody meets until it matters.",
		Fix:     "Let the buffer grow to max_record_bytes. A batch may be larger than batch_bytes where it holds one record.",
		run: func(t *T) {
			r := &sourceRun{t: t}
			r.feed(slices.Concat(t.Records(3), t.Sized(1, t.MaxValue()-16), t.Records(3)))
			r.exactly("a huge record among small ones", r.rest(t.Start(), 1, 1, nil, 0))
		},
	},
	{
		ID: "WC-SRC-007", Title: "a record above max_record fails, and reading goes on", Kinds: sources,
		Needs: all(isFed, func(t *Target) Missing {
			if t.Entry.Records.Value != nil || t.Entry.Records.MaxSize > 0 && t.Entry.Records.MaxSize < 32<<10 {
				return notConfigured("values that are large enough")
			}
			return ""
		}),
		Demands: "With max_record_bytes at 16 KiB a record of 24 KiB leaves on `errors` with the headers weir.error and weir.component, and the records before and behind it come.",
		Why:     "One huge record must not stop a pipeline for good, and must not vanish.",
		Fix:     "Fail the record by the node's policy, and read on behind it.",
		run: func(t *T) {
			r := &sourceRun{t: t}
			before, huge, behind := t.Records(5), t.Sized(1, 24<<10), t.Records(5)
			t.Feed(slices.Concat(before, huge, behind))
			r.want = slices.Concat(before, behind)
			o := t.Open(1, 1, nil)
			o.MaxRecordBytes = 16 << 10
			s := t.Start().Stage(o)
			r.all(s, len(r.want))
			cut := s.Checkpoint()
			r.exactly("around a record above max_record", cut.ReceivedAll(pipeline.OutputMain))
			letters := cut.ReceivedAll(pipeline.OutputErrors)
			if len(letters) != 1 || !hasHeader(letters[0].Record, headerError) || !hasHeader(letters[0].Record, headerComponent) {
				t.Fatalf("on `errors` should be the one record above max_record, with the headers %s and %s, and there came %v", headerError, headerComponent, plain(letters))
			}
			if n := min(len(letters[0].Value), 1024); n == 0 || !strings.HasPrefix(string(huge[0].Value), string(letters[0].Value[:n])) {
				t.Fatalf("the record on `errors` is not the one that was fed: %v", letters[0].Record)
			}
			s.Close()
		},
	},
	{
		ID: "WC-SRC-008", Title: "splits that appear later are read", Kinds: sources, Needs: all(unbounded, isFed),
		Demands: "Pieces that are fed while the source runs come without a restart, also after a checkpoint and a restore, and with a split id that was not used before.",
		Why:     "An unbounded source is one that goes on finding.",
		Fix:     "List again from time to time, and remember what was seen in the enumerator's state.",
		run: func(t *T) {
			r := t.newSourceRun(20, 40, 1)
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			s.AwaitRecords(pipeline.OutputMain, 20)
			r.feed(t.Records(20))
			s.AwaitRecords(pipeline.OutputMain, 40)
			cut := t.settled(p, s)
			before := cut.ReceivedAll(pipeline.OutputMain)
			opened, _ := marks(s)
			s.Close()
			if dup := twice(opened); dup != "" {
				t.Fatalf("the split %q was opened twice in one epoch", dup)
			}
			r.feed(t.Records(20))
			o := t.Open(2, t.Parallelism(), cut)
			again := p.Stage(o)
			again.AwaitRecords(pipeline.OutputMain, 20)
			r.feed(t.Records(5))
			again.AwaitRecords(pipeline.OutputMain, 25)
			t.pause(pauseForMore)
			after := again.Checkpoint().ReceivedAll(pipeline.OutputMain)
			r.exactly("with pieces that were fed while it ran", slices.Concat(before, after))
			again.Close()
		},
	},
	{
		ID: "WC-SRC-009", Title: "records say where they come from", Kinds: sources, Needs: hasInput,
		Demands: "Where the host asks for it (Outlet.origin) each record names its split, one that was opened before it and has not ended, and ordinals of one split do not come twice.",
		Why:     "A dead letter is found by it in the input.",
		Fix:     "Fill in the origin column: runs of split, first ordinal, step and count.",
		run: func(t *T) {
			t.newSourceRun(t.ordinary(), 40, 2)
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			if t.Left.GetBounded() {
				s.AwaitExhausted()
			} else {
				s.AwaitRecords(pipeline.OutputMain, t.ordinary())
			}
			s.Checkpoint()
			t.originsAreSound(s)
			s.Close()
		},
	},
	{
		ID: "WC-SRC-010", Title: "it says that it has changed", Kinds: sources, Needs: hasInput,
		Demands: "A reader that has read says Changed, without being asked by a barrier.",
		Why:     "The host skips checkpoints while no task has changed: a source that never says so is never checkpointed.",
		Fix:     "Say Changed at the first record behind each barrier, with the number of that barrier, 0 for none.",
		run: func(t *T) {
			r := t.newSourceRun(20, 40, 1)
			s := t.Start().Stage(t.Open(1, 1, nil))
			r.all(s, len(r.want))
			s.AwaitChanged(0)
			s.Close()
		},
	},
}

// pauseForMore is a moment in which what comes too much would come.
const pauseForMore = 100 * 1e6 // 100 ms

// hasInput needs something to read: fed, or made by a bounded source.
func hasInput(t *Target) Missing {
	if t.Entry.Feed == nil && !t.Left.GetBounded() {
		return notConfigured("`feed`, which puts records where the source reads them")
	}
	return ""
}

func hasHeader(r exchange.Record, name string) bool {
	return slices.ContainsFunc(r.Headers, func(h exchange.Header) bool { return h.Name == name })
}

// twice returns what stands twice in a list.
func twice(all []string) string {
	seen := make(map[string]bool)
	for _, a := range all {
		if seen[a] {
			return a
		}
		seen[a] = true
	}
	return ""
}

// originsAreSound looks at the origin of every record that has come.
func (t *T) originsAreSound(s *rig.Stage) {
	type place struct {
		split   string
		ordinal int64
	}
	seen := make(map[place]bool)
	for i, task := range s.Tasks {
		open := make(map[string]bool)
		for _, e := range task.Events() {
			switch e.Kind {
			case wire.KindSplitOpened:
				open[e.Message.GetSplitOpened().GetId()] = true
			case wire.KindSplitEnded:
				delete(open, e.Message.GetSplitEnded().GetId())
			}
			for _, r := range e.Records {
				switch at := (place{r.Split, r.Ordinal}); {
				case r.Split == "":
					t.Fatalf("a record of task %d does not say where it comes from: %s", i, r.Record)
				case !open[r.Split]:
					t.Fatalf("a record of task %d says that it comes from split %q, which is not open: %s", i, r.Split, r.Record)
				case seen[at]:
					t.Fatalf("two records say that they are number %d of split %q, one is %s", r.Ordinal, r.Split, r.Record)
				default:
					seen[at] = true
				}
			}
		}
	}
}

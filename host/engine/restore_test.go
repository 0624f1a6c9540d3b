package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about section 6 of the rules: what happens between the
// death of one epoch and the first record of the next.

// wide has two sinks of some parallelism.
const wide = quick + `
  in:    {source: feed, parallelism: 3, config: {splits: 6}}
  mid:   {operator: pass, parallelism: 3, input: in}
  out:   {sink: keep, parallelism: 3, input: mid}
  other: {sink: final, parallelism: 2, input: mid}
`

// before checks that the last event of one kind comes before the first of another.
func (w *world) before(first, then string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	last, next := -1, len(w.events)
	for i, e := range w.events {
		if strings.HasPrefix(e, first) {
			last = i
		}
		if strings.HasPrefix(e, then) && next == len(w.events) {
			next = i
		}
	}
	if last < 0 || next == len(w.events) || last > next {
		w.t.Errorf("the last %q is event %d, the first %q event %d", first, last, then, next)
	}
}

// restoredWith runs a pipeline until its output is in a record whose commits are not
// answered, and then once more.
func restoredWith(t *testing.T, w *world, yaml string, sinks ...string) *running {
	t.Helper()
	for _, s := range sinks {
		w.script(s).commit = func(*pluginv1.CommitRequest) (*pluginv1.Error, error) { return &pluginv1.Error{Message: "closed"}, nil }
	}
	for i := range 6 {
		w.feed("in", i, fmt.Sprint(i))
	}
	r := w.start(yaml)
	for _, s := range sinks {
		w.awaitEvent("commit "+s+" fails", 1)
	}
	w.await("all is in a record", func() bool {
		h := w.history()
		return h.Newest() != nil && h.Newest().N >= 1 && len(w.happened("pass out[0]")) > 0
	})
	r.crash()
	for _, s := range sinks {
		w.setScript(s, script{})
	}
	return w.start(yaml)
}

// TestCommitsAreAnsweredThenSweptThenOpened: every commit before every sweep, every
// sweep before every task.
func TestCommitsAreAnsweredThenSweptThenOpened(t *testing.T) {
	w := newWorld(t)
	r := restoredWith(t, w, wide, "out", "other")
	for i := range 6 {
		w.end("in", i)
	}
	r.finish()
	for _, sink := range []string{"out", "other"} {
		w.expectOut(sink, "0", "1", "2", "3", "4", "5")
		for _, swept := range []string{"out", "other"} {
			var recommitted string
			for _, e := range w.happened("commit " + sink + " e2") {
				recommitted = e
				break
			}
			w.mu.Lock()
			commit := slices.Index(w.events, recommitted)
			sweep := slices.IndexFunc(w.events, func(e string) bool { return strings.HasPrefix(e, "sweep "+swept+" e2") })
			w.mu.Unlock()
			if recommitted == "" || commit > sweep {
				t.Errorf("%q is event %d, the sweep of %s %d", recommitted, commit, swept, sweep)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	swept := 0
	for _, e := range w.events {
		if strings.HasPrefix(e, "sweep ") && strings.Contains(e, " e2 ") {
			swept++
		}
		if strings.HasPrefix(e, "open ") && strings.Contains(e, " e2 ") && swept < 2 {
			t.Fatalf("%q after %d sweeps", e, swept)
		}
	}
}

// TestCommittedThroughIsDurableBeforeAnySweep.
func TestCommittedThroughIsDurableBeforeAnySweep(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var through, newest uint64
	w.script("out").sweep = func(*pluginv1.SweepRequest) (*pluginv1.Error, error) {
		mu.Lock()
		defer mu.Unlock()
		h := w.history()
		through, newest = h.Committed, h.Newest().N
		return nil, nil
	}
	w.feed("in", 0, "a")
	w.start(line).awaitAndCrash("out", 1)
	w.end("in", 0)
	w.start(line).finish()
	mu.Lock()
	defer mu.Unlock()
	if newest == 0 || through < newest {
		t.Errorf("committed through %d at the sweep, the restored checkpoint is %d", through, newest)
	}
}

// TestSweepOnceASinkNode: not once a task, and with every earlier generation.
func TestSweepOnceASinkNode(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.start(wide).awaitAndCrash("out", 1)
	narrow := strings.NewReplacer("in:    {source: feed, parallelism: 3", "in:    {source: feed, parallelism: 1", "keep, parallelism: 3", "keep, parallelism: 5").Replace(wide)
	w.feed("in", 0, "b")
	w.start(narrow).awaitAndCrash("out", 2)
	for i := range 6 {
		w.end("in", i)
	}
	w.start(narrow).finish()
	for _, sink := range []string{"out", "other"} {
		var swept []string
		for _, e := range w.happened("sweep " + sink) {
			head, _, _ := strings.Cut(e, " keep")
			swept = append(swept, head)
		}
		p := map[string][2]int{"out": {3, 5}, "other": {2, 2}}[sink]
		second, third := fmt.Sprintf("sweep %s e2 of [e1 x%d]", sink, p[0]), fmt.Sprintf("sweep %s e3 of [e1 x%d, e2 x%d]", sink, p[0], p[1])
		// The first generation is dropped once no retained record is of it.
		short := fmt.Sprintf("sweep %s e3 of [e2 x%d]", sink, p[1])
		if len(swept) != 2 || swept[0] != second || swept[1] != third && swept[1] != short {
			t.Errorf("%q", swept)
		}
	}
	w.expectOut("out", "a", "b")
}

// awaitAndCrash waits until a sink has published so much, and ends the run at once.
func (r *running) awaitAndCrash(sink string, n int) {
	r.w.t.Helper()
	r.w.awaitOut(sink, n)
	r.crash()
}

// TestAGenerationStaysListedUntilNoRecordIsOfIt.
func TestAGenerationStaysListedUntilNoRecordIsOfIt(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.start(line).awaitAndCrash("out", 1)
	listed := func(epoch uint64) bool {
		return slices.ContainsFunc(w.history().Lineage.Generations, func(g checkpoint.Generation) bool { return g.Epoch == epoch })
	}
	r := w.start(line)
	w.awaitEvent("opened in[enumerator] e2", 1)
	if !listed(1) {
		t.Error("generation 1 is dropped although its record may be restored")
	}
	for i := range 3 { // two are retained
		w.feed("in", 0, fmt.Sprint(i))
		w.awaitOut("out", 2+i)
	}
	r.crash()
	r = w.start(line)
	w.awaitEvent("opened in[enumerator] e3", 1)
	if listed(1) || !listed(2) {
		t.Errorf("listed are %+v", w.history().Lineage.Generations)
	}
	r.crash()
}

// TestWhatIsAnsweredIsNotCommittedAgain: committed_through covers it.
func TestWhatIsAnsweredIsNotCommittedAgain(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	w.await("it is noted", func() bool { h := w.history(); return h.Committed >= 1 })
	r.crash()
	w.end("in", 0)
	w.start(line).finish()
	for _, e := range w.happened("commit out e2") {
		if strings.Contains(e, "1.1.0") {
			t.Errorf("%q", e)
		}
	}
}

// TestEveryRollbackIsANewEpoch, and so is every start.
func TestEveryRollbackIsANewEpoch(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	w.processOf("mid").die()
	w.awaitEvent("opened in[enumerator] e2", 1)
	r.crash()
	r = w.start(line)
	w.awaitEvent("opened in[enumerator] e3", 1)
	r.crash()
	if e := w.history().Lineage.Epoch; e != 3 {
		t.Errorf("epoch %d", e)
	}
}

// TestARollbackStopsEveryTaskAndKeepsSoundProcesses.
func TestARollbackStopsEveryTaskAndKeepsSoundProcesses(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	in, out := w.processOf("in"), w.processOf("out")
	w.processOf("mid").die()
	w.awaitEvent("opened in[enumerator] e2", 1)
	if n := len(w.happened("start process")); n != 4 {
		t.Errorf("%d processes were started, want three and one more", n)
	}
	for _, p := range []*proc{in, out} {
		select {
		case <-p.Done():
			t.Errorf("process %d has been ended", p.number)
		default:
		}
	}
	w.before("closed in[0] e1", "open in[0] e2")
	w.before("closed in[enumerator] e1", "open out[0] e2")
	w.before("closed out[0] e1", "open mid[0] e2")
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a")
	if s := r.engine.Status(); s.Restarts.Total != 1 || !strings.Contains(s.Restarts.Cause, "the process of node mid: plugin weir (pid ") || !strings.Contains(s.Restarts.Cause, "exited with status 3") || !strings.Contains(s.Restarts.Cause, "out of luck") {
		t.Errorf("%+v", s.Restarts)
	}
}

// TestATaskThatDoesNotCloseCostsItsProcess before anything of the next epoch opens.
func TestATaskThatDoesNotCloseCostsItsProcess(t *testing.T) {
	w := newWorld(t)
	w.script("out").close = func(tk *simTask) bool { return tk.epoch > 1 }
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	stubborn := w.processOf("out")
	w.processOf("mid").die()
	w.awaitEvent("opened in[enumerator] e2", 1)
	select {
	case <-stubborn.Done():
	default:
		t.Error("the process lives")
	}
	w.before(fmt.Sprintf("kill process %d: task out[0] did not close", stubborn.number), "open out[0] e2")
	w.before(fmt.Sprintf("kill process %d", stubborn.number), "open mid[0] e2")
	w.end("in", 0)
	r.finish()
	w.expectOut("out", "a")
}

// TestOperatorsOpenBeforeReadersAndEnumeratorsLast, and data flows when all are
// open.
func TestOperatorsOpenBeforeReadersAndEnumeratorsLast(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	w.end("in", 0)
	w.start(line).finish()
	w.before("opened mid[0]", "open in[0]")
	w.before("opened out[0]", "open in[0]")
	w.before("opened in[0]", "open in[enumerator]")
	w.before("opened in[enumerator]", "assign")
}

// TestSplitRequestsAreRepeatedAfterARestore: they come before the enumerator is
// open, and are handed to it.
func TestSplitRequestsAreRepeatedAfterARestore(t *testing.T) {
	w := newWorld(t)
	w.hide("in", 1, true)
	two := strings.Replace(line, "feed}", "feed, config: {splits: 2}}", 1)
	w.feed("in", 0, "a")
	w.start(two).awaitAndCrash("out", 1)
	w.hide("in", 1, false)
	w.feed("in", 1, "b")
	w.end("in", 0, 1)
	w.start(two).finish()
	w.expectOut("out", "a", "b")
	if n := len(w.happened("assign in/0")); n != 1 {
		t.Errorf("split 0 was assigned %d times", n)
	}
}

// TestAnAssignmentIsWhollyBeforeOrBehindABarrier: the reader's snapshot holds a split
// if and only if the enumerator's says that it was given.
func TestAnAssignmentIsWhollyBeforeOrBehindABarrier(t *testing.T) {
	w := newWorld(t)
	many := quick + `
  in:  {source: feed, parallelism: 2, config: {splits: 40}}
  out: {sink: keep, parallelism: 2, input: in}
`
	for i := range 40 {
		w.hide("in", i, true)
		w.feed("in", i, fmt.Sprint(i))
	}
	r := w.start(many)
	st := w.storage()
	defer st.Close()
	checked := map[uint64]bool{}
	for i := range 40 {
		w.hide("in", i, false)
		w.awaitOut("out", i+1)
		newest := w.history().Newest()
		m, err := checkpoint.ReadManifest(t.Context(), st, *newest)
		if err != nil {
			continue // it is gone already
		}
		checked[newest.N] = true
		in, _ := m.Node("in")
		given := 0
		for e, err := range checkpoint.ReadEntries(t.Context(), st, *in.Enumerator) {
			if err != nil {
				t.Fatal(err)
			}
			given = strings.Count(string(e.GetPayload()), "in/")
		}
		held := 0
		for _, task := range in.Tasks {
			for range checkpoint.ReadEntries(t.Context(), st, task) {
				held++
			}
		}
		if held != given {
			t.Errorf("checkpoint %d: the enumerator has given %d splits, the readers hold %d", newest.N, given, held)
		}
	}
	if len(checked) < 5 {
		t.Errorf("only %d checkpoints were looked at", len(checked))
	}
	r.crash()
}

// TestAChangeOfParallelismDealsStateOut: what a writer has unfinished goes to exactly
// one task, and splits are spread over the readers.
func TestAChangeOfParallelismDealsStateOut(t *testing.T) {
	w := newWorld(t)
	yaml := func(p int) string {
		return quick + fmt.Sprintf(`
  in:  {source: feed, parallelism: %d, config: {splits: 6}}
  mid: {operator: pass, parallelism: %d, input: in}
  out: {sink: keep, parallelism: %d, input: mid, config: {hold: true}}
`, p, p, p)
	}
	for i := range 6 {
		w.feed("in", i, fmt.Sprint(i))
	}
	var want []string
	for n, p := range []int{3, 1, 4, 2} {
		for i := range 6 {
			v := fmt.Sprintf("%d.%d", n, i)
			want = append(want, v)
			w.feed("in", i, v)
		}
		r := w.start(yaml(p))
		w.await("all of it is in a record", func() bool {
			h := w.history()
			if h.Newest() == nil {
				return false
			}
			st := w.storage()
			defer st.Close()
			m, err := checkpoint.ReadManifest(t.Context(), st, *h.Newest())
			if err != nil {
				return false
			}
			unfinished := 0
			for _, e := range m.Writer("out") {
				unfinished += strings.Count(string(e.GetPayload()), ",") + 1
			}
			return unfinished == 6*(n+2)
		})
		r.crash()
	}
	w.expectOut("out")
	for i := range 6 {
		want = append(want, fmt.Sprint(i))
		w.end("in", i)
	}
	w.start(yaml(3)).finish()
	w.expectOut("out", want...)
	// Of four tasks' state, none went to nobody and none to two.
	went := 0
	for _, e := range w.happened("out[") {
		if strings.Contains(e, "goes on with") {
			went++
		}
	}
	if went == 0 {
		t.Error("no task went on with anything")
	}
}

// TestTheFirstCheckpointFixesTheNumberOfKeyGroups: a file that leaves it open takes
// it over, whatever its own default would be; one that says another, or wants more
// tasks than that, is refused.
func TestTheFirstCheckpointFixesTheNumberOfKeyGroups(t *testing.T) {
	w := newWorld(t)
	yaml := func(head string, parallelism int) string {
		return head + quick + fmt.Sprintf(`
  in:  {source: feed}
  mid: {operator: counts, parallelism: %d, input: in}
  out: {sink: keep, input: mid}
`, parallelism)
	}
	w.feed("in", 0, "k=a")
	r := w.start(yaml("", 1))
	w.awaitEvent("mid[0] owns 0 to 127 of 128", 1)
	w.await("a record", func() bool { return w.history().Newest() != nil })
	r.crash()
	for _, c := range []struct {
		yaml, want string
	}{
		{yaml("", 200), "node mid: parallelism 200 is above max_parallelism, which the first checkpoint has fixed at 128"},
		{yaml("max_parallelism: 256", 1), "node mid: its state was written with max_parallelism 128 and the file says 256"},
	} {
		_, err := w.start(c.yaml).wait()
		var incompatible *engine.IncompatibleError
		if !errors.As(err, &incompatible) {
			t.Fatalf("%v", err)
		}
		contains(t, err.Error(), c.want)
	}
	w.end("in", 0)
	w.start(yaml("", 100)).finish() // its own default would be 256
	if len(w.happened("mid[99] owns 127 to 127 of 128")) == 0 {
		t.Errorf("%q", w.happened("mid[99]"))
	}
	w.expectOut("out", "k=a")
}

// TestAChangedFileThatCannotTakeOverStateIsRefused: it says which node and why, and
// does not try again.
func TestAChangedFileThatCannotTakeOverStateIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change []string
		want   string
	}{
		"a node is gone":          {[]string{"  mid: {operator: pass, input: in}\n", "", "input: mid", "input: in"}, "node mid (weir/pass) is gone, and the checkpoint holds state of it"},
		"another component":       {[]string{"operator: pass", "operator: counts"}, "node mid: its state was written by weir/pass and it is weir/counts now"},
		"another sink":            {[]string{"sink: keep", "sink: final"}, "node out: its state was written by weir/keep and it is weir/final now"},
		"another plugin":          {[]string{"operator: pass", "operator: acme/pass"}, "node mid: its state was written by weir/pass and it is acme/pass now"},
		"a node with another id":  {[]string{"mid: {operator", "mid: {id: other, operator"}, "node mid (weir/pass) is gone"},
		"two nodes at once":       {[]string{"operator: pass", "operator: counts", "sink: keep", "sink: final"}, "node out: its state"},
		"a new name for the same": {[]string{"mid: {operator", "middle: {id: mid, operator", "input: mid", "input: middle"}, ""},
		"more tasks":              {[]string{"keep, input: mid", "keep, parallelism: 3, input: mid"}, ""},
		"a node more":             {[]string{"input: mid}", "input: more}\n  more: {operator: counts, input: mid}"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.feed("in", 0, "k=a")
			holding := strings.Replace(line, "keep, input: mid", "keep, input: mid, config: {hold: true}", 1)
			r := w.start(holding)
			w.awaitEvent("pass out[0]", 1)
			w.await("a record", func() bool { return w.history().Newest() != nil })
			r.crash()
			w.end("in", 0)
			r = w.start(strings.NewReplacer(c.change...).Replace(holding))
			out, err := r.wait()
			if c.want == "" {
				if err != nil || !out.Finished {
					t.Errorf("%+v, %v", out, err)
				}
				w.expectOut("out", "k=a")
				return
			}
			var incompatible *engine.IncompatibleError
			if !errors.As(err, &incompatible) {
				t.Fatalf("%v", err)
			}
			contains(t, err.Error(), c.want, "--fresh")
			if s := r.engine.Status(); s.Restarts.Total != 0 {
				t.Errorf("%d restarts", s.Restarts.Total)
			}
			// Nothing is lost by the attempt.
			w.start(holding).finish()
			w.expectOut("out", "k=a")
		})
	}
}

// damaged runs a pipeline until several checkpoints have published something, and
// damages the newest.
func damaged(t *testing.T, yaml string) (*world, uint64) {
	t.Helper()
	w := newWorld(t)
	r := w.start(yaml)
	for i := range 4 {
		w.feed("in", 0, fmt.Sprint(i))
		w.awaitOut("out", i+1)
		w.await("it is noted", func() bool { h := w.history(); return h.Committed >= h.Newest().N })
	}
	r.crash()
	newest := w.history().Newest()
	if newest.Committables == 0 {
		t.Fatalf("checkpoint %d has published nothing", newest.N)
	}
	if err := os.Truncate(filepath.Join(w.dir, "checkpoints", newest.Manifest.Name), 10); err != nil {
		t.Fatal(err)
	}
	w.end("in", 0)
	return w, newest.N
}

// TestBelowAPublishedRecordOnlyWhereEverySinkWithdraws.
func TestBelowAPublishedRecordOnlyWhereEverySinkWithdraws(t *testing.T) {
	w, n := damaged(t, line)
	w.start(line).finish()
	w.expectOut("out", "0", "1", "2", "3")
	swept := w.happened("sweep out e2")
	if len(swept) != 1 || !strings.HasSuffix(swept[0], "retract true") || strings.Contains(swept[0], fmt.Sprintf("restored %d ", n)) {
		t.Errorf("%q", swept)
	}
}

func TestBelowAPublishedRecordIsRefusedWhereASinkCannotWithdraw(t *testing.T) {
	final := strings.Replace(line, "sink: keep", "sink: final", 1)
	w, n := damaged(t, final)
	r := w.start(final)
	_, err := r.wait()
	var refused *checkpoint.RestoreError
	if !errors.As(err, &refused) || refused.N != n {
		t.Fatalf("%v", err)
	}
	if s := r.engine.Status(); s.Restarts.Total != 0 {
		t.Errorf("%d restarts", s.Restarts.Total)
	}
	w.expectOut("out", "0", "1", "2", "3")
	w.edit = func(c *engine.Config) { c.AcceptDuplicates = true }
	w.start(final).finish()
	w.expectOut("out", "0", "1", "2", "3", "3")
}

// TestASweepSparesWhatRetainedRecordsName: the writer entries of every record that
// is kept, not only of the one that is restored.
func TestASweepSparesWhatRetainedRecordsName(t *testing.T) {
	w := newWorld(t)
	holding := strings.Replace(line, "keep, input: mid", "keep, input: mid, config: {hold: true}", 1)
	r := w.start(holding)
	for i := range 4 {
		w.feed("in", 0, fmt.Sprint(i))
		n := uint64(0)
		if newest := w.history().Newest(); newest != nil {
			n = newest.N
		}
		w.await("a checkpoint", func() bool { newest := w.history().Newest(); return newest != nil && newest.N > n })
	}
	r.crash()
	records := w.history().Records
	r = w.start(holding)
	w.awaitEvent("sweep out e2", 1)
	r.crash()
	keep := w.happened("sweep out e2")[0]
	if len(records) < 2 || strings.Count(keep, `["0"`) != len(records) {
		t.Errorf("of %d records: %s", len(records), keep)
	}
}

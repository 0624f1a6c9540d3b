package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// The tests of this file are about starting from what a person chose.

// from starts with the options.
func (w *world) from(yaml string, edit func(*engine.Config)) *running {
	w.t.Helper()
	w.edit = edit
	defer func() { w.edit = nil }()
	return w.start(yaml)
}

// savepointed is a world whose pipeline has published a, made savepoint s, published
// b and c beyond it, and was stopped.
func savepointed(t *testing.T, yaml string) *world {
	t.Helper()
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(yaml)
	w.awaitOut("out", 1)
	if err := r.engine.Savepoint(context.Background(), "s"); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"b", "c"} { // the record of s is dropped meanwhile
		w.feed("in", 0, more)
		w.awaitOut("out", len(w.out("out"))+1)
	}
	r.stop()
	w.expectOut("out", "a", "b", "c")
	return w
}

func (r *running) refused() *checkpoint.FromError {
	r.w.t.Helper()
	_, err := r.wait()
	var from *checkpoint.FromError
	if !errors.As(err, &from) {
		r.w.t.Fatalf("it was not refused: %v", err)
	}
	return from
}

func TestAnOlderSavepointIsRefusedWhereOutputWouldComeTwice(t *testing.T) {
	w := savepointed(t, line)
	r := w.from(line, func(c *engine.Config) { c.From = "s" })
	r.refused()
	contains(t, r.err.Error(), "cannot be started from s", "would come twice", "--retract")
	w.expectOut("out", "a", "b", "c")
	// Nothing was changed: it goes on from its newest.
	w.feed("in", 0, "d")
	w.end("in", 0)
	w.start(line).finish()
	w.expectOut("out", "a", "b", "c", "d")
}

func TestAnOlderSavepointIsTakenWhereTheSinksWithdraw(t *testing.T) {
	w := savepointed(t, line)
	r := w.from(line, func(c *engine.Config) { c.From, c.Withdraw = "s", true })
	w.await("what came after it is withdrawn and comes again", func() bool {
		return len(w.happened("sweep out e2")) == 1 && len(w.out("out")) == 3
	})
	r.stop()
	w.expectOut("out", "a", "b", "c")
	for _, rec := range w.history().Records {
		if rec.Epoch == 1 && rec.State != checkpoint.Abandoned {
			t.Errorf("checkpoint %d is %s", rec.N, rec.State)
		}
	}
	// And it goes on from there.
	w.feed("in", 0, "d")
	w.end("in", 0)
	w.start(line).finish()
	w.expectOut("out", "a", "b", "c", "d")
}

func TestAStartThatWasCutShortBeginsWithTheSavepointAgain(t *testing.T) {
	w := savepointed(t, line)
	hold := make(chan struct{})
	w.script("mid").open = func(*simTask) *pluginv1.Error { <-hold; return nil }
	r := w.from(line, func(c *engine.Config) { c.From, c.Withdraw = "s", true })
	w.await("what came after it is withdrawn", func() bool { return len(w.out("out")) == 1 })
	close(hold)
	r.crash()
	w.setScript("mid", script{})
	w.end("in", 0)
	w.start(line).finish() // without being told again
	w.expectOut("out", "a", "b", "c")
}

func TestASinkThatCannotWithdrawIsNamed(t *testing.T) {
	final := strings.Replace(line, "sink: keep", "sink: final", 1)
	w := savepointed(t, final)
	r := w.from(final, func(c *engine.Config) { c.From, c.Withdraw = "s", true })
	r.refused()
	contains(t, r.err.Error(), "out cannot withdraw", "--accept-duplicates")
	w.end("in", 0)
	w.from(final, func(c *engine.Config) { c.From, c.AcceptDuplicates = "s", true }).finish()
	w.expectOut("out", "a", "b", "c", "b", "c")
}

func TestTheNewestSavepointNeedsNoFlag(t *testing.T) {
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	if err := r.engine.StopWithSavepoint(context.Background(), "last"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.wait(); err != nil {
		t.Fatal(err)
	}
	w.feed("in", 0, "b")
	w.end("in", 0)
	w.from(line, func(c *engine.Config) { c.From = "last" }).finish()
	w.expectOut("out", "a", "b")
}

func TestAFinishedPipelineStartsFromASavepoint(t *testing.T) {
	w := savepointed(t, line)
	w.end("in", 0)
	w.start(line).finish()
	w.from(line, func(c *engine.Config) { c.From, c.Withdraw = "s", true }).finish()
	w.expectOut("out", "a", "b", "c")
	if len(w.happened("sweep out e3")) == 0 {
		t.Error("it has not run again")
	}
}

func TestWhatIsNotThereIsRefusedWithWhatIs(t *testing.T) {
	w := savepointed(t, line)
	r := w.from(line, func(c *engine.Config) { c.From = "t" })
	r.refused()
	contains(t, r.err.Error(), `there is no savepoint "t"; there are: `, ", s")
	r = w.from(line, func(c *engine.Config) { c.From = "1" })
	r.refused()
	contains(t, r.err.Error(), "there is no checkpoint 1; there are: ")
}

func TestASavepointIsTakenOverByAnyParallelism(t *testing.T) {
	w := newWorld(t)
	split := func(n string) string {
		return quick + `
  in:  {source: feed, config: {splits: 6}, parallelism: ` + n + `}
  out: {sink: keep, input: in, parallelism: ` + n + `}
`
	}
	want := []string{}
	for i := range 6 {
		v := string(rune('a' + i))
		w.feed("in", i, v)
		want = append(want, v)
	}
	r := w.start(split("4"))
	w.awaitOut("out", 6)
	if err := r.engine.StopWithSavepoint(context.Background(), "four"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"2", "7", "1"} {
		for i := range 6 {
			v := string(rune('a'+i)) + n
			w.feed("in", i, v)
			want = append(want, v)
		}
		r = w.from(split(n), func(c *engine.Config) {
			if n == "2" {
				c.From = "four"
			}
		})
		w.awaitOut("out", len(want))
		r.crash()
	}
	for i := range 6 {
		w.end("in", i)
	}
	w.start(split("3")).finish()
	got := map[string]int{}
	for _, v := range w.out("out") {
		got[v]++
	}
	for _, v := range want {
		if got[v] != 1 {
			t.Errorf("%s comes %d times", v, got[v])
		}
	}
	if len(w.out("out")) != len(want) {
		t.Errorf("%d records, want %d", len(w.out("out")), len(want))
	}
}

func TestAnotherNodeTakesOverByIdOrTheStateIsDropped(t *testing.T) {
	renamed := func(id string) string {
		return strings.NewReplacer("in:  {source: feed", "src: {source: feed"+id, "input: in}", "input: src}").Replace(line)
	}
	w := newWorld(t)
	w.feed("in", 0, "a")
	r := w.start(line)
	w.awaitOut("out", 1)
	r.stop()

	r = w.start(renamed(""))
	if _, err := r.wait(); err == nil {
		t.Fatal("it was not refused")
	}
	contains(t, r.err.Error(), "node in (weir/feed) is gone", "id", "--allow-dropped-state")

	w.feed("in", 0, "b")
	r = w.start(renamed(", id: in")) // its splits go by the id
	w.awaitOut("out", 2)
	r.stop()
	w.expectOut("out", "a", "b")

	w.feed("src", 0, "c")
	w.end("src", 0)
	r = w.from(renamed(""), func(c *engine.Config) { c.AllowDropped = []string{"in"} })
	r.finish()
	w.expectOut("out", "a", "b", "c")
	contains(t, w.log.String(), `"the state of a node is dropped"`)
}

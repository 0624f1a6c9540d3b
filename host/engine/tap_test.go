package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// next reads from a tap until it has shown n records, or there are no more in time.
func next(t *testing.T, tap *engine.Tap, n int) (shown []engine.Passed, dropped uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(shown) < n {
		records, missed, err := tap.Next(ctx)
		if err != nil {
			t.Fatalf("%d of %d records are shown: %v", len(shown), n, err)
		}
		shown, dropped = append(shown, records...), dropped+missed
	}
	return shown, dropped
}

func points(all []engine.Passed) string {
	var out []string
	for _, p := range all {
		out = append(out, p.String()+"="+string(p.Value))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// A tap shows what passes on the outputs that it names; of a sink, what comes into it.
// It goes on after a rollback, and nobody is shown what nobody asked for.
func TestATapShowsWhatPasses(t *testing.T) {
	w := newWorld(t)
	r := w.start(line)
	w.feed("in", 0, "first")
	w.awaitOut("out", 1)
	whole, mid, sink, none := r.engine.Tap("", ""), r.engine.Tap("mid", "out"), r.engine.Tap("out", ""), r.engine.Tap("mid", "late")
	w.feed("in", 0, "a")
	shown, dropped := next(t, whole, 2)
	if got := points(shown); got != "in.out=a mid.out=a" || dropped != 0 {
		t.Errorf("%s, %d dropped", got, dropped)
	}
	for _, tap := range []*engine.Tap{mid, sink} {
		if shown, _ := next(t, tap, 1); points(shown) != "mid.out=a" {
			t.Errorf("%s", points(shown))
		}
	}

	w.processOf("mid").die()
	w.await("another epoch", func() bool { return r.engine.Status().Epoch > 1 && r.engine.Status().State == engine.StateRunning })
	w.feed("in", 0, "b")
	var after []engine.Passed
	for len(after) == 0 || string(after[len(after)-1].Value) != "b" {
		shown, _ := next(t, sink, 1)
		after = append(after, shown...)
	}

	r.engine.Untap(mid)
	r.engine.Untap(sink)
	r.engine.Untap(whole)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if shown, _, err := none.Next(ctx); err == nil || len(shown) > 0 {
		t.Errorf("a tap on no output shows %v", shown)
	}
	r.engine.Untap(none)
	w.end("in", 0)
	r.finish()
}

// A tap that nobody reads holds nothing up, and says how much has passed.
func TestATapThatIsNotReadCostsNothingButIsToldTheNumber(t *testing.T) {
	w := newWorld(t)
	r := w.start(line)
	w.feed("in", 0, "first")
	w.awaitOut("out", 1)
	tap := r.engine.Tap("in", "")
	const many = 2000
	for range many / 100 {
		w.feed("in", 0, slices.Repeat([]string{"x"}, 100)...)
	}
	w.awaitOut("out", many+1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var shown int
	var dropped uint64
	for {
		records, missed, err := tap.Next(ctx)
		shown, dropped = shown+len(records), dropped+missed
		if err != nil && len(records) == 0 && missed == 0 {
			break
		}
	}
	if shown+int(dropped) != many || shown > many/2 {
		t.Errorf("%d shown and %d dropped of %d", shown, dropped, many)
	}
	r.engine.Untap(tap)
	w.end("in", 0)
	r.finish()
}

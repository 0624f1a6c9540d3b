package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/pipeline"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// busy is a picture of a pipeline in full swing.
func busy() engine.Status {
	return engine.Status{
		Name: "shop", State: engine.StateRunning, Started: noon.Add(-20 * time.Second), Epoch: 1,
		Nodes: []engine.NodeStatus{
			{
				Name: "log", Kind: "source", Component: "file", Parallelism: 1, RecordsOut: 1_200_000, BytesOut: 130 << 20,
				Busy: 0.4, Blocked: 0.55, Progress: &engine.Progress{Done: 40, Total: 100, Unit: "bytes", Lag: -1},
			},
			{
				Name: "clean", Kind: "operator", Component: "expr", Parallelism: 4, RecordsIn: 1_199_000, RecordsOut: 900_000,
				BytesIn: 129 << 20, BytesOut: 90 << 20, Busy: 0.98, Skipped: 3, DeadLettered: 1,
			},
			{Name: "out", Kind: "sink", Component: "file", Parallelism: 1, RecordsIn: 899_000, BytesIn: 89 << 20, Busy: 0.1},
		},
		Last:      &engine.CheckpointEnd{Number: 4, At: noon.Add(-3 * time.Second), Duration: 42*time.Millisecond + 123*time.Microsecond},
		Completed: 4,
		Restarts:  engine.RestartStatus{Allowed: 5},
		Guarantees: []pipeline.SinkGuarantee{
			{Sink: "out", Guarantee: pipeline.GuaranteeExactlyOnce, Why: "100% of it is prepared"},
		},
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	v := view{Status: busy(), now: noon, rates: map[string]float64{"log": 61_234, "clean": 60_100, "out": 44_900}}
	for _, c := range []struct {
		width int
		want  string
	}{
		{120, `
node   component           records    rate  busy  blocked  progress       failed
──────────────────────────────────────────────────────────────────────────────────────────────────
log    source file       1,200,000  61 k/s   40%      55%  40%, 30s left
clean  operator expr ×4  1,199,000  60 k/s   98%       0%                 3 skipped, 1 dead letter
out    sink file           899,000  45 k/s   10%       0%
shop running · checkpoint 4 3s ago (took 42ms)
`},
		{72, `
node     records    rate  progress       failed
─────────────────────────────────────────────────────────────────
log    1,200,000  61 k/s  40%, 30s left
clean  1,199,000  60 k/s                 3 skipped, 1 dead letter
out      899,000  45 k/s
shop running · checkpoint 4 3s ago (took 42ms)
`},
		{30, `
node     records    rate
────────────────────────
log    1,200,000  61 k/s
clean  1,199,000  60 k/s
out      899,000  45 k/s
shop running · checkpoint 4 3…
`},
		{12, `
node     re…
────────────
log    1,20…
clean  1,19…
out      89…
shop runnin…
`},
	} {
		if got := "\n" + string(v.table(c.width)); got != c.want {
			t.Errorf("%d wide:%s\nwant:%s", c.width, got, c.want)
		}
	}
}

func TestOneLineSaysTheSame(t *testing.T) {
	v := view{Status: busy(), now: noon, rates: map[string]float64{"log": 61_234}}
	want := "shop running · checkpoint 4 3s ago (took 42ms) · log 1,200,000 (61 k/s) 40%, 30s left · " +
		"clean 1,199,000 (0/s) 3 skipped, 1 dead letter · out 899,000 (0/s)"
	if got := v.oneLine(0); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := v.oneLine(20); got != "shop running · chec…" {
		t.Errorf("cut: %s", got)
	}
}

func TestFooter(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*engine.Status)
		want   string
	}{
		{"nothing yet", func(s *engine.Status) { s.Last, s.State = nil, engine.StateRestoring }, "shop restoring"},
		{"a checkpoint that takes its time", func(s *engine.Status) {
			s.InFlight = &engine.CheckpointNow{Number: 5, Since: noon.Add(-4 * time.Second), Awaited: []string{"clean[2]", "out[0]"}}
		}, "shop running · checkpoint 5 since 4s, waits for clean[2], out[0]"},
		{"a checkpoint that has just begun is no news", func(s *engine.Status) {
			s.InFlight = &engine.CheckpointNow{Number: 5, Since: noon.Add(-4 * time.Millisecond)}
		}, "shop running · checkpoint 4 3s ago (took 42ms)"},
		{"restarts", func(s *engine.Status) { s.Restarts.Used, s.Restarts.Total = 2, 7 },
			"shop running · checkpoint 4 3s ago (took 42ms) · restarts 2 of 5"},
		{"a sink that cannot publish", func(s *engine.Status) {
			s.Uncommitted = []engine.UncommittedStatus{{Sink: "out", Error: "disk is full"}}
		}, "shop running · checkpoint 4 3s ago (took 42ms) · out cannot publish: disk is full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := busy()
			c.change(&s)
			if got := (view{Status: s, now: noon}).footer(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		name    string
		p       *engine.Progress
		started time.Duration // ago
		want    string
	}{
		{"not known", nil, time.Minute, ""},
		{"too early for a guess", &engine.Progress{Done: 10, Total: 100}, time.Second, "10%"},
		{"time left", &engine.Progress{Done: 25, Total: 100}, time.Minute, "25%, 3m0s left"},
		{"all", &engine.Progress{Done: 100, Total: 100}, time.Minute, "100%"},
		{"more than there was", &engine.Progress{Done: 120, Total: 100}, time.Minute, "100%"},
		{"behind", &engine.Progress{Lag: 12_345}, time.Minute, "12,345 behind"},
		{"neither size nor lag", &engine.Progress{Done: 12, Lag: -1}, time.Minute, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := view{now: noon}
			v.Started = noon.Add(-c.started)
			if got := v.progress(engine.NodeStatus{Progress: c.p}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Tasks report once a second, pictures are taken twice: a count that stands still
// for a picture is no rate of 0.
func TestRatesAreTakenBetweenReports(t *testing.T) {
	var r rates
	at := func(ms int, count uint64) float64 {
		t.Helper()
		s := engine.Status{Nodes: []engine.NodeStatus{{Name: "n", RecordsIn: count}}}
		return r.update(s, noon.Add(time.Duration(ms)*time.Millisecond))["n"]
	}
	for _, c := range []struct {
		ms    int
		count uint64
		want  float64
	}{
		{0, 0, 0}, {500, 0, 0}, {1000, 1000, 1000}, {1500, 1000, 1000}, {2000, 3000, 2000},
		{4000, 3000, 2000}, {4600, 3000, 0}, // stale
		{5000, 100, 0}, {6000, 200, 100}, // the counter began anew
	} {
		if got := at(c.ms, c.count); got != c.want {
			t.Errorf("at %dms with %d records: %v/s, want %v/s", c.ms, c.count, got, c.want)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for perSecond, want := range map[float64]string{
		0: "0/s", 12.4: "12/s", 999: "999/s", 999.9: "1.0 k/s", 4764: "4.8 k/s", 9_949: "9.9 k/s", 9_951: "10 k/s",
		68_000: "68 k/s", 999_499: "999 k/s", 999_600: "1.0 M/s", 2_640_000: "2.6 M/s", 12_300_000: "12 M/s",
	} {
		if got := rate(perSecond); got != want {
			t.Errorf("rate %v: %s, want %s", perSecond, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 1234 * time.Nanosecond: "1µs", 42_123 * time.Microsecond: "42ms", 1_234 * time.Millisecond: "1.23s",
		12_345 * time.Millisecond: "12.3s", 83_456 * time.Millisecond: "1m23s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("duration %d: %s, want %s", d, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	before := noon.Local()
	for _, c := range []struct {
		name   string
		change func(*Summary)
		want   string
	}{
		{"finished", func(*Summary) {}, `shop finished in 8.12s

node   component         records in        out    bytes  failed
───────────────────────────────────────────────────────────────────────────────
log    source file                   1,200,000  130 MiB
clean  operator expr ×4   1,199,000    900,000  129 MiB  3 skipped, 1 dead letter
out    sink file            899,000              89 MiB

exactly once: out
  100% of it is prepared

1,200,000 records read (148 k/s), 4 checkpoints
`},
		{"stopped, after troubles", func(s *Summary) {
			s.Outcome.Finished, s.Outcome.Uncommitted = false, []string{"this"}
			s.Status.Nodes = s.Status.Nodes[2:]
			s.Status.Completed, s.Status.Failed = 1, 2
			s.Status.Restarts = engine.RestartStatus{Total: 1, Cause: "plugin weir exited with status 2; its last output:\n    boom"}
			s.Status.Uncommitted = []engine.UncommittedStatus{{Sink: "out", Error: "disk is full"}}
			s.Status.Guarantees = append(s.Status.Guarantees,
				pipeline.SinkGuarantee{Sink: "copy", Guarantee: pipeline.GuaranteeExactlyOnce, Why: "100% of it is prepared"},
				pipeline.SinkGuarantee{Sink: "screen", Guarantee: pipeline.GuaranteeAtLeastOnce, Why: "it shows at once"},
				pipeline.SinkGuarantee{Sink: "none", Why: "it keeps nothing"})
		}, `shop stopped after 8.12s; run it again to resume

node  component  records in   bytes
───────────────────────────────────
out   sink file     899,000  89 MiB

exactly once: out, copy
  100% of it is prepared
at least once: screen
  it shows at once
no guarantee: none
  it keeps nothing

0 records read, 1 checkpoint, 2 more failed
1 restart from the last checkpoint, the last because plugin weir exited with status 2; its last output
some output is prepared but not yet published; the next run publishes it
out cannot publish: disk is full
`},
		{"finished before", func(s *Summary) { s.Outcome.Before = &before },
			"shop finished at " + before.Format(time.DateTime) + ": there is nothing to do. Use --fresh to start over.\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Summary{Status: busy(), Outcome: engine.Outcome{Finished: true}, Took: 8_123 * time.Millisecond}
			c.change(&s)
			var b bytes.Buffer
			if err := s.Text(&b); err != nil {
				t.Fatal(err)
			}
			// The rule is as long as the longest line.
			if got := b.String(); unruled(got) != unruled(c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func unruled(s string) string { return strings.ReplaceAll(s, "─", "") }

func TestSummaryAsJSON(t *testing.T) {
	var b bytes.Buffer
	s := Summary{Status: busy(), Outcome: engine.Outcome{Finished: true, Checkpoint: 4}, Took: 1500 * time.Millisecond}
	if err := s.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	for field, want := range map[string]any{"name": "shop", "state": "running", "finished": true, "checkpoint": 4.0, "seconds": 1.5, "checkpoints_completed": 4.0} {
		if got[field] != want {
			t.Errorf("%s is %v, not %v", field, got[field], want)
		}
	}
	if bytes.Count(b.Bytes(), []byte("\n")) != 1 {
		t.Errorf("more than a line: %s", &b)
	}
}

func TestWritingFails(t *testing.T) {
	full := errors.New("disk is full")
	if err := (Summary{Status: busy()}).Text(broken{full}); !errors.Is(err, full) {
		t.Errorf("text: %v", err)
	}
	if err := (Summary{Status: busy()}).JSON(broken{full}); !errors.Is(err, full) {
		t.Errorf("JSON: %v", err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestGuaranteesAreARowASink(t *testing.T) {
	got := Guarantees([]pipeline.SinkGuarantee{
		{Sink: "out", Guarantee: pipeline.GuaranteeExactlyOnce, Why: "good"},
		{Sink: "screen", Guarantee: pipeline.GuaranteeAtLeastOnce, Why: "shown at once"},
		{Sink: "x", Guarantee: pipeline.GuaranteeNone, Why: "nothing"},
	})
	want := "out     exactly once   good\nscreen  at least once  shown at once\nx       no guarantee   nothing"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestProgressHasThreeForms(t *testing.T) {
	for progress, want := range map[string]mode{"auto": modePlain, "plain": modePlain, "none": modeNone} {
		c, err := New(new(bytes.Buffer), progress) // no terminal
		if err != nil || c.mode != want {
			t.Errorf("%s: mode %v, %v", progress, c.mode, err)
		}
	}
	if _, err := New(os.Stderr, "loud"); err == nil || !strings.Contains(err.Error(), `"loud" is none of auto, plain, none`) {
		t.Errorf("got %v", err)
	}
}

func TestLogLinesGoAboveTheTable(t *testing.T) {
	var b bytes.Buffer
	c := &Console{w: &b, fd: -1, mode: modeTable}
	v := view{Status: busy(), now: noon}
	c.draw(v)
	if b.Len() == 0 || c.drawn != 6 {
		t.Fatalf("%d lines drawn:\n%s", c.drawn, &b)
	}
	b.Reset()
	slog.New(slog.NewTextHandler(c, nil)).Info("a line")
	if got := b.String(); !strings.HasPrefix(got, "\x1b[6A\x1b[Jtime=") || c.drawn != 0 {
		t.Errorf("got %q", got)
	}
	b.Reset()
	c.draw(v)
	c.draw(v)
	if got := strings.Count(b.String(), "\x1b["); got != 2 {
		t.Errorf("%d escapes: a picture erases the one before it:\n%q", got, b.String())
	}
	c.Plain()
	if c.mode != modePlain {
		t.Error("a table where a sink writes")
	}
}

func TestShowEndsWhenItIsStopped(t *testing.T) {
	var b bytes.Buffer
	for _, m := range []mode{modeNone, modePlain, modeTable} {
		c := &Console{w: &b, fd: -1, mode: m}
		stop := c.Show(busy, slog.New(slog.DiscardHandler))
		stop()
	}
	if b.Len() != 0 {
		t.Errorf("something is left: %q", &b)
	}
}

func TestWidthOfWhatIsNoTerminal(t *testing.T) {
	if IsTerminal(new(bytes.Buffer)) || Width(new(bytes.Buffer), 77) != 77 {
		t.Error("a buffer is no terminal")
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) || Width(f, 77) != 77 {
		t.Error("a file is no terminal")
	}
}

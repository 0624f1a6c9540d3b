package local_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// fakeEngine is an engine that does what a test says.
type fakeEngine struct {
	state  engine.State
	asked  chan string // savepoints and stops, as they begin
	answer chan error  // of each savepoint
	levels int         // how often they have changed
}

func (e *fakeEngine) Status() engine.Status {
	return engine.Status{Name: "p", State: e.state, Epoch: 1}
}
func (e *fakeEngine) Leader() engine.LeaderStatus {
	return engine.LeaderStatus{State: e.state, Epoch: 1}
}
func (e *fakeEngine) Tasks() []engine.TaskStatus     { return []engine.TaskStatus{{Node: "in"}} }
func (e *fakeEngine) UID() string                    { return "u" }
func (e *fakeEngine) Stop()                          { e.asked <- "stop" }
func (e *fakeEngine) LevelsChanged()                 { e.levels++ }
func (e *fakeEngine) Tap(string, string) *engine.Tap { return &engine.Tap{} } // nothing passes
func (e *fakeEngine) Untap(*engine.Tap)              { e.asked <- "untap" }
func (e *fakeEngine) Savepoint(ctx context.Context, name string) error {
	e.asked <- "savepoint " + name
	select {
	case err := <-e.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (e *fakeEngine) StopWithSavepoint(ctx context.Context, name string) error {
	e.asked <- "stop with " + name
	return <-e.answer
}

func running(t *testing.T) (*local.Running, *fakeEngine, *journal.Journal) {
	t.Helper()
	home, err := local.Open(t.Context(), t.TempDir(), "p", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &pipeline.Pipeline{Name: "p", Nodes: []*pipeline.Node{
		{Name: "in", ID: "in", Kind: pluginv1.Kind_KIND_SOURCE, Parallelism: 1},
	}}
	e := &fakeEngine{state: engine.StateRunning, asked: make(chan string, 10), answer: make(chan error, 10)}
	j := journal.New(100, slog.LevelInfo)
	return home.NewRunning(p, e, j), e, j
}

func code(err error) api.Code {
	var p *api.Problem
	errors.As(err, &p)
	if p == nil {
		return ""
	}
	return p.Code
}

func TestOnePipelineIsChangedByOneCommandAtATime(t *testing.T) {
	r, e, _ := running(t)
	first := make(chan error, 1)
	go func() {
		_, err := r.Savepoint(t.Context(), "p", api.SavepointRequest{Name: "a"})
		first <- err
	}()
	if got := <-e.asked; got != "savepoint a" {
		t.Fatal(got)
	}
	_, err := r.Savepoint(t.Context(), "p", api.SavepointRequest{Name: "b"})
	if code(err) != api.CodeConflict || !strings.Contains(err.Error(), "p is making savepoint a since") {
		t.Errorf("a second savepoint: %v", err)
	}
	if _, err := r.Stop(t.Context(), "p", api.StopRequest{}); code(err) != api.CodeConflict {
		t.Errorf("a stop: %v", err)
	}
	e.answer <- engine.ErrNotRunning
	if err := <-first; code(err) != api.CodeNotRunning {
		t.Errorf("the first: %v", err)
	}
	// Its turn is over.
	go func() {
		_, err := r.Stop(t.Context(), "p", api.StopRequest{})
		first <- err
	}()
	if got := <-e.asked; got != "stop" {
		t.Fatal(got)
	}
	if _, err := r.Stop(t.Context(), "p", api.StopRequest{}); code(err) != api.CodeConflict || !strings.Contains(err.Error(), "is being stopped by another command") {
		t.Errorf("a second stop: %v", err)
	}
	r.End(engine.Outcome{Checkpoint: 7})
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Who asked for a savepoint may leave: it goes on, and holds its turn until it ends.
func TestASavepointGoesOnWhenItsClientLeaves(t *testing.T) {
	r, e, _ := running(t)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := r.Savepoint(ctx, "p", api.SavepointRequest{Name: "a"})
		left <- err
	}()
	<-e.asked
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := r.Savepoint(t.Context(), "p", api.SavepointRequest{Name: "b"}); code(err) != api.CodeConflict {
		t.Errorf("another, meanwhile: %v", err)
	}
	e.answer <- nil
	e.answer <- errors.New("the disk is full")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := r.Savepoint(t.Context(), "p", api.SavepointRequest{Name: "b"})
		if code(err) == api.CodeSavepointFailed && strings.Contains(err.Error(), "the disk is full") {
			break
		}
		if code(err) != api.CodeConflict || time.Now().After(deadline) {
			t.Fatalf("another, afterwards: %v", err)
		}
	}
}

func TestWhatDoesNotRunIsNotChanged(t *testing.T) {
	for _, c := range []struct {
		state engine.State
		stop  api.Code // "": it can be stopped
	}{
		{engine.StateRestoring, ""},
		{engine.StateWaiting, ""},
		{engine.StateFinished, api.CodeNotRunning},
		{engine.StateFailed, api.CodeNotRunning},
	} {
		r, e, _ := running(t)
		e.state = c.state
		if _, err := r.Savepoint(t.Context(), "p", api.SavepointRequest{}); code(err) != api.CodeNotRunning {
			t.Errorf("%s: savepoint: %v", c.state, err)
		}
		r.End(engine.Outcome{})
		if _, err := r.Stop(t.Context(), "p", api.StopRequest{}); code(err) != c.stop {
			t.Errorf("%s: stop: %v", c.state, err)
		}
		if _, err := r.Stop(t.Context(), "q", api.StopRequest{}); code(err) != api.CodePipelineNotFound {
			t.Errorf("another pipeline: %v", err)
		}
	}
}

func TestASavepointThatFailsSaysWhy(t *testing.T) {
	for err, want := range map[error]api.Code{
		checkpoint.ErrStopped:         api.CodeSavepointFailed,
		checkpoint.ErrSavepointExists: api.CodeSavepointExists,
		errors.New("something else"):  api.CodeSavepointFailed,
	} {
		r, e, _ := running(t)
		e.answer <- fmt.Errorf("savepoint a: %w", err)
		if _, got := r.Savepoint(t.Context(), "p", api.SavepointRequest{Name: "a"}); code(got) != want {
			t.Errorf("%v: %v", err, got)
		}
		// A stop that cannot keep its savepoint stops nothing.
		e.answer <- fmt.Errorf("savepoint a: %w", err)
		if _, got := r.Stop(t.Context(), "p", api.StopRequest{Savepoint: "a"}); code(got) != want {
			t.Errorf("%v: stop: %v", err, got)
		}
	}
}

func TestALogLevelIsThatOfJournalAndTasks(t *testing.T) {
	r, e, j := running(t)
	log := slog.New(j.Handler(slog.DiscardHandler))
	if err := r.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Node: "in", Level: "debug"}); err != nil {
		t.Fatal(err)
	}
	log.Debug("of in", "node", "in")
	log.Debug("of the host")
	var got []string
	for record, err := range r.Logs(t.Context(), "p", api.LogQuery{Tail: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, record.Level+" "+record.Message)
	}
	if fmt.Sprint(got) != "[debug of in]" || e.levels != 1 {
		t.Errorf("%q, the tasks were told %d times", got, e.levels)
	}
	s, err := r.Status(t.Context(), "p")
	if err != nil || s.LogLevels == nil || fmt.Sprint(*s.LogLevels) != "{ map[in:debug]}" {
		t.Errorf("the status says %v, %v", s.LogLevels, err)
	}
	if err := r.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Level: "default"}); err != nil {
		t.Fatal(err)
	}
	if s, err = r.Status(t.Context(), "p"); err != nil || s.LogLevels != nil || log.With("node", "in").Enabled(t.Context(), slog.LevelDebug) {
		t.Errorf("the status says %v, %v", s.LogLevels, err)
	}
	if err := r.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Node: "out", Level: "debug"}); code(err) != api.CodeNodeNotFound {
		t.Error(err)
	}
}

func TestATapEndsWithTheRun(t *testing.T) {
	r, e, _ := running(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range r.Tap(t.Context(), "p", api.TapQuery{}) {
			t.Error("nothing passes, and something is shown")
		}
	}()
	r.End(engine.Outcome{})
	if asked := <-e.asked; asked != "untap" {
		t.Error(asked)
	}
	<-ended
}

func TestReadinessIsThatOfThePipeline(t *testing.T) {
	r, e, _ := running(t)
	if err := r.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	e.state = engine.StateRestoring
	if err := r.Ready(t.Context()); err == nil || err.Error() != "p is restoring" {
		t.Error(err)
	}
}

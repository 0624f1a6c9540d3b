package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// store is what a test's sink writes to: parts under names that carry the epoch.
type store struct {
	mu        sync.Mutex
	hidden    map[string][]string
	published map[string][]string
	withdrawn uint64 // checkpoint
	kept      []part // of the last Sweep
	restored  uint64 // checkpoint of the last task
}

func newStore() *store {
	return &store{hidden: map[string][]string{}, published: map[string][]string{}}
}

// visible returns all that is published, by name.
func (s *store) visible() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.published)) {
		all = append(all, s.published[name]...)
	}
	return all
}

type partsConfig struct {
	RollAt int `weir:"roll_at" default:"2"`
}

// parts is a two-phase sink whose parts hold roll_at records, the last one fewer.
type parts struct {
	store *store
	cfg   *partsConfig
	task  *sdk.Task
	open  part // not yet full
	n     int
	full  []part
	due   bool
}

// part is a committable and writer state at once.
type part struct {
	Name  string   `json:"name"`
	Lines []string `json:"lines,omitempty"`
}

func (p *parts) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	for r := range in.All() {
		switch v := string(r.Value()); v {
		case "":
			failed.Fail(r, errors.New("empty"))
			continue
		case "broken":
			return errors.New("broken")
		case "due":
			p.due = true
		}
		p.open.Lines = append(p.open.Lines, string(r.Value()))
		if len(p.open.Lines) >= p.cfg.RollAt {
			p.roll()
		}
	}
	return nil
}

func (p *parts) roll() {
	if len(p.open.Lines) == 0 {
		return
	}
	p.n++
	p.open.Name = fmt.Sprintf("%02d-%02d-%02d", p.task.Epoch, p.task.Index, p.n)
	p.full = append(p.full, p.open)
	p.open = part{}
}

func (p *parts) Flush(context.Context) error { return nil }

func (p *parts) Prepare(_ context.Context, c sdk.Checkpoint) ([]part, error) {
	if c.Roll || c.Final {
		p.roll()
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	var prepared []part
	for _, f := range p.full {
		p.store.hidden[f.Name] = f.Lines
		prepared = append(prepared, part{Name: f.Name})
	}
	p.full = nil
	return prepared, nil
}

func (p *parts) WriterState(context.Context) ([]part, error) {
	if len(p.open.Lines) == 0 {
		return nil, nil
	}
	return []part{p.open}, nil
}

func (p *parts) Due() bool    { return p.due }
func (p *parts) Close() error { return nil }

type publisher struct{ store *store }

func (p *publisher) Commit(_ context.Context, prepared []part) error {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	for _, part := range prepared {
		lines, ok := p.store.hidden[part.Name]
		if !ok {
			if _, done := p.store.published[part.Name]; !done {
				return sdk.Fatal(fmt.Errorf("part %s is lost", part.Name))
			}
			continue
		}
		p.store.published[part.Name] = lines
		delete(p.store.hidden, part.Name)
	}
	return nil
}

func (p *publisher) Sweep(_ context.Context, s sdk.Sweep) error {
	kept, err := sdk.KeptWriterState[part](s)
	if err != nil {
		return err
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.kept = kept
	if s.Retract {
		p.store.withdrawn = s.RestoredCheckpoint
	}
	for _, g := range s.Earlier {
		for name := range p.store.hidden {
			if strings.HasPrefix(name, fmt.Sprintf("%02d-", g.Epoch)) {
				delete(p.store.hidden, name)
			}
		}
	}
	return nil
}

func (p *publisher) Close() error { return nil }

func partsComponent(s *store) sdk.Component {
	return sdk.NewTwoPhaseSink("parts", "Parts in memory.",
		func(_ context.Context, cfg *partsConfig, t *sdk.Task) (*parts, error) {
			p := &parts{store: s, cfg: cfg, task: t}
			s.restored = t.RestoredCheckpoint
			kept, err := sdk.RestoredWriterState[part](t)
			if err != nil {
				return nil, err
			}
			for _, k := range kept {
				p.open.Lines = append(p.open.Lines, k.Lines...)
			}
			return p, nil
		},
		func(_ context.Context, _ *partsConfig, n *sdk.Node) (*publisher, error) { return &publisher{s}, nil },
		sdk.Retract())
}

func TestWriterStateIsFoundBehindAnInterface(t *testing.T) {
	s := newStore()
	c := sdk.NewTwoPhaseSink("parts", "",
		func(_ context.Context, cfg *partsConfig, t *sdk.Task) (sdk.TwoPhase[part], error) {
			return &parts{store: s, cfg: cfg, task: t}, nil
		},
		func(_ context.Context, _ *partsConfig, _ *sdk.Node) (*publisher, error) { return &publisher{s}, nil })
	sink := sdktest.NewSink(t, c, nil)
	sink.Write(sdktest.Values("a")...)
	if c, _ := sink.Checkpoint(); len(c.WriterState) != 1 {
		t.Errorf("the checkpoint holds %s", c.WriterState)
	}
}

func sees(t *testing.T, s *store, want ...string) {
	t.Helper()
	if got := s.visible(); !slices.Equal(got, want) {
		t.Errorf("visible: %q, want %q", got, want)
	}
}

func TestOnlyCommittedOutputIsSeen(t *testing.T) {
	s := newStore()
	sink := sdktest.NewSink(t, partsComponent(s), nil)
	sink.Write(sdktest.Values("a", "b", "c")...)
	c, _ := sink.Checkpoint()
	if got := fmt.Sprintf("%s %s", c.Committables, c.WriterState); got != `[{"name":"01-00-01"}] [{"name":"","lines":["c"]}]` {
		t.Errorf("the checkpoint holds %s", got)
	}
	sees(t, s)
	sink.Commit(c)
	sink.Commit(c)
	sees(t, s, "a", "b")
	end, _ := sink.End()
	sink.Commit(end)
	sees(t, s, "a", "b", "c")
}

func TestACheckpointCommitsWhatEarlierOnesPrepared(t *testing.T) {
	s := newStore()
	sink := sdktest.NewSink(t, partsComponent(s), nil)
	sink.Write(sdktest.Values("a", "b")...)
	sink.Checkpoint() // its record is never written
	sink.Write(sdktest.Values("c", "d")...)
	c, _ := sink.Checkpoint()
	sink.Commit(c)
	sees(t, s, "a", "b", "c", "d")
}

func TestRestartGoesOnFromACheckpoint(t *testing.T) {
	s := newStore()
	sink := sdktest.NewSink(t, partsComponent(s), nil)
	sink.Write(sdktest.Values("a", "b", "c")...)
	c, _ := sink.Checkpoint() // not committed before the failure
	sink.Write(sdktest.Values("d", "e")...)
	sink.Checkpoint() // never recorded: swept
	sink = sink.Restart(c)
	sees(t, s, "a", "b")
	if len(s.hidden) > 0 {
		t.Errorf("left behind: %v", s.hidden)
	}
	if want := []part{{Lines: []string{"c"}}}; !reflect.DeepEqual(s.kept, want) {
		t.Errorf("Sweep was told to keep %v, want %v", s.kept, want)
	}
	if s.restored != c.Number {
		t.Errorf("the task was restored from checkpoint %d, not %d", s.restored, c.Number)
	}
	sink.Write(sdktest.Values("d", "e")...)
	end, _ := sink.End()
	sink.Commit(end)
	sees(t, s, "a", "b", "c", "d", "e")

	sink = sink.Restart(nil)
	sink.Write(sdktest.Values("from the start")...)
	roll, _ := sink.Roll()
	if len(roll.WriterState) > 0 {
		t.Errorf("a roll leaves %s unfinished", roll.WriterState)
	}
	sink.Commit(roll)
	sees(t, s, "a", "b", "c", "d", "e", "from the start")
}

func TestAPausedWriterThatWakesChangesNothing(t *testing.T) {
	s := newStore()
	old := sdktest.NewSink(t, partsComponent(s), nil)
	old.Write(sdktest.Values("a", "b")...)
	c, _ := old.Checkpoint()
	sink := old.Overtake(c)
	old.Write(sdktest.Values("zombie", "zombie")...)
	late, _ := old.Checkpoint()
	if err := old.CommitError(late); err == nil {
		t.Error("a process of an older epoch commits")
	}
	sink.Write(sdktest.Values("c", "d")...)
	end, _ := sink.End()
	sink.Commit(end)
	sees(t, s, "a", "b", "c", "d")
}

func TestRetractIsTold(t *testing.T) {
	s := newStore()
	sink := sdktest.NewSink(t, partsComponent(s), nil)
	sink.Write(sdktest.Values("a", "b")...)
	first, _ := sink.Checkpoint()
	sink.Commit(first)
	sink.Retract(first)
	if s.withdrawn != first.Number {
		t.Errorf("withdrawn since %d", s.withdrawn)
	}
}

func TestSinkFailuresAndErrors(t *testing.T) {
	s := newStore()
	sink := sdktest.NewSink(t, partsComponent(s), nil)
	failed := sink.Write(sdktest.Values("a", "", "b")...)
	if len(failed) != 1 || failed[0].Err != "empty" {
		t.Errorf("got %+v", failed)
	}
	if err := sink.WriteError(sdktest.Values("broken")...); !strings.Contains(err.Error(), `Write of component "parts": broken`) {
		t.Errorf("got %v", err)
	}
	sink = sink.Restart(nil)
	sink.Write(sdktest.Values("c", "d")...)
	c, _ := sink.Checkpoint()
	clear(s.hidden)
	var lost *sdktest.Error
	if err := sink.CommitError(c); !errors.As(err, &lost) || !lost.Fatal || !strings.Contains(lost.Message, "is lost") {
		t.Errorf("got %v", err)
	}
}

// async is a plain sink that writes after the call.
type async struct {
	mu      sync.Mutex
	pending sync.WaitGroup
	wrote   []string
}

func (a *async) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	in.Hold()
	a.pending.Go(func() {
		defer in.Release()
		a.mu.Lock()
		defer a.mu.Unlock()
		for r := range in.All() {
			if string(r.Value()) == "bad" {
				failed.Fail(r, errors.New("late"))
				continue
			}
			a.wrote = append(a.wrote, string(r.Value()))
		}
	})
	return nil
}

func (a *async) Flush(context.Context) error { a.pending.Wait(); return nil }
func (a *async) Close() error                { a.pending.Wait(); return nil }

func TestAsynchronousSinksHoldBatchesAndFailLate(t *testing.T) {
	a := &async{}
	c := sdk.NewSink("async", "", func(context.Context, *struct{}, *sdk.Task) (*async, error) { return a, nil })
	sink := sdktest.NewSink(t, c, nil)
	early := sink.Write(sdktest.Values("a", "bad", "b")...)
	checkpoint, late := sink.Checkpoint()
	if all := append(early, late...); len(all) != 1 || all[0].Err != "late" {
		t.Errorf("failed: %+v", all)
	}
	if checkpoint.Committables != nil || !reflect.DeepEqual(a.wrote, []string{"a", "b"}) {
		t.Errorf("wrote %q, prepared %s", a.wrote, checkpoint.Committables)
	}
	sink.Restart(checkpoint).Write(sdktest.Values("c")...)
}

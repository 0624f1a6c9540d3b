package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/peer"
)

// newStore is a session with an empty store.
func newStore(t *testing.T) coordination.Store {
	t.Helper()
	db, err := embedded.Open(filepath.Join(t.TempDir(), "weir.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := db.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// await waits for what must come.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// submitted is a pipeline with these nodes that nobody runs, and the API of a host.
func submitted(t *testing.T, s coordination.Store, nodes ...string) *API {
	t.Helper()
	p := engine.Topology{Name: "p"}
	for _, name := range nodes {
		p.Nodes = append(p.Nodes, engine.TopologyNode{ID: name, Name: name})
	}
	if _, err := NewClient(s).Submit(t.Context(), Spec{Topology: p}, false); err != nil {
		t.Fatal(err)
	}
	return &API{Node: &Node{store: s}}
}

func code(err error) api.Code {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func TestLogLevelsAreSetThroughAnyHost(t *testing.T) {
	s := newStore(t)
	a := submitted(t, s, "in", "out")
	other := &API{Node: &Node{store: s}}
	said := func() string {
		t.Helper()
		status, err := other.Status(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		if status.LogLevels == nil {
			return "nothing"
		}
		return fmt.Sprint(*status.LogLevels)
	}
	for _, c := range []struct{ node, level, want string }{
		{"in", "debug", "{ map[in:debug]}"},
		{"out", "error", "{ map[in:debug out:error]}"},
		{"in", "default", "{ map[out:error]}"},
		{"", "warn", "{warn map[]}"},
		{"", "default", "nothing"},
	} {
		if err := a.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Node: c.node, Level: c.level}); err != nil {
			t.Fatal(err)
		}
		if got := said(); got != c.want {
			t.Errorf("%s of %q: the status says %s, want %s", c.level, c.node, got, c.want)
		}
	}
	for _, c := range []struct {
		name string
		r    api.LogLevelRequest
		want api.Code
	}{
		{"p", api.LogLevelRequest{Node: "nowhere", Level: "debug"}, api.CodeNodeNotFound},
		{"q", api.LogLevelRequest{Level: "debug"}, api.CodePipelineNotFound},
		{"p", api.LogLevelRequest{Level: "loud"}, api.CodeInvalidRequest},
	} {
		if err := a.SetLogLevel(t.Context(), c.name, c.r); code(err) != c.want {
			t.Errorf("%+v of %s: %v", c.r, c.name, err)
		}
	}
	// Of one that is deleted nothing is left behind.
	if err := NewClient(s).SetLogLevel(t.Context(), "q", "", nil); !errors.Is(err, ErrNoPipeline) {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), "pipelines/q"); !errors.Is(err, coordination.ErrNotFound) {
		t.Errorf("pipelines/q: %v", err)
	}
}

func TestLevelsThatAreSetAtOnceAllHold(t *testing.T) {
	s := newStore(t)
	var nodes []string
	for i := range 8 {
		nodes = append(nodes, fmt.Sprint("n", i))
	}
	a := submitted(t, s, nodes...)
	var group sync.WaitGroup
	for _, n := range nodes {
		group.Go(func() {
			if err := a.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Node: n, Level: "debug"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	p, err := NewClient(s).Pipeline(t.Context(), "p")
	if err != nil || len(p.LogLevels.Nodes) != len(nodes) {
		t.Errorf("%v, %v", p.LogLevels, err)
	}
}

// A host with a part in a pipeline logs what was set before it came, what is set then,
// and its own level again when it has no part any more.
func TestAHostWithAPartFollowsTheLevels(t *testing.T) {
	s := newStore(t)
	a := submitted(t, s, "in", "out")
	set := func(node, level string) {
		t.Helper()
		if err := a.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Node: node, Level: level}); err != nil {
			t.Fatal(err)
		}
	}
	j := journal.New(10, slog.LevelInfo)
	log := slog.New(j.Handler(slog.DiscardHandler))
	enabled := func() string {
		var on []string
		for _, node := range []string{"in", "out"} {
			if log.With("pipeline", "p", "node", node).Enabled(t.Context(), slog.LevelDebug) {
				on = append(on, node)
			}
		}
		return strings.Join(on, " ")
	}
	set("in", "debug")
	if got := enabled(); got != "" {
		t.Errorf("a host without a part logs %s", got)
	}
	agent := newAgent(s, peer.Identity{Host: "a", Instance: "1"}, nil, log, &lapses{})
	agent.journal = j
	f := &follower{agent: agent, name: "p", log: log, ledger: checkpoint.NewLedger(s, nil, "p")}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.follow(ctx)
	}()
	await(t, "what was set before holds", func() bool { return enabled() == "in" })
	set("", "debug")
	await(t, "what is set then holds", func() bool { return enabled() == "in out" })
	set("", "default")
	await(t, "what is taken back is gone", func() bool { return enabled() == "" })
	set("out", "debug")
	await(t, "and set again", func() bool { return enabled() == "out" })
	cancel()
	<-done
	if got := enabled(); got != "" {
		t.Errorf("without a part it logs %s", got)
	}
}

//go:build linux

package clustertest

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/sdk"
)

// chatter passes records on and says so at level debug.
type chatter struct {
	passer
	log *slog.Logger
}

func newChatter(_ context.Context, _ *struct{}, t *sdk.Task) (chatter, error) {
	return chatter{log: t.Log}, nil
}

func (c chatter) Process(ctx context.Context, in *sdk.Batch, out *sdk.Collector) error {
	c.log.Debug("chats")
	return c.passer.Process(ctx, in, out)
}

// TestALogLevelGoesWithThePipeline: what is set through one host holds for the tasks
// on all of them, and for those that go to another one later.
func TestALogLevelGoesWithThePipeline(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.level = slog.LevelInfo
	l.give(submitter)
	for _, id := range []string{"a", "b", "c"} {
		l.give(id)
	}
	a, b := l.start("a", 3), l.start("b", 3)
	l.submit(strings.NewReplacer("operator: expr", "operator: acme/chat", ", config: {filter: 'true'}", "").Replace(l.generated("p", 1_000_000, 200, 2)))
	l.awaitState("p", engine.StateRunning)
	chats := func(h *host) bool {
		for r := range h.journal.Read(t.Context(), journal.Query{Level: slog.LevelDebug, Tail: -1}) {
			if r.Level < slog.LevelInfo && r.Node != "mid" {
				t.Fatalf("host %s logs more than was asked for: %+v", h.id, r)
			}
			if r.Message == "chats" {
				return true
			}
		}
		return false
	}
	set := func(level string) {
		t.Helper()
		through := &cluster.API{Node: a.node}
		if err := through.SetLogLevel(t.Context(), "p", api.LogLevelRequest{Node: "mid", Level: level}); err != nil {
			t.Fatal(err)
		}
	}
	if chats(a) || chats(b) {
		t.Error("the tasks chat before they are asked to")
	}
	set("debug")
	l.await("the tasks of both hosts chat", func() bool { return chats(a) && chats(b) })
	l.crash(b)
	c := l.start("c", 3)
	l.await("those of the host that takes over chat", func() bool { return chats(c) })
	set("default")
	l.await("they are quiet", func() bool {
		log := slog.New(c.journal.Handler(slog.DiscardHandler)).With("pipeline", "p", "node", "mid")
		return !log.Enabled(t.Context(), slog.LevelDebug)
	})
}

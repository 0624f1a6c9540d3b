package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/host/journal"
)

// all reads what a journal keeps.
func all(j *journal.Journal, q journal.Query) (messages []string) {
	for r := range j.Read(context.Background(), q) {
		messages = append(messages, r.Message)
	}
	return messages
}

var everything = journal.Query{Level: slog.LevelDebug, Tail: -1}

func TestTheNewestRecordsAreKeptAndHandedOn(t *testing.T) {
	j := journal.New(3, slog.LevelInfo)
	var next bytes.Buffer
	log := slog.New(j.Handler(slog.NewTextHandler(&next, nil)))
	for i := range 5 {
		log.Info(fmt.Sprint(i))
	}
	if got := all(j, everything); fmt.Sprint(got) != "[2 3 4]" {
		t.Errorf("kept: %v", got)
	}
	if n := strings.Count(next.String(), "\n"); n != 5 {
		t.Errorf("%d were handed on", n)
	}
}

func TestAQueryPicks(t *testing.T) {
	j := journal.New(10, slog.LevelDebug)
	log := slog.New(j.Handler(slog.DiscardHandler))
	log.Info("host")
	log.With("node", "a").Warn("a warns")
	log.Debug("a debugs", "node", "a")
	log.Error("b fails", "node", "b")
	for _, c := range []struct {
		q    journal.Query
		want string
	}{
		{everything, "[host a warns a debugs b fails]"},
		{journal.Query{Level: slog.LevelWarn, Tail: -1}, "[a warns b fails]"},
		{journal.Query{Node: "a", Level: slog.LevelDebug, Tail: -1}, "[a warns a debugs]"},
		{journal.Query{Node: "a", Level: slog.LevelDebug, Tail: 1}, "[a debugs]"},
		{journal.Query{Level: slog.LevelDebug, Tail: 0}, "[]"},
	} {
		if got := fmt.Sprint(all(j, c.q)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.q, got, c.want)
		}
	}
}

func TestLevelsChangeNodeByNode(t *testing.T) {
	j := journal.New(10, slog.LevelInfo)
	log := slog.New(j.Handler(slog.DiscardHandler))
	a, b := log.With("node", "a"), log.With("node", "b")
	seen := 0
	say := func() string {
		log.Debug("host")
		a.Debug("a")
		b.Debug("b")
		got := all(j, everything)[seen:]
		seen += len(got)
		return fmt.Sprint(got)
	}
	if got := say(); got != "[]" {
		t.Error(got)
	}
	set := journal.Levels{}
	change := func(node string, level slog.Level) {
		set = set.With(node, &level)
		j.SetLevels("", set)
	}
	change("a", slog.LevelDebug)
	if got := say(); got != "[a]" {
		t.Error(got)
	}
	change("", slog.LevelDebug)
	change("b", slog.LevelError)
	if got := say(); got != "[host a]" {
		t.Error(got)
	}
	change("b", slog.LevelError)
	change("", slog.LevelDebug) // for all
	if got := say(); got != "[host a b]" {
		t.Error(got)
	}
}

// What is set for one pipeline is nothing to another, and who asks whether a level is
// logged is told so from what is known.
func TestLevelsAreOfOnePipeline(t *testing.T) {
	j := journal.New(10, slog.LevelInfo)
	log := slog.New(j.Handler(slog.DiscardHandler))
	p, other := log.With("pipeline", "p"), log.With("pipeline", "other")
	debug, warn := slog.LevelDebug, slog.LevelWarn
	enabled := func() string {
		got := ""
		for _, l := range []*slog.Logger{log, p, p.With("node", "a"), p.With("node", "b"), other, other.With("node", "a"), log.With("node", "a"), log.With("node", "b")} {
			got += map[bool]string{true: "x", false: "-"}[l.Enabled(t.Context(), slog.LevelDebug)]
		}
		return got
	}
	seen := 0
	say := func() string {
		p.Debug("p")
		p.With("node", "a").Debug("a")
		p.Info("b", "node", "b")
		other.Debug("other", "node", "a")
		got := all(j, everything)[seen:]
		seen += len(got)
		return fmt.Sprint(got)
	}
	for _, c := range []struct {
		levels          journal.Levels
		said, lowDetail string
	}{
		{journal.Levels{}, "[b]", "--------"},
		{journal.Levels{}.With("a", &debug), "[a b]", "xxx---x-"},
		{journal.Levels{}.With("", &debug), "[p a b]", "xxxx--xx"},
		{journal.Levels{}.With("", &debug).With("b", &warn), "[p a]", "xxx---x-"},
		{journal.Levels{}.With("a", &debug).With("a", nil), "[b]", "--------"},
		{journal.Levels{}.With("a", &debug).With("", &warn), "[]", "--------"},
	} {
		j.SetLevels("p", c.levels)
		if got := enabled(); got != c.lowDetail {
			t.Errorf("%v: enabled %s, want %s", c.levels, got, c.lowDetail)
		}
		if got := say(); got != c.said {
			t.Errorf("%v: %s, want %s", c.levels, got, c.said)
		}
	}
}

type stringer struct{}

func (stringer) String() string { return "i am" }

func TestARecordIsKeptAsJSONHasIt(t *testing.T) {
	j := journal.New(10, slog.LevelInfo)
	log := slog.New(j.Handler(slog.DiscardHandler)).With("node", "a", "epoch", 3).WithGroup("g")
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	log.Info("m", "n", uint64(1), "f", 0.5, "nan", math.NaN(), "b", true, "at", at, "took", time.Second,
		"error", errors.New("no"), "s", stringer{}, "nothing", nil, slog.Group("h", "x", 1), "long", strings.Repeat("é", 1<<20))
	slog.New(j.Handler(slog.DiscardHandler)).Info("m", "task", 2, "plugin", "p")
	var got []journal.Record
	for r := range j.Read(t.Context(), everything) {
		got = append(got, r)
	}
	long := got[0].Attributes["g.long"].(string)
	delete(got[0].Attributes, "g.long")
	want := map[string]any{
		"epoch": int64(3), "g.n": uint64(1), "g.f": 0.5, "g.nan": "NaN", "g.b": true, "g.at": "2026-01-02T03:04:05.000000006Z", "g.took": "1s",
		"g.error": "no", "g.s": "i am", "g.nothing": nil, "g.h.x": int64(1),
	}
	if !reflect.DeepEqual(got[0].Attributes, want) || got[0].Node != "a" {
		t.Errorf("%#v", got[0])
	}
	if len(long) > 9<<10 || !strings.HasSuffix(long, "é...") {
		t.Errorf("%d bytes of a long one", len(long))
	}
	if got[1].Task != "2" || got[1].Plugin != "p" || got[1].Attributes != nil {
		t.Errorf("%#v", got[1])
	}
}

// A reader that does not come after holds nobody up, and learns what it missed.
func TestASlowReaderMissesRecordsAndIsToldHowMany(t *testing.T) {
	j := journal.New(10, slog.LevelInfo)
	log := slog.New(j.Handler(slog.DiscardHandler))
	log.Info("first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := everything
	q.Follow = true
	var got []string
	for r, missed := range j.Read(ctx, q) {
		got = append(got, fmt.Sprint(missed, " ", r.Message))
		switch r.Message {
		case "first":
			for i := range 25 {
				log.Info(fmt.Sprint(i))
			}
		case "24":
			cancel()
		}
	}
	if len(got) != 11 || got[1] != "15 15" || got[2] != "0 16" || got[10] != "0 24" {
		t.Errorf("%q", got)
	}
}

func TestReadersAndWritersAtOnce(t *testing.T) {
	j := journal.New(16, slog.LevelInfo)
	log := slog.New(j.Handler(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			q := everything
			q.Follow = true
			for range j.Read(ctx, q) {
			}
		})
		writers.Go(func() {
			for i := range 1000 {
				log.Info("x", "node", fmt.Sprint(i%3))
				j.SetLevels(fmt.Sprint(i%3), journal.Levels{}.With("", new(slog.Level)))
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
}

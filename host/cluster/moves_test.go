package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// stage has a pipeline p that was stopped at checkpoint 1, in which its source, called
// in with the id source, reads the splits a and b.
type stage struct {
	*testing.T
	store  coordination.Store
	st     *storage.Storage
	api    *API
	client *Client
	first  checkpoint.Record
}

func newStage(t *testing.T) *stage {
	t.Helper()
	url := "file://" + t.TempDir()
	st, err := storage.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stage{T: t, store: newStore(t), st: st}
	s.client = NewClient(s.store)
	log := slog.New(slog.DiscardHandler)
	s.api = &API{Node: &Node{store: s.store}, Library: &Library{StorageURL: url, Log: log}}
	p := engine.Topology{Name: "p", Nodes: []engine.TopologyNode{{ID: "source", Name: "in"}}}
	_, err = s.client.Submit(t.Context(), Spec{Topology: p}, false)
	s.must(err)
	lead, err := coordination.Campaign(t.Context(), s.store, leaderName, nil)
	s.must(err)
	ledger := checkpoint.NewLedger(s.store, lead, "p")
	h, err := ledger.Begin(t.Context(), checkpoint.Generation{})
	s.must(err)
	pending, err := ledger.Open(t.Context(), checkpoint.Pending{ID: "x", Epoch: h.Lineage.Epoch, OpenedAt: time.Now()})
	s.must(err)
	split := func(id string) *pluginv1.Entry {
		return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_SPLIT, Id: id, Content: &pluginv1.Entry_Payload{Payload: []byte(`{"ordinal":0,"split":{"file":"` + id + `"},"position":{"at":5}}`)}}
	}
	node := checkpoint.NodeState{
		Name: "source", Parallelism: 1, Enumerator: &checkpoint.TaskState{},
		Tasks: []checkpoint.TaskState{{Entries: checkpoint.Entries{split("a"), split("b")}}},
	}
	stored := checkpoint.StoreManifest(t.Context(), st, checkpoint.Manifest{Pipeline: "p", UID: h.Lineage.UID, N: pending.N, Epoch: pending.Epoch},
		[]checkpoint.Ack{{Host: "a", N: pending.N, Nodes: []checkpoint.NodeState{node}}})
	s.must(stored.Err)
	s.first = checkpoint.Record{N: pending.N, UID: h.Lineage.UID, Epoch: pending.Epoch, Manifest: stored.Manifest, State: checkpoint.Running, Bytes: stored.Bytes}
	s.must(ledger.Write(t.Context(), s.first))
	s.must(s.client.Stop(t.Context(), "p", ""))
	s.must(coordination.Put(t.Context(), s.store, statusPath("p"), encode(Status{
		LeaderStatus: engine.LeaderStatus{State: engine.StateStopped}, Desired: 2, Spec: 1,
	})))
	s.must(lead.Resign(t.Context()))
	return s
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// lead lets a leader look after the pipeline, for which there is no host, until the
// test ends.
func (s *stage) lead() {
	s.Helper()
	lead, err := coordination.Campaign(s.Context(), s.store, leaderName, nil)
	s.must(err)
	log := slog.New(slog.DiscardHandler)
	l := &leadership{
		host: "a", store: s.store, lead: lead, registry: newRegistry(), board: newBoard(), rifts: newRifts(log), log: log,
		storage: func(context.Context, Spec) (*storage.Storage, func(), error) { return s.st, func() {}, nil },
		settle:  time.Minute, jobs: map[string]*job{}, touch: map[string]chan struct{}{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.run(ctx)
	}()
	s.Cleanup(func() {
		cancel()
		<-done
		if err := lead.Resign(context.Background()); err != nil {
			s.Error(err)
		}
	})
}

// stands says where the source goes on, and since which checkpoint.
func (s *stage) stands() string {
	s.Helper()
	all, err := s.api.Offsets(s.Context(), "p", "in", "")
	s.must(err)
	var out []string
	for _, o := range all {
		out = append(out, o.Split+"="+string(o.Position))
	}
	return fmt.Sprint(s.newest().N, ": ", strings.Join(out, " "))
}

func (s *stage) newest() checkpoint.Record {
	s.Helper()
	h, err := checkpoint.NewLedger(s.store, nil, "p").Load(s.Context())
	s.must(err)
	return *h.Newest()
}

func (s *stage) ended() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	_, err := s.client.Await(ctx, "p", Pipeline.Ended)
	s.must(err)
}

// nothingAsked checks that no wish is left behind.
func (s *stage) nothingAsked() {
	s.Helper()
	left, err := s.store.Children(s.Context(), movesDir("p"))
	s.must(err)
	if len(left) > 0 {
		s.Errorf("left behind: %q", left)
	}
}

func positions(pairs ...string) api.OffsetsRequest {
	r := api.OffsetsRequest{Positions: map[string]json.RawMessage{}}
	for i := 0; i < len(pairs); i += 2 {
		r.Positions[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return r
}

func TestPositionsOfAStoppedPipelineAreChangedAndUndone(t *testing.T) {
	s := newStage(t)
	s.lead()
	undo := api.OffsetsRequest{Undo: true}
	for _, c := range []struct {
		node string
		r    api.OffsetsRequest
		want string
	}{
		{"in", positions("a", `{"at":3}`), `2: a={"at":3} b={"at":5}`},
		{"source", positions("a", `null`, "b", `{"at":1}`), `3: a= b={"at":1}`},
		{"in", api.OffsetsRequest{Reset: true}, `4: `},
		{"in", undo, `3: a= b={"at":1}`},
		{"in", undo, `2: a={"at":3} b={"at":5}`},
		{"in", undo, `1: a={"at":5} b={"at":5}`},
		{"in", positions("b", `{"at":2}`), `5: a={"at":5} b={"at":2}`},
	} {
		before := s.newest().N
		changed, err := s.api.SetOffsets(t.Context(), "p", c.node, c.r)
		s.must(err)
		if got := s.stands(); got != c.want || changed.Before != before || changed.Checkpoint != s.newest().N || changed.At.IsZero() {
			t.Errorf("%+v: it stands at %s, want %s; %+v", c.r, got, c.want, changed)
		}
	}
	if all, err := s.api.Offsets(t.Context(), "p", "in", "1"); err != nil || string(all[0].Position) != `{"at":5}` {
		t.Errorf("checkpoint 1: %v, %v", all, err)
	}
	for _, c := range []struct {
		name, node string
		r          api.OffsetsRequest
		want       string
	}{
		{"p", "out", positions("a", "null"), `has no source "out"; it has: source`},
		{"p", "in", positions("c", "null"), "reads no split c; it reads: a, b"},
		{"p", "in", positions("a", "5"), "split a: position is an object"},
		{"q", "in", undo, `there is no pipeline "q"`},
	} {
		_, err := s.api.SetOffsets(t.Context(), c.name, c.node, c.r)
		if got := code(err); err == nil || !strings.Contains(err.Error(), c.want) || got != api.CodeOffsetsRefused && got != api.CodePipelineNotFound {
			t.Errorf("%+v of %s: %v", c.r, c.node, err)
		}
	}
	if _, err := s.api.Offsets(t.Context(), "p", "in", "77"); code(err) != api.CodeOffsetsRefused {
		t.Error(err)
	}
	s.nothingAsked()
}

// Whoever asks at the same time as another is answered too, and both changes are made.
func TestChangesOfPositionsAtOnceAreAllMade(t *testing.T) {
	s := newStage(t)
	s.lead()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			other := &API{Node: &Node{store: s.store}, Library: s.api.Library}
			if _, err := other.SetOffsets(t.Context(), "p", "in", positions([]string{"a", "b"}[i%2], `{"at":1}`)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := s.stands(); got != `9: a={"at":1} b={"at":1}` {
		t.Error(got)
	}
	s.nothingAsked()
}

// A change meets a start in one of two ways: it is made before, or refused and not made.
func TestNoChangeOfPositionsMeetsAStart(t *testing.T) {
	s := newStage(t)
	s.lead()
	made, refused := 0, 0
	for range 30 {
		before := s.newest().N
		var group sync.WaitGroup
		var err error
		group.Go(func() { _, err = s.api.SetOffsets(t.Context(), "p", "in", positions("a", `{"at":1}`)) })
		group.Go(func() {
			if err := s.client.Resume(t.Context(), "p", false); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		switch after := s.newest().N; {
		case err == nil && after > before:
			made++
		case code(err) == api.CodeNotStopped && after == before:
			refused++
		default:
			t.Fatalf("checkpoint %d was %d, %v", after, before, err)
		}
		if _, err := s.api.SetOffsets(t.Context(), "p", "in", positions("a", `null`)); code(err) != api.CodeNotStopped || !strings.Contains(err.Error(), "stop it first") {
			t.Fatalf("of one that is to run: %v", err)
		}
		s.must(s.client.Stop(t.Context(), "p", ""))
		s.ended()
	}
	t.Logf("%d were made, %d refused", made, refused)
	s.nothingAsked()
}

// What was asked for when nobody led is done by who leads then, unless the pipeline was
// started since; and what a leader did who died before it could say so, is not done again.
func TestTheNextLeaderAnswersWhoHasAsked(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(s *stage, id string)
		want string
		busy bool
	}{
		{"nothing", func(*stage, string) {}, `2: a={"at":1} b={"at":5}`, false},
		{"done", func(s *stage, id string) {
			lead, err := coordination.Campaign(s.Context(), s.store, leaderName, nil)
			s.must(err)
			_, err = checkpoint.NewLedger(s.store, lead, "p").Reposition(s.Context(), s.st, id, "source", positions("a", `{"at":1}`).Positions)
			s.must(err)
			s.must(lead.Resign(s.Context()))
		}, `2: a={"at":1} b={"at":5}`, false},
		{"done and started", func(s *stage, id string) {
			lead, err := coordination.Campaign(s.Context(), s.store, leaderName, nil)
			s.must(err)
			_, err = checkpoint.NewLedger(s.store, lead, "p").Reposition(s.Context(), s.st, id, "source", positions("a", `{"at":1}`).Positions)
			s.must(err)
			s.must(lead.Resign(s.Context()))
			s.must(s.client.Resume(s.Context(), "p", false))
		}, `2: a={"at":1} b={"at":5}`, false},
		{"started", func(s *stage, _ string) { s.must(s.client.Resume(s.Context(), "p", false)) }, `1: a={"at":5} b={"at":5}`, true},
		{"started and stopped", func(s *stage, _ string) {
			s.must(s.client.Resume(s.Context(), "p", false))
			s.must(s.client.Stop(s.Context(), "p", ""))
		}, `1: a={"at":5} b={"at":5}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			answered := make(chan error)
			go func() {
				_, err := s.client.Move(t.Context(), "p", Moving{Node: "source", Positions: positions("a", `{"at":1}`).Positions})
				answered <- err
			}()
			var ids []string
			await(t, "somebody has asked", func() bool {
				var err error
				ids, err = s.store.Children(t.Context(), movesDir("p"))
				s.must(err)
				return len(ids) == 1
			})
			c.then(s, ids[0])
			s.lead()
			switch err := <-answered; {
			case !c.busy && err != nil, c.busy && (!errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "p was started meanwhile")):
				t.Error(err)
			}
			if got := s.stands(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			s.nothingAsked()
		})
	}
}

// Who does not wait takes back what nobody has done.
func TestWhoGoesTakesTheQuestionAlong(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error)
	go func() {
		_, err := s.client.Move(ctx, "p", Moving{Node: "source"})
		answered <- err
	}()
	await(t, "somebody has asked", func() bool {
		ids, err := s.store.Children(t.Context(), movesDir("p"))
		s.must(err)
		return len(ids) == 1
	})
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.nothingAsked()
}

//go:build linux

package clustertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/engine"
)

// TestAStoppedPipelineGoesOnWhereItWasMovedTo: through a host that does not lead, of a
// pipeline that has stopped, and not of one that runs.
func TestAStoppedPipelineGoesOnWhereItWasMovedTo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start("a", 10)
	l.start("b", 10)
	l.leader()
	var through *cluster.API
	for _, h := range l.alive() {
		if !h.node.Leads() {
			through = &cluster.API{Node: h.node, Library: &cluster.Library{StorageURL: l.checkpoints, Log: slog.New(slog.DiscardHandler)}}
		}
	}
	const again = 10
	l.submit(l.generated("p", 1_000_000, 200, 1))
	l.awaitState("p", engine.StateRunning)
	move := func(r api.OffsetsRequest) (api.OffsetsChanged, error) {
		return through.SetOffsets(t.Context(), "p", "in", r)
	}
	made := func() (n int) {
		t.Helper()
		all, err := through.Offsets(t.Context(), "p", "in", "")
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		var at struct{ Made int }
		if err := json.Unmarshal(all[0].Position, &at); err != nil {
			t.Fatal(err)
		}
		return at.Made
	}
	stop := func(beyond int) int {
		t.Helper()
		l.await("records are read", func() bool {
			c := l.pipeline("p").Status.Last
			return c != nil && made() > beyond
		})
		if _, err := through.Stop(t.Context(), "p", api.StopRequest{}); err != nil {
			t.Fatal(err)
		}
		return made()
	}
	var p *api.Problem
	if _, err := move(api.OffsetsRequest{Reset: true}); !errors.As(err, &p) || p.Code != api.CodeNotStopped {
		t.Errorf("while it runs: %v", err)
	}
	first := stop(2 * again)
	l.expectGenerated("out-p", first)
	back := api.OffsetsRequest{Positions: map[string]json.RawMessage{"0": json.RawMessage(fmt.Sprintf(`{"made":%d}`, first-again))}}
	for _, c := range []struct {
		r    api.OffsetsRequest
		want int
	}{{back, first - again}, {api.OffsetsRequest{Undo: true}, first}, {back, first - again}} {
		if _, err := move(c.r); err != nil || made() != c.want {
			t.Fatalf("%+v: it goes on from %d, want %d, %v", c.r, made(), c.want, err)
		}
	}
	if err := through.Resume(t.Context(), "p", api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	last := stop(first)
	twice := 0
	for line, times := range l.published("out-p") {
		var r struct{ Seq int }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		want := 1
		if r.Seq >= first-again && r.Seq < first {
			want, twice = 2, twice+1
		}
		if times != want || r.Seq >= last {
			t.Errorf("record %d of %d was published %d times, want %d", r.Seq, last, times, want)
		}
	}
	if all := len(l.published("out-p")); all != last || twice != again {
		t.Errorf("%d of %d records were published, %d of them twice", all, last, twice)
	}
}

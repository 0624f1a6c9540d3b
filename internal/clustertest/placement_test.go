//go:build linux

package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/sdk"
)

// acmePlugin is the name under which this program is a plugin, acme, whose operator
// passes records on.
const acmePlugin = "weir-plugin-acme"

type passer struct{}

func (passer) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		out.Emit(r, append(out.AvailableBuffer(), r.Value()...))
	}
	return nil
}

func (passer) Close() error { return nil }

func serveAcme() {
	sdk.Serve(sdk.Plugin{Name: "acme", Version: "1.0.0"}, sdk.NewOperator("pass", "Passes records on.",
		func(context.Context, *struct{}, *sdk.Task) (passer, error) { return passer{}, nil },
		sdk.PreservesOrder(), sdk.PreservesKey()),
		sdk.NewOperator("chat", "Passes records on and says so.", newChatter, sdk.PreservesOrder(), sdk.PreservesKey()))
}

// give installs the plugin acme for a host.
func (l *lab) give(id string) {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	l.plugins[id] = l.t.TempDir()
	if err := os.Symlink(self, filepath.Join(l.plugins[id], acmePlugin)); err != nil {
		l.t.Fatal(err)
	}
}

// TestAPipelineRunsWhereItsPluginsAre: a host that lacks one is found out and gets
// no task; where no host has it the pipeline waits and says which host lacks what,
// until one comes.
func TestAPipelineRunsWhereItsPluginsAre(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.give(submitter)
	l.plugins["a"] = l.t.TempDir() // nothing in it
	l.start("a", 10)
	const n = 2000
	l.submit(strings.NewReplacer("operator: expr", "operator: acme/pass", ", config: {filter: 'true'}", "").Replace(l.generated("p", n, 0, 2)))
	l.await("it waits", func() bool { return l.pipeline("p").Status.Pending != "" })
	why := l.pipeline("p").Status.Pending
	for _, part := range []string{"no host can run it: host a: ", "p.yaml:9:", `no plugin "acme"`} {
		if !strings.Contains(why, part) {
			t.Errorf("%q is not in %q", part, why)
		}
	}
	l.give("b")
	l.start("b", 10)
	p := l.awaitState("p", engine.StateFinished)
	if hosts := slices.Compact(slices.Sorted(values(p.Assignment.Tasks))); !slices.Equal(hosts, []string{"b"}) {
		t.Errorf("the tasks are on %v", hosts)
	}
	if len(p.Status.Restarts) != 0 {
		t.Errorf("counted restarts %v", p.Status.Restarts)
	}
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
}

// TestHostsThatDoNotReachEachOtherAreKeptApart: after a few tries, whose failures
// name both, one of the two has no task of the pipeline any more.
func TestHostsThatDoNotReachEachOtherAreKeptApart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.faulty = true
	for _, id := range []string{"a", "b", "c"} {
		l.start(id, 6)
	}
	const n = 40_000
	l.submit(l.generated("p", n, 5_000, 2))
	l.awaitCheckpoint("p", "", 1)
	l.sever("a", "b")
	apart := func(p cluster.Pipeline) bool { return p.Assignment.Hosts["a"] == "" || p.Assignment.Hosts["b"] == "" }
	l.await("a and b are kept apart", func() bool {
		p := l.pipeline("p")
		return apart(p) && p.Assignment.Phase == engine.PhaseRun || p.Ended()
	})
	p := l.awaitState("p", engine.StateFinished)
	if !apart(p) {
		t.Errorf("it has finished on %v", p.Assignment.Hosts)
	}
	if !slices.ContainsFunc(p.Failures, func(f cluster.Failure) bool {
		return f.Host == "a" && f.Peer == "b" && strings.Contains(f.Error, "from host a to host b")
	}) {
		t.Errorf("no failure names both: %+v", p.Failures)
	}
	if len(p.Status.Restarts) != 0 {
		t.Errorf("counted restarts %v", p.Status.Restarts)
	}
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
}

// TestASpecificationOfANewerVersionIsLeftToHostsThatReadIt, and never overwritten by
// others.
func TestASpecificationOfANewerVersionIsLeftToHostsThatReadIt(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.submit(l.generated("p", 1000, 0, 1))
	spec := func(format int) {
		t.Helper()
		s := l.pipeline("p").Spec
		s.Format = format
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := coordination.Put(t.Context(), l.store, "pipelines/p/spec", data); err != nil {
			t.Fatal(err)
		}
	}
	spec(2)
	l.start("a", 10)
	l.await("it waits", func() bool { return l.pipeline("p").Status.Pending != "" })
	want := "its format is 2, and this host's version reads up to 1"
	if why := l.pipeline("p").Status.Pending; !strings.Contains(why, "host a: ") || !strings.Contains(why, want) {
		t.Error(why)
	}
	if _, err := l.client().Submit(t.Context(), l.pipeline("p").Spec, false); !errors.Is(err, cluster.ErrBusy) || !strings.Contains(err.Error(), want) {
		t.Errorf("an older version submits it: %v", err)
	}
	spec(1)
	l.start("b", 10)
	l.awaitState("p", engine.StateFinished)
	l.expectGenerated("out-p", 1000)
}

// TestAHostThatWasGivenAPluginIsTriedAgainOnRequest, and need not begin anew.
func TestAHostThatWasGivenAPluginIsTriedAgainOnRequest(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.give(submitter)
	l.plugins["a"] = l.t.TempDir() // nothing in it yet
	l.start("a", 10)
	before, err := l.client().Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.submit(strings.NewReplacer("operator: expr", "operator: acme/pass", ", config: {filter: 'true'}", "").Replace(l.generated("p", 1000, 0, 1)))
	l.await("it waits", func() bool { return l.pipeline("p").Status.Pending != "" })
	if err := os.Symlink(filepath.Join(l.plugins[submitter], acmePlugin), filepath.Join(l.plugins["a"], acmePlugin)); err != nil {
		t.Fatal(err)
	}
	if err := l.client().Resume(t.Context(), "p", false); err != nil {
		t.Fatal(err)
	}
	p := l.awaitState("p", engine.StateFinished)
	if p.Assignment.Hosts["a"] != before[0].Instance {
		t.Errorf("it ran on %v", p.Assignment.Hosts)
	}
	l.expectGenerated("out-p", 1000)
}

//go:build linux

package clustertest

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
)

// apiOf is where a host serves the API.
func (f *fleet) apiOf(id string) string {
	f.t.Helper()
	address := ""
	f.await("the API of host "+id, func() bool {
		hosts, err := f.client().Hosts(f.t.Context())
		if err == nil {
			for _, h := range hosts {
				if h.ID == id {
					address = h.API
				}
			}
		}
		return address != ""
	})
	return address
}

// weirAt runs a command that asks a host, and returns what it printed.
func (f *fleet) weirAt(host string, args ...string) (string, error) {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), weir, args...)
	cmd.Env = append(os.Environ(), "WEIR_SERVER="+f.apiOf(host))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *fleet) must(host string, args ...string) string {
	f.t.Helper()
	out, err := f.weirAt(host, args...)
	if err != nil {
		f.t.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// expectText checks that a text has all parts.
func expectText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}

// TestAnyHostAnswersAnyRequest: a pipeline is submitted to one host, watched and
// changed through others, from its beginning to its end.
func TestAnyHostAnswersAnyRequest(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ensemble.Get(t).Servers())
	for _, id := range []string{"a", "b"} {
		f.start(id, 20)
	}
	const n = 400_000
	file := f.path("p.yaml")
	write := func(yaml string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := f.generated("p", n, 20_000, 2)
	write(strings.Replace(good, "expr, input", "exprr, input", 1))
	if out, err := f.weirAt("a", "submit", file); err == nil || !strings.Contains(out, "p.yaml:9:") {
		t.Errorf("a wrong file: %v\n%s", err, out)
	}
	write(good)
	expectText(t, f.must("a", "submit", "--check", file), "p would be submitted")
	expectText(t, f.must("a", "submit", file), "p is submitted (revision 1)")
	f.must("b", "wait", "p", "--for", "checkpoint", "--timeout", "60s")
	expectText(t, f.must("b", "ls"), "p", "running")
	expectText(t, f.must("b", "status", "p"), "running", "in", "mid", "out")
	expectText(t, f.must("a", "hosts"), "leads", "p/in[0]", "p/out[1]")
	expectText(t, f.must("b", "logs", "p", "--level", "debug"), "host=a", "host=b")
	if out := f.must("b", "logs", "p", "--tail", "1", "-o", "json"); strings.Count(out, "\n") != 1 {
		t.Errorf("one record of all hosts is wanted:\n%s", out)
	}
	expectText(t, f.must("b", "savepoint", "p", "before"), "savepoint before of p is complete")
	if out, err := f.weirAt("a", "savepoint", "p", "before"); err == nil || !strings.Contains(out, "exists") {
		t.Errorf("the same savepoint again: %v\n%s", err, out)
	}
	expectText(t, f.must("a", "drain", "b"), "host b is empty")
	expectText(t, f.must("a", "drain", "b", "--undo"), "takes tasks again")
	if out, err := f.weirAt("b", "delete", "p"); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("it runs: %v\n%s", err, out)
	}
	expectText(t, f.must("a", "stop", "p"), "p has stopped at checkpoint")
	expectText(t, f.must("b", "resume", "p"), "p is resumed")
	f.must("b", "wait", "p", "--for", "running", "--timeout", "60s")
	expectText(t, f.must("b", "rescale", "p", "out=3"), "rescaled: out, from 2 tasks to 3", "kept: in", "revision 2")
	f.await("it is rescaled", func() bool {
		p := f.pipeline("p")
		return p.Assignment.Phase == engine.PhaseRun && p.Assignment.Tasks["out[2]"] != "" || p.Ended()
	})
	if out, err := f.weirAt("a", "rescale", "p", "nowhere=3"); err == nil || !strings.Contains(out, "no node") {
		t.Errorf("a node that is not there: %v\n%s", err, out)
	}
	f.awaitState("p", engine.StateFinished)
	f.expectGenerated("out-p", n)
	f.expectNothingHidden("out-p")
	var status api.Status
	if err := json.Unmarshal([]byte(f.must("b", "status", "p", "-o", "json")), &status); err != nil || status.State != api.StateFinished {
		t.Errorf("%v, %+v", err, status)
	}
	if out, err := f.weirAt("b", "resume", "p"); err == nil || !strings.Contains(out, "has finished") {
		t.Errorf("it has finished: %v\n%s", err, out)
	}
	expectText(t, f.must("b", "delete", "p"), "p is deleted")
	if left, err := os.ReadDir(f.path("checkpoints")); err == nil && len(left) > 0 {
		for _, e := range left {
			below, _ := os.ReadDir(f.path("checkpoints", e.Name()))
			if len(below) > 0 {
				t.Errorf("%d objects of %s are left in storage", len(below), e.Name())
			}
		}
	}
	if out, err := f.weirAt("a", "status", "p"); err == nil || !strings.Contains(out, `no pipeline "p"`) {
		t.Errorf("it is deleted: %v\n%s", err, out)
	}
}

package pipeline_test

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/host/pipeline"
)

const stateful = `
name: a
max_parallelism: 256
nodes:
  in: {source: file, config: {path: in.log}}
  counts: {operator: window, input: in, config: {size: 1s}, id: sums}
  out: {sink: file, input: counts, config: {path: out/}}
`

func shapes(p *pipeline.Pipeline) map[string]pipeline.StateShape {
	m := make(map[string]pipeline.StateShape)
	for _, n := range p.Nodes {
		m[n.State.ID] = n.State
	}
	return m
}

// State is kept by id and survives a change of configuration, parallelism and
// place; not a change of what wrote it.
func TestStateSurvivesWhatItDoesNotDependOn(t *testing.T) {
	old := shapes(mustLoad(t, stateful, testOptions()))
	if old["sums"].KeyGroups != 256 || old["in"].KeyGroups != 0 {
		t.Errorf("key groups: %v", old)
	}
	for _, test := range []struct{ change, to, id, conflict string }{
		{"path: in.log", "path: other.log, follow: true", "in", ""},
		{"size: 1s}", "size: 2h}, parallelism: 7", "sums", ""},
		{"counts", "renamed", "sums", ""},
		{"source: file, config: {path: in.log}", "source: generator", "in", "its state was written by weir/file and it is weir/generator now"},
		{"max_parallelism: 256", "max_parallelism: 512", "sums", "its state was written with max_parallelism 256 and the file says 512"},
		{"operator: window, input: in, config: {size: 1s}", "operator: expr, input: in", "sums", "its state was written by weir/window and it is weir/expr now"},
		{"sink: file, input: counts, config: {path: out/}", "sink: acme/store, input: counts", "out", "its state was written by weir/file and it is acme/store now"},
	} {
		p := mustLoad(t, strings.ReplaceAll(stateful, test.change, test.to), testOptions())
		now := shapes(p)[test.id]
		if got := now.Conflict(old[test.id]); got != test.conflict {
			t.Errorf("%s: conflict %q, want %q", test.to, got, test.conflict)
		}
		if same := now.Fingerprint() == old[test.id].Fingerprint(); same != (test.conflict == "") {
			t.Errorf("%s: equal fingerprints: %t", test.to, same)
		}
	}
	if got := old["in"].Conflict(old["out"]); !strings.Contains(got, `id "out"`) {
		t.Errorf("another node's state: %q", got)
	}
}

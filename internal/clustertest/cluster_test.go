//go:build linux

package clustertest

import (
	"testing"

	"github.com/weirstream/weir/host/engine"
)

// TestAPipelineRunsOnSeveralHosts: its tasks are spread, and every record comes out
// once.
func TestAPipelineRunsOnSeveralHosts(t *testing.T) {
	l := newLab(t)
	for _, id := range []string{"a", "b", "c"} {
		l.start(id, 4)
	}
	name := l.submit(l.generated("spread", 200_000, 100_000, 3))
	p := l.awaitState(name, engine.StateRunning)
	hosts := map[string]int{}
	for _, h := range p.Assignment.Tasks {
		hosts[h]++
	}
	if len(hosts) != 3 {
		t.Errorf("the tasks are on %v", hosts)
	}
	p = l.awaitState(name, engine.StateFinished)
	if p.Status.Epoch != 1 || p.Status.Total != 0 {
		t.Errorf("epoch %d, %d restarts: %s", p.Status.Epoch, p.Status.Total, p.Status.Cause)
	}
	l.expectGenerated("out-spread", 200_000)
	l.expectNothingHidden("out-spread")
}

package main

import (
	"os"
	"strings"
	"testing"
)

// TestAnExportIsTheSameWhereverStateIsKept: the same lines of the same records, whether
// state is in memory or on disk, also after it was divided anew; and nothing is left of
// the files that were read.
func TestAnExportIsTheSameWhereverStateIsKept(t *testing.T) {
	exported := map[string]string{}
	var r *stateRoom
	for _, backend := range []string{"memory", "disk"} {
		r = newStateRoom(t)
		for _, parallelism := range []int{1, 3} {
			r.pipeline(backend, parallelism, 1)
			r.run(400)
			exported[backend] += r.export()
		}
		if left, err := os.ReadDir(r.tmp); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if backend != "disk" {
			continue
		}
		if shown := r.weir("checkpoint", "show", "p"); !strings.Contains(shown, "-0-5-16/") {
			t.Errorf("the state is not on disk:\n%s", shown)
		}
	}
	for _, want := range []string{`"kind":"key_group","id":"elements","group":15`, `"task":"2","kind":"key_group"`, `"id":"weir.timers"`} {
		if !strings.Contains(exported["memory"], want) {
			t.Errorf("no %s in\n%s", want, exported["memory"])
		}
	}
	r.same(exported["disk"], exported["memory"], "state on disk and in memory")
}

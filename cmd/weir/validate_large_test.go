package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/race"
)

// A file of 50 nodes and 500 lines is checked, starts of plugins included, within
// 300 ms of processor time: that of all processes, since what else runs here is not to
// decide the test.
func TestALargeFileIsCheckedAtOnce(t *testing.T) {
	const nodes = 50
	most := 300 * time.Millisecond
	if race.Enabled {
		most *= 10
	}
	var b strings.Builder
	b.WriteString("name: large\nnodes:\n  n0:\n    source: file\n    config:\n      path: in/*.jsonl\n")
	for i := 1; i < nodes-1; i++ {
		fmt.Fprintf(&b, `  n%d:
    operator: expr
    input: n%d
    config:
      filter: json.n %% %d != 1 && json.status >= 200
      set:
        a: upper(json.name) + string(json.n * %d)
        b: 'json.x > %d ? json.x : %d'
        host: lower(json.host)
      unset: [pad]
`, i, i-1, i+1, i, i, i)
	}
	fmt.Fprintf(&b, "  out:\n    sink: file\n    input: n%d\n    config:\n      path: out/\n", nodes-2)
	if n := strings.Count(b.String(), "\n"); n < 480 {
		t.Fatalf("only %d lines", n)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	least := time.Hour
	for range 3 {
		cmd := exec.CommandContext(t.Context(), "weir", "validate", "large.yaml")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		least = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	t.Logf("%v of processor time", least)
	if least > most {
		t.Errorf("%v of processor time, more than %v", least, most)
	}
}

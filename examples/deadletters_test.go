//go:build unix

package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestDeadLetters prices orders, replays those that could not be priced, and replays
// those that come later; each of them once.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	l := newLab(t, "dead-letters")
	if summary := l.run(); !strings.Contains(summary, "3 dead letters") {
		t.Errorf("%s", summary)
	}
	totals := func() string {
		var all []string
		for _, line := range l.lines("priced") {
			var o struct {
				ID    int
				Total float64
			}
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(o.ID, "=", o.Total))
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	if got := totals(); got != "1=39.8 3=210 6=25" {
		t.Errorf("priced at once: %s", got)
	}

	replay := filepath.Join("examples", l.name, "replay.yaml")
	again := func(want string) {
		t.Helper()
		cmd := l.command("run", replay)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		defer func() { _ = cmd.Process.Kill(); <-ended }()
		eventually(t, "the replayed ones", func() bool { return totals() == want && len(l.lines("given-up")) == 1 })
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != 143 {
			t.Fatalf("exit code %d\n%s", code, &out)
		}
	}
	all := "1=39.8 2=180 3=210 5=80 6=25"
	again(all)
	var lost struct{ Error, First_error, Origin, Value string }
	if err := json.Unmarshal([]byte(l.lines("given-up")[0]), &lost); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{lost.Error, lost.First_error} {
		if !strings.Contains(s, "float(on request)") {
			t.Errorf("given up because of %q", s)
		}
	}
	if lost.Origin != "orders.jsonl@0#3" || !strings.Contains(lost.Value, `"shelf"`) {
		t.Errorf("%+v", lost)
	}
	// Another letter comes; those before are not replayed a second time.
	letter := `{"error":"e","component":"priced","split":"s","ordinal":"0","key":null,"value":"{\"id\":7,\"quantity\":1,\"price\":\"EUR 5\"}"}` + "\n"
	if err := os.WriteFile(filepath.Join(l.out("letters"), "more.jsonl"), []byte(letter), 0o644); err != nil {
		t.Fatal(err)
	}
	again(all + " 7=5")
}

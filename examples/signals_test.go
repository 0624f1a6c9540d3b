//go:build unix

package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A log grows, is rotated and grows on; the pipeline is stopped and goes on behind
// the last line that it has read.
func TestFollow(t *testing.T) {
	t.Parallel()
	l := newLab(t, "follow")
	if err := os.MkdirAll(l.out("."), 0o755); err != nil {
		t.Fatal(err)
	}
	var want []string
	n := 0
	write := func(lines int) {
		t.Helper()
		f, err := os.OpenFile(l.out("app.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range lines {
			n++
			line := fmt.Sprintf("%05d INFO request served", n)
			if n%5 == 0 {
				line = fmt.Sprintf("%05d ERROR upstream is gone", n)
				want = append(want, line)
			}
			if _, err := fmt.Fprintln(f, line); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop := func(run func() (int, string), signal func(os.Signal) error) string {
		t.Helper()
		if err := signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		code, out := run()
		if code != 143 || !strings.Contains(out, "follow stopped after") {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		return out
	}

	write(50)
	cmd, wait := l.start()
	// What has been written for a while is published without being asked for.
	eventually(t, "the first lines", func() bool { return len(l.lines("errors")) == len(want) })
	write(100)
	if err := os.Rename(l.out("app.log"), l.out("app.log.1")); err != nil {
		t.Fatal(err)
	}
	write(100)
	eventually(t, "lines of both files", func() bool { return len(l.lines("errors")) == len(want) })
	write(30)
	time.Sleep(50 * time.Millisecond) // may be read by now, or not
	out := stop(wait, cmd.Process.Signal)
	for _, line := range want[:50] {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("the screen does not show %q", line)
		}
	}

	write(70)
	cmd, wait = l.start()
	eventually(t, "lines that came while it was stopped", func() bool { return len(l.lines("errors")) == len(want) })
	stop(wait, cmd.Process.Signal)
	same(t, "errors", l.lines("errors"), want)
}

// However often it is killed, each record comes out once.
func TestGeneratorKilled(t *testing.T) {
	t.Parallel()
	const count = 60_000
	l := newLab(t, "generator", fmt.Sprint("COUNT=", count), "RATE=40000")
	for kills := range 2 {
		cmd, wait := l.start()
		eventually(t, "output", func() bool { return len(l.parts()) > 0 })
		time.Sleep(time.Duration(200+150*kills) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if code, out := wait(); code != -1 {
			t.Fatalf("exit code %d\n%s", code, out)
		}
	}
	l.run()
	l.checkGenerated(count)
	l.noLeftovers()
}

// parts lists what a sink has written and not yet published.
func (l *lab) parts() []string {
	parts, err := filepath.Glob(l.out(".weir.*.part"))
	if err != nil {
		l.t.Fatal(err)
	}
	return parts
}

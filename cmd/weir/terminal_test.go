//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A screen is what a terminal of some size has received.
type screen struct{ lockedBuffer }

func (s *screen) String() string { return strings.ReplaceAll(s.lockedBuffer.String(), "\r\n", "\n") }

// pictures are the tables that were drawn, oldest first: each begins where the one
// before it was erased.
func (s *screen) pictures() []string {
	return regexp.MustCompile(`\x1b\[\d+A\x1b\[J`).Split(s.String(), -1)
}

// shows says whether a line of some picture matches.
func (s *screen) shows(line string) bool {
	return regexp.MustCompile("(?m)" + line).MatchString(strings.Join(s.pictures(), "\n"))
}

const slowPipeline = `
name: slow
checkpoint: {interval: 200ms}
nodes:
  numbers: {source: generator, config: {count: 1000000, rate: 2000}}
  odd:     {operator: expr, input: numbers, config: {filter: json.seq % 2 == 1}}
  out:     {sink: file, input: odd, config: {path: out/}}
`

// onTerminal runs weir on a terminal of that size until there are pictures of a
// checkpoint, presses Ctrl-C, and returns what was seen.
func onTerminal(t *testing.T, width, height uint16) *screen {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "slow.yaml"), []byte(slowPipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("weir", "run", "slow.yaml")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"), "TERM=xterm", "TZ=UTC")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: height, Cols: width})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var s screen
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf)
			_, _ = s.Write(buf[:n])
			if err != nil {
				return // the terminal of a process that has ended gives an error
			}
		}
	}()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	deadline := time.After(30 * time.Second)
	wait := func(what string, is func() bool) {
		t.Helper()
		for !is() {
			select {
			case err := <-done:
				t.Fatalf("%s: it has ended: %v\n%s", what, err, s.String())
			case <-deadline:
				_ = cmd.Process.Kill()
				t.Fatalf("%s: not within 30s\n%s", what, s.String())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	// Reports come once a second: wait for a picture with records and a checkpoint.
	wait("pictures", func() bool {
		return s.shows(`numbers .*[1-9][\d,]* .*/s`) && s.shows("slow running · checkpoint")
	})
	if _, err := terminal.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-deadline:
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		t.Fatalf("it does not end on Ctrl-C\n%s", s.String())
	}
	<-copied
	if code := cmd.ProcessState.ExitCode(); code != exitSIGINT {
		t.Errorf("exit code %d\n%s", code, s.String())
	}
	return &s
}

// What is left on the screen at the end is the log and the summary, no table.
func checkEnd(t *testing.T, s *screen) {
	t.Helper()
	all := s.pictures()
	end := all[len(all)-1]
	for _, want := range []string{"slow stopped after ", "run it again to resume", "exactly once: out", "records read"} {
		if !strings.Contains(end, want) {
			t.Errorf("the end does not say %q:\n%s", want, end)
		}
	}
	if strings.Contains(end, "slow running") || strings.Contains(end, "blocked") {
		t.Errorf("a table is left:\n%s", end)
	}
	if !s.shows(`^\d\d:\d\d:\d\d INFO  stopping after a final checkpoint`) {
		t.Errorf("Ctrl-C has no answer:\n%s", s.String())
	}
}

func TestProgressOnAWideTerminal(t *testing.T) {
	t.Parallel()
	s := onTerminal(t, 120, 40)
	checkEnd(t, s)
	if !s.shows(`^node +component +records +rate +busy +blocked +progress$`) {
		t.Errorf("no header with every column:\n%s", s.String())
	}
	if !s.shows(`^numbers +source generator +[\d,]+ +[\d.]+( k)?/s +\d+% +\d+% +0%`) {
		t.Errorf("no line for numbers:\n%s", s.String())
	}
	for _, picture := range s.pictures()[1:] {
		if n := strings.Count(picture, "slow running"); n > 1 {
			t.Errorf("a picture was drawn below another that was not erased:\n%s", picture)
		}
	}
}

// A narrow terminal gets fewer columns and no line that it would break.
func TestProgressOnANarrowTerminal(t *testing.T) {
	t.Parallel()
	const width = 44
	s := onTerminal(t, width, 40)
	checkEnd(t, s)
	if !s.shows(`^node +records +rate +progress$`) {
		t.Errorf("the columns that matter are not there:\n%s", s.String())
	}
	pictures := s.pictures()
	for _, picture := range pictures[:len(pictures)-1] {
		for line := range strings.Lines(picture) {
			line = strings.TrimSuffix(line, "\n")
			if strings.Contains(line, " INFO ") || strings.HasPrefix(line, "^C") {
				continue
			}
			if n := len([]rune(line)); n > width {
				t.Errorf("%d characters: %q", n, line)
			}
		}
	}
}

// A terminal with fewer lines than the table gets one line.
func TestProgressOnALowTerminal(t *testing.T) {
	t.Parallel()
	s := onTerminal(t, 100, 4)
	checkEnd(t, s)
	if strings.Contains(s.String(), "blocked") {
		t.Errorf("a table on four lines:\n%s", s.String())
	}
	if !s.shows(`^slow running · checkpoint \d+ .* · numbers [\d,]+ \(`) {
		t.Errorf("no progress:\n%s", s.String())
	}
}

package checkpoint

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scripts in testdata")

// TestScripts steps a coordinator through the scripts in testdata. A line that
// begins with > is an event, +5s before it lets time pass, and the lines below it
// are the actions. Lines with # are for people. To see what changed:
//
//	go test ./checkpoint -run TestScripts -update && git diff
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, have := strings.Split(string(data), "\n"), strings.Split(got, "\n")
			for i := range max(len(want), len(have)) {
				if i >= len(want) || i >= len(have) || want[i] != have[i] {
					t.Fatalf("%s:%d: differs; the script plays as\n%s", file, i+1, got)
				}
			}
		})
	}
}

func TestACoordinatorWantsItsFirstStepAtOnce(t *testing.T) {
	c := NewCoordinator(Config{}, Start{})
	if at, ok := c.Deadline(); !ok || at.After(time.Now()) {
		t.Errorf("due at %v, %v", at, ok)
	}
}

// script is a coordinator that is stepped by text.
type script struct {
	c   *Coordinator
	cfg Config
	at  Start
	now time.Time
}

var scriptStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func runScript(t *testing.T, text string) string {
	t.Helper()
	s := &script{now: scriptStart}
	s.cfg = Config{Timeout: time.Minute, DrainTimeout: 30 * time.Second, Hosts: []string{"a"},
		Nodes: []Node{{Name: "src", Parallelism: 1}, {Name: "out", Inputs: []string{"src"}, Parallelism: 1}}}
	s.at = Start{UID: "u", Epoch: 1, Leader: 7}
	var b strings.Builder
	blank := false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "> "):
			if blank {
				b.WriteString("\n")
			}
			b.WriteString(line + "\n")
			out, err := s.line(strings.Fields(line[2:]))
			if err != nil {
				t.Fatalf("line %d: %s: %v", i+1, line, err)
			}
			b.WriteString(out)
		case strings.HasPrefix(line, "#"):
			if blank {
				b.WriteString("\n")
			}
			b.WriteString(line + "\n")
		}
		blank = line == ""
	}
	return b.String()
}

func (s *script) line(words []string) (string, error) {
	if strings.HasPrefix(words[0], "+") {
		d, err := time.ParseDuration(words[0][1:])
		if err != nil {
			return "", err
		}
		s.now = s.now.Add(d)
		words = words[1:]
	}
	switch words[0] {
	case "config":
		return "", s.config(words[1:])
	case "deadline":
		at, ok := s.c.Deadline()
		if !ok {
			return "  none\n", nil
		}
		return fmt.Sprintf("  in %s\n", at.Sub(s.now)), nil
	case "status":
		return s.status(), nil
	}
	ev, err := parseEvent(words)
	if err != nil {
		return "", err
	}
	if s.c == nil {
		s.c = NewCoordinator(s.cfg, s.at)
	}
	var b strings.Builder
	for _, a := range s.c.Step(s.now, ev) {
		fmt.Fprintf(&b, "  %s\n", showAction(a))
	}
	return b.String(), nil
}

// config reads key=value words. Nodes are name:parallelism<input+input.
func (s *script) config(words []string) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		d, _ := time.ParseDuration(value)
		n, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "interval":
			s.cfg.Interval = d
		case "min_pause":
			s.cfg.MinPause = d
		case "timeout":
			s.cfg.Timeout = d
		case "drain":
			s.cfg.DrainTimeout = d
		case "tolerated":
			s.cfg.Tolerated = int(n)
		case "hosts":
			s.cfg.Hosts = strings.Split(value, ",")
		case "nodes":
			s.cfg.Nodes = nil
			for _, f := range strings.Split(value, ",") {
				f, inputs, _ := strings.Cut(f, "<")
				name, p, _ := strings.Cut(f, ":")
				node := Node{Name: name, Parallelism: 1}
				if p != "" {
					node.Parallelism, _ = strconv.Atoi(p)
				}
				if inputs != "" {
					node.Inputs = strings.Split(inputs, "+")
				}
				s.cfg.Nodes = append(s.cfg.Nodes, node)
			}
		case "epoch":
			s.at.Epoch = n
		case "running":
			s.at.Running = true
		case "newest", "committables", "ended", "state", "committed", "unstored", "pending", "acks", "halted":
			s.restored(key, value, n)
		default:
			return fmt.Errorf("unknown setting %q", key)
		}
	}
	return nil
}

func (s *script) restored(key, value string, n uint64) {
	switch key {
	case "newest":
		s.at.Newest = &Record{N: n, Epoch: s.at.Epoch, State: Running}
		if !s.at.Running {
			s.at.Newest.Epoch--
		}
	case "committables":
		s.at.Newest.Committables = int(n)
	case "ended":
		s.at.Newest.Ended = strings.Split(value, ",")
	case "state":
		s.at.Newest.State = State(value)
	case "committed":
		s.at.Committed = n
	case "halted":
		s.at.Sequence = Sequence{Last: s.at.Newest.N, Epoch: s.at.Epoch, Halted: true}
	case "unstored":
		s.at.Savepoints = map[string]uint64{value: s.at.Newest.N}
	case "pending":
		s.at.Sequence.Last = n
		s.at.Pending = &Pending{Barrier: Barrier{N: n}, Epoch: s.at.Epoch, Hosts: s.cfg.Hosts, OpenedAt: s.now}
	case "acks":
		for _, h := range strings.Split(value, ",") {
			s.at.Acks = append(s.at.Acks, Ack{Host: h, N: s.at.Pending.N})
		}
	}
}

func (s *script) status() string {
	st := s.c.Status()
	var b strings.Builder
	fmt.Fprintf(&b, "  completed %d, committed %d", st.Completed, st.Committed)
	if st.Phase != "" {
		fmt.Fprintf(&b, ", %s %d", st.Phase, st.InFlight)
	}
	for _, l := range []struct {
		what  string
		names []string
	}{{"missing", st.Missing}, {"uncommitted", st.Uncommitted}, {"pool", st.Pool}} {
		if len(l.names) > 0 {
			fmt.Fprintf(&b, ", %s %s", l.what, strings.Join(l.names, ","))
		}
	}
	if st.Failures > 0 {
		fmt.Fprintf(&b, ", %d failed: %v", st.Failures, st.LastFailure)
	}
	return b.String() + "\n"
}

// parseEvent reads a name and its arguments; err=... is an outcome.
func parseEvent(words []string) (Event, error) {
	var args []string
	var fault error
	for i, w := range words[1:] {
		if text, ok := strings.CutPrefix(w, "err="); ok {
			fault = parseErr(strings.Join(append([]string{text}, words[i+2:]...), " "))
			break
		}
		args = append(args, w)
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	num := func(i int) uint64 {
		n, _ := strconv.ParseUint(arg(i), 10, 64)
		return n
	}
	switch words[0] {
	case "tick":
		return Tick{}, nil
	case "changed":
		return Changed{After: num(0)}, nil
	case "exhausted":
		return Exhausted{Node: arg(0), Task: int(num(1))}, nil
	case "want":
		return WantCheckpoint{}, nil
	case "savepoint":
		return WantSavepoint{Name: arg(0)}, nil
	case "halt":
		return WantHalt{Savepoint: arg(0)}, nil
	case "pool":
		return PoolWaiting{Host: arg(0), Waiting: arg(1) == "waits"}, nil
	case "opened":
		return PendingOpened{N: num(0), Err: fault}, nil
	case "ack":
		a := Ack{Host: arg(0), N: num(1)}
		if arg(2) == "large" {
			a.Part = &Object{Name: fmt.Sprintf("ack-%s-%d", a.Host, a.N)}
		}
		return Acked{a}, nil
	case "declined":
		return Declined{Host: arg(0), N: num(1), Err: fault}, nil
	case "manifest":
		return ManifestWritten{N: num(0), Committables: int(num(1)), Err: fault,
			Manifest: Object{Name: "manifest-" + arg(0)}}, nil
	case "recorded":
		return RecordWritten{N: num(0), Err: fault}, nil
	case "closed":
		return PendingClosed{N: num(0), Err: fault}, nil
	case "answered":
		return CommitsAnswered{Host: arg(0), Through: num(1)}, nil
	case "unpublishable":
		return CommitFailed{Host: arg(0), Err: fault}, nil
	case "saved":
		return CommittedSaved{Through: num(0), Err: fault}, nil
	case "stored":
		return SavepointStored{Name: arg(0), Err: fault}, nil
	case "finished":
		return MarkedFinished{Err: fault}, nil
	case "retained":
		return Retained{Err: fault}, nil
	case "ended":
		return Ended{}, nil
	}
	return nil, fmt.Errorf("unknown event %q", words[0])
}

func parseErr(text string) error {
	switch text {
	case "fenced":
		return ErrFenced
	case "unknown":
		return coordination.ErrUnknownOutcome
	case "unavailable":
		return coordination.ErrUnavailable
	case "exists":
		return ErrSavepointExists
	}
	return errors.New(text)
}

func showBarrier(b Barrier) string {
	s := ""
	if b.Halt {
		s += " halt"
	}
	if b.Roll {
		s += " roll"
	}
	if len(b.Ended) > 0 {
		s += " ended=" + strings.Join(b.Ended, ",")
	}
	return s
}

func showRecord(r Record) string {
	s := fmt.Sprintf("%d after %d, %s", r.N, r.Prev, r.State)
	if r.Savepoint != "" {
		s += ", savepoint " + r.Savepoint
	}
	if r.Committables > 0 {
		s += fmt.Sprintf(", %d to commit", r.Committables)
	}
	return s
}

func showAction(a Action) string {
	switch a := a.(type) {
	case OpenPending:
		s := "open pending " + a.Pending.ID + showBarrier(a.Pending.Barrier)
		if a.Pending.Savepoint != "" {
			s += " savepoint=" + a.Pending.Savepoint
		}
		if a.Pending.Final {
			s += " final"
		}
		return s
	case SendBarrier:
		return fmt.Sprintf("send barrier %d%s", a.Barrier.N, showBarrier(a.Barrier))
	case WriteManifest:
		var hosts []string
		for _, k := range a.Acks {
			hosts = append(hosts, k.Host)
		}
		return fmt.Sprintf("write manifest %d of %s", a.N, strings.Join(hosts, ","))
	case WriteRecord:
		return "write record " + showRecord(a.Record)
	case ConfirmRecord:
		return fmt.Sprintf("confirm record %d", a.Record.N)
	case ClosePending:
		return fmt.Sprintf("close pending %d", a.N)
	case AnnounceCompleted:
		return fmt.Sprintf("announce completed %d", a.Record.N)
	case AnnounceAborted:
		return fmt.Sprintf("announce aborted %d: %v", a.N, a.Reason)
	case DiscardState:
		return fmt.Sprintf("discard state of %s for %d", a.Ack.Host, a.Ack.N)
	case DiscardObject:
		return "discard object " + a.Object.Name
	case SaveCommitted:
		return fmt.Sprintf("save committed through %d", a.Through)
	case AnnounceCommitted:
		return fmt.Sprintf("announce committed through %d", a.Through)
	case Retain:
		return "retain"
	case StoreSavepoint:
		return fmt.Sprintf("store savepoint %s of %d", a.Name, a.N)
	case SavepointDone:
		if a.Err != nil {
			return fmt.Sprintf("savepoint %s failed: %v", a.Name, a.Err)
		}
		return fmt.Sprintf("savepoint %s is checkpoint %d", a.Name, a.N)
	case MarkFinished:
		return fmt.Sprintf("mark %d finished", a.N)
	case Stop:
		s := fmt.Sprintf("stop at %d", a.N)
		if a.Finished {
			s += ", finished"
		}
		if a.Uncommitted {
			s += ", uncommitted on " + strings.Join(a.Waiting, ",")
		}
		return s
	case Fail:
		return fmt.Sprintf("fail: %v", a.Err)
	case StepDown:
		return fmt.Sprintf("step down: %v", a.Err)
	}
	return fmt.Sprintf("%T", a)
}

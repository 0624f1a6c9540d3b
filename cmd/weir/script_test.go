package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

func TestMain(m *testing.M) {
	// Started under the name weir, the test binary is weir, plugin process
	// included.
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == acmePlugin {
		serveAcme()
		return
	}
	testscript.Main(m, map[string]func(){"weir": underTest, acmeName: serveAcme, leakName: serveLeak})
}

// TestScripts runs the commands as a user would and compares all that they print.
// What differs from run to run is masked; go test -update writes the scripts anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, ".data"))
			env.Setenv("TZ", "UTC")
			acme, err := exec.LookPath(acmeName)
			if err != nil {
				return err
			}
			env.Setenv("ACME", acme)
			// Sockets need a short path, and nothing of them may be left.
			tmp, err := os.MkdirTemp("", "w")
			if err != nil {
				return err
			}
			env.Setenv("TMPDIR", tmp)
			env.Defer(func() {
				if err := os.Remove(tmp); err != nil {
					t.Errorf("the folder for temporary files: %v", err)
				}
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  cmdExits,
			"start":  cmdStart,
			"signal": cmdSignal,
			"await":  cmdAwait,
			"ends":   cmdEnds,
			"until":  cmdUntil,
			"damage": cmdDamage,
			"lines":  cmdLines,
		},
	})
}

// cmdExits is `exits CODE weir ARGS...`: runs weir, which has to exit with the code.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	stdout, stderr := new(bytes.Buffer), new(bytes.Buffer)
	cmd := weirCommand(ts, args[2:])
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = cmd.Run()
	finish(ts, cmd, err, code, stdout, stderr)
}

func weirCommand(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command("weir", args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_DATA_HOME", "TZ", "WEIR_SERVER", "WEIR_TOKEN_FILE", "WEIR_PLUGIN_PATH", "TOPIC", "SystemRoot"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

// finish checks the exit code and hands the output, masked, to stdout and stderr of
// the script.
func finish(ts *testscript.TestScript, cmd *exec.Cmd, err error, code int, stdout, stderr *bytes.Buffer) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	_, err = ts.Stdout().Write(mask(stdout.Bytes(), ts.Getenv("WORK"), ts.Getenv("MASK")))
	ts.Check(err)
	_, err = ts.Stderr().Write(mask(stderr.Bytes(), ts.Getenv("WORK"), ts.Getenv("MASK")))
	ts.Check(err)
	if got := cmd.ProcessState.ExitCode(); got != code {
		ts.Fatalf("weir %s: exit code %d, want %d\n[stdout]\n%s[stderr]\n%s", strings.Join(cmd.Args[1:], " "), got, code, stdout, stderr)
	}
}

// background is the weir that `start` has started.
type background struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	done           chan error
	since          uint64 // the newest epoch before
}

var (
	runningMu sync.Mutex
	running   = map[*testscript.TestScript]*background{}
	// epochs are the newest that were seen to have a checkpoint.
	epochs = map[*testscript.TestScript]uint64{}
)

// cmdStart is `start weir ARGS...`: one weir in the background.
func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	b := &background{cmd: weirCommand(ts, args[1:]), done: make(chan error, 1)}
	b.cmd.Stdout, b.cmd.Stderr = &b.stdout, &b.stderr
	ts.Check(b.cmd.Start())
	go func() { b.done <- b.cmd.Wait() }()
	runningMu.Lock()
	b.since = epochs[ts]
	running[ts] = b
	runningMu.Unlock()
	ts.Defer(func() {
		_ = b.cmd.Process.Kill()
		runningMu.Lock()
		delete(running, ts)
		runningMu.Unlock()
	})
}

// cmdSignal is `signal NAME CODE`: sends a signal to the started weir, which has to
// exit with the code.
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	runningMu.Lock()
	b := running[ts]
	runningMu.Unlock()
	signal := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}[args[0]]
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(b.cmd.Process.Signal(signal))
	select {
	case err := <-b.done:
		finish(ts, b.cmd, err, code, &b.stdout, &b.stderr)
	case <-time.After(30 * time.Second):
		ts.Fatalf("weir does not end within 30s of SIG%s\n%s%s", args[0], &b.stdout, &b.stderr)
	}
}

// cmdAwait is `await NAME`: waits for a checkpoint that the started weir has made.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	runningMu.Lock()
	b := running[ts]
	runningMu.Unlock()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var all []struct{ N, Epoch uint64 }
		out, err := weirCommand(ts, []string{"checkpoint", "ls", "-o", "json", args[0]}).Output()
		if err == nil && json.Unmarshal(out, &all) == nil && len(all) > 0 && all[0].Epoch > b.since {
			runningMu.Lock()
			epochs[ts] = all[0].Epoch
			runningMu.Unlock()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no checkpoint of %s within 30s: %s", args[0], out)
		}
	}
}

// cmdEnds is `ends CODE`: the started weir ends by itself, with the code.
func cmdEnds(ts *testscript.TestScript, _ bool, args []string) {
	runningMu.Lock()
	b := running[ts]
	runningMu.Unlock()
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	select {
	case err := <-b.done:
		finish(ts, b.cmd, err, code, &b.stdout, &b.stderr)
	case <-time.After(30 * time.Second):
		ts.Fatalf("weir does not end within 30s\n%s%s", &b.stdout, &b.stderr)
	}
}

// cmdUntil is `until REGEXP weir ARGS...`: runs weir until its output, not masked,
// matches.
func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		stdout, stderr := new(bytes.Buffer), new(bytes.Buffer)
		cmd := weirCommand(ts, args[2:])
		cmd.Stdout, cmd.Stderr = stdout, stderr
		err := cmd.Run()
		if err == nil && want.Match(stdout.Bytes()) {
			finish(ts, cmd, err, 0, stdout, stderr)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %q within 30s: %v\n%s%s", args[0], err, stdout, stderr)
		}
	}
}

// cmdDamage is `damage GLOB`: changes one byte in the middle of each file.
func cmdDamage(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		b[len(b)/2] ^= 1
		ts.Check(os.WriteFile(f, b, 0o600))
	}
}

// cmdLines is `lines GLOB N`: the files have so many lines together.
func cmdLines(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		n += bytes.Count(b, []byte("\n"))
	}
	if want, err := strconv.Atoi(args[1]); err != nil || n != want {
		ts.Fatalf("%d lines in %q, not %s", n, files, args[1])
	}
}

// masks are what differs from run to run.
var masks = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[0-9.]*(Z|[+-]\d\d:\d\d)?`), "DATE"},
	{regexp.MustCompile(`(finished in |stopped after |took |in=|since )[0-9.]+(µs|ms|m\d+s|s)`), "${1}DURATION"},
	{regexp.MustCompile(`DATE +[0-9.]+(µs|ms|m\d+s|s)`), "DATE  DURATION"},
	{regexp.MustCompile(`\([0-9.]+( [kM])?/s\)`), "(RATE)"},
	// The last barrier may find the word of a split's end on its way.
	{regexp.MustCompile(`"assigned":\["0"\],"ended":\[\]`), `"assigned":[],"ended":["0"]`},
	// A slow run has no rate to speak of.
	{regexp.MustCompile(`records read, `), "records read (RATE), "},
	{regexp.MustCompile(`\b[a-z2-7]{20}\b`), "UID"},
	{regexp.MustCompile(`-[a-z2-7]{8}-0000`), "-UID-0000"},
	{regexp.MustCompile(`-[A-Z2-7]{26}\b`), "-RANDOM"},
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "CHECKSUM"},
	{regexp.MustCompile(`(pid|process)([ =])\d+`), "$1${2}PID"},
	{regexp.MustCompile(`(state of checkpoint|checksum of its) \d+`), "$1 N"},
	{regexp.MustCompile(`\S*/testscript-main\d+/bin`), "$$BIN"},
	{regexp.MustCompile(`"\d+-\d+-\d+\\?"`), `"FILE"`},
	{regexp.MustCompile(`,"records_(in|out)_per_second":[0-9.e+-]+`), ""},
	{regexp.MustCompile(`"(seconds|took_ns|duration_ns|slowest_checkpoint_ns|host_allocations|bytes_in_flight|peak_bytes_in_flight|busy|blocked|bytes|bytes_in|bytes_out)":[0-9.e+-]+`), `"$1":N`},
}

var (
	blanks = regexp.MustCompile(`(\S)  +`)
	rules  = regexp.MustCompile(`──+`)
	// more is what a script may ask for with MASK.
	more = map[string]*regexp.Regexp{
		"numbers": regexp.MustCompile(`\b\d[\d,.]*( ([KM]i)?B\b)?`),
		"all":     regexp.MustCompile(`\b\d[\d,.]*(m\d+s|µs|ms|s\b| ([KM]i)?B\b| [kM]/s|/s|%)?`),
		"sizes":   regexp.MustCompile(`\b\d[\d,.]* ([KM]i)?B\b|\b\d[\d.]*(µs|ms|s)\b`),
	}
)

// mask hides what differs from run to run. The widths of a table's columns depend
// on what is in them: where something of a table was masked, its runs of blanks
// become two.
func mask(b []byte, work, also string) []byte {
	blocks := strings.Split(strings.ReplaceAll(string(b), work, "$WORK"), "\n\n")
	for i, block := range blocks {
		lines := strings.Split(block, "\n")
		table := false
		for j, line := range lines {
			masked := line
			for _, m := range masks {
				masked = m.re.ReplaceAllString(masked, m.by)
			}
			if re := more[also]; re != nil {
				masked = re.ReplaceAllString(masked, "N")
			}
			table = table || masked != line && blanks.MatchString(line)
			lines[j] = masked
		}
		if blocks[i] = strings.Join(lines, "\n"); table {
			blocks[i] = rules.ReplaceAllString(blanks.ReplaceAllString(blocks[i], "$1  "), "──")
		}
	}
	return []byte(strings.Join(blocks, "\n\n"))
}

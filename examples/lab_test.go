// Package examples_test runs every example as a user would, with a weir that it
// builds once, and checks what comes out record by record.
package examples_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/internal/pyenv"
)

// weir is the binary under test.
var weir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "weir-examples")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		weir = filepath.Join(dir, "weir")
		if runtime.GOOS == "windows" {
			weir += ".exe"
		}
		if out, err := exec.Command("go", "build", "-o", weir, "../cmd/weir").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		defer broker.Stop()
		return m.Run()
	}())
}

// lab is a copy of one example, with folders for its output and its state.
type lab struct {
	t    *testing.T
	name string
	root string
	env  []string
}

func newLab(t *testing.T, name string, env ...string) *lab {
	t.Helper()
	l := &lab{t: t, name: name, root: t.TempDir(), env: env}
	if name == "python" {
		l.env = append(l.env, "PYTHON="+pyenv.Python(t, ".."))
	}
	if err := os.CopyFS(filepath.Join(l.root, "examples", name), os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(weir, args...)
	cmd.Dir = l.root
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(l.root, "state"))
	cmd.Env = append(cmd.Env, l.env...)
	return cmd
}

func (l *lab) pipeline() string { return filepath.Join("examples", l.name, "pipeline.yaml") }

// run runs the pipeline to its end and returns what it printed.
func (l *lab) run() string {
	l.t.Helper()
	cmd := l.command("run", l.pipeline())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		l.t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	return stdout.String()
}

// start starts the pipeline. wait returns its exit code and what it printed, once
// it has ended.
func (l *lab) start() (cmd *exec.Cmd, wait func() (code int, out string)) {
	l.t.Helper()
	cmd = l.command("run", l.pipeline())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ended := false
	wait = func() (int, string) {
		l.t.Helper()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			l.t.Fatal("it does not end")
		}
		ended = true
		return cmd.ProcessState.ExitCode(), out.String()
	}
	l.t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			<-done
		}
	})
	return cmd, wait
}

// out is a path below the folder for output.
func (l *lab) out(path string) string { return filepath.Join(l.root, "out", l.name, path) }

// lines returns the lines of a published file, or of all files of a folder in the
// order of their names.
func (l *lab) lines(path string) []string {
	l.t.Helper()
	var all []string
	for _, file := range l.files(path) {
		all = append(all, linesOf(l.t, file)...)
	}
	return all
}

// files lists what is published in a folder, or the file itself.
func (l *lab) files(path string) []string {
	l.t.Helper()
	root := l.out(path)
	var files []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && file == root:
			return nil
		case err != nil:
			return err
		case !d.IsDir() && !strings.HasPrefix(d.Name(), "."):
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return files
}

// noLeftovers checks that nothing hidden stays beside the output of a pipeline that
// has finished.
func (l *lab) noLeftovers() {
	l.t.Helper()
	err := filepath.WalkDir(l.out("."), func(file string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".") && d.Name() != "." {
			l.t.Errorf("%s is left", file)
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// linesOf reads a file, whatever its compression.
func linesOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(file) {
	case ".gz":
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	case ".zst":
		z, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	var lines []string
	for s := bufio.NewReader(r); ; {
		line, err := s.ReadString('\n')
		switch {
		case err == nil:
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		case errors.Is(err, io.EOF) && line == "":
			return lines
		case errors.Is(err, io.EOF):
			return append(lines, line)
		default:
			t.Fatalf("%s: %v", file, err)
		}
	}
}

// same compares record by record, in order.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: record %d is\n%q, not\n%q", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, not %d", what, len(got), len(want))
	}
}

// sameSet compares record by record, whatever the order.
func sameSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	same(t, what+" (sorted)", slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30s", what)
		}
	}
}

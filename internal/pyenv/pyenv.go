// Package pyenv sets up, for tests, the virtual environment in which the example
// plugin in Python runs.
package pyenv

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// setupTimeout bounds the set-up, which fetches packages the first time.
const setupTimeout = 10 * time.Minute

// Python returns the interpreter of a virtual environment that examples/python has
// set up; root is the repository's root. The environment lies in the user's cache
// folder, one for each state of what it is made from, and is made once.
func Python(t testing.TB, root string) string {
	t.Helper()
	example := filepath.Join(root, "examples", "python")
	name, err := stateOf(root, example)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	venv := filepath.Join(cache, "weir", name)
	python := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(python); err == nil {
		return python
	}
	if err := setUp(t, example, venv); err != nil {
		t.Fatalf("the virtual environment for %s: %v", example, err)
	}
	return python
}

// stateOf names what the environment is made from: its packages and the protocol.
func stateOf(root, example string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, "proto", "weir", "plugin", "v1", "*.proto"))
	if err != nil {
		return "", err
	}
	slices.Sort(files)
	h := sha256.New()
	for _, f := range append(files, filepath.Join(example, "requirements.txt"), filepath.Join(example, "setup.sh")) {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(b), b)
	}
	return fmt.Sprintf("python-%x", h.Sum(nil)[:8]), nil
}

// setUp makes the environment beside its place and moves it there, so that a half
// one is never found. Of two that do so at once, one is kept.
func setUp(t testing.TB, example, venv string) error {
	parent := filepath.Dir(venv)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(parent, "setup-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(made) }()
	t.Logf("setting up %s", venv)
	ctx, cancel := context.WithTimeout(t.Context(), setupTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", filepath.Join(example, "setup.sh"), filepath.Join(made, "venv"))
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	err = os.Rename(filepath.Join(made, "venv"), venv)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

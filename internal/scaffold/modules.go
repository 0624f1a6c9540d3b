package scaffold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// goVersion is the language version of a new module.
const goVersion = "1.26.0"

// modulesTimeout bounds the search for modules.
const modulesTimeout = 3 * time.Minute

// resolve completes go.mod and go.sum. sums are those of the SDK's checkout, nil where
// there is none: with them, what the module cache holds is enough in a place where
// Weir has been built. Else the network is asked.
func resolve(ctx context.Context, dir string, sums []byte) error {
	ctx, cancel := context.WithTimeout(ctx, modulesTimeout)
	defer cancel()
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not on the PATH: install Go " + strings.TrimSuffix(goVersion, ".0"))
	}
	if sums != nil {
		mod := filepath.Join(dir, "go.mod")
		before, err := os.ReadFile(mod)
		if err != nil {
			return err
		}
		if resolveOffline(ctx, dir, sums) == nil {
			return nil
		}
		// What was not found has been taken out.
		if err := errors.Join(os.WriteFile(mod, before, 0o644), os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644)); err != nil {
			return err
		}
	}
	return run(ctx, dir, nil, "mod", "tidy")
}

// resolveOffline keeps of the SDK's sums those that the module needs.
func resolveOffline(ctx context.Context, dir string, sums []byte) error {
	// -e: the tests of dependencies may need what nobody here has fetched, or what
	// the checkout knows no sum of. They are not the plugin's affair.
	if err := run(ctx, dir, []string{"GOPROXY=off", "GONOSUMDB=*", "GOSUMDB=off"}, "mod", "tidy", "-e"); err != nil {
		return err
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(sums)) {
		known[line] = true
	}
	file := filepath.Join(dir, "go.sum")
	found, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var kept strings.Builder
	for line := range strings.Lines(string(found)) {
		if known[line] {
			kept.WriteString(line)
		}
	}
	if err := os.WriteFile(file, []byte(kept.String()), 0o644); err != nil {
		return err
	}
	return run(ctx, dir, []string{"GOPROXY=off"}, "list", "-deps", "-test", "./...")
}

func run(ctx context.Context, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	// A workspace around the folder is not the module's.
	cmd.Env = append(append(os.Environ(), "PWD="+abs, "GOWORK=off", "GOFLAGS="), env...)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = nil, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

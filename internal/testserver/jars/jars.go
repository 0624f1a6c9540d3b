// Package jars fetches Java programs from Maven Central, once a machine: into the
// user's cache folder, which all work trees share.
package jars

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirstream/weir/coordination/flock"
)

// fetchTimeout bounds one download; a first one fetches Maven's own plugins too.
const fetchTimeout = 10 * time.Minute

// Dir returns the folder in which the test servers keep what outlives a test.
func Dir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("a folder for the test servers: %w", err)
	}
	dir := filepath.Join(base, "weir-testserver")
	return dir, os.MkdirAll(dir, 0o755)
}

// Fetch returns a folder that holds every jar that the pom names as a runtime
// dependency, and what those depend on. It is downloaded unless it is there;
// another process that is downloading it is waited for. The folder is never
// changed afterwards, but files beside it, named after it, may be added.
func Fetch(ctx context.Context, name string, pom []byte) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(pom)
	target := filepath.Join(dir, name+"-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	unlock, err := Lock(ctx, target+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	return target, download(ctx, dir, target, pom)
}

func download(ctx context.Context, dir, target string, pom []byte) error {
	work, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(work, "lib")
	mvn := exec.CommandContext(ctx, "mvn", "-B", "-q", "-f", filepath.Join(work, "pom.xml"),
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+lib)
	mvn.WaitDelay = time.Second
	if out, err := mvn.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("mvn is not installed: the test servers are downloaded with Maven, and need Java 17")
		}
		return fmt.Errorf("download %s with mvn: %w\n%s", filepath.Base(target), err, strings.TrimSpace(string(out)))
	}
	return os.Rename(lib, target)
}

// Lock takes the lock file at path, waiting for its holder until ctx ends.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := flock.Take(path)
		if err == nil {
			return func() { f.Close() }, nil
		}
		var held *flock.HeldError
		if !errors.As(err, &held) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: waited until %w", err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Package local gives one pipeline what it needs to run in this process: a state
// folder of its own with two locks, coordination in a local file, and checkpoint
// storage. It is what `weir run` stands on.
//
// The folder <state>/<name>/ holds:
//
//	host.lock, plugins.lock   see package flock
//	weir.db                   coordination records
//	checkpoints/              checkpoint storage, where the file names no other
//	dumps/                    goroutine dumps of plugins that hung
//	scratch/                  state on disk, while the pipeline runs
//	run/                      sockets of plugins, or a link to where they are
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
	"github.com/weirstream/weir/coordination/flock"
	"github.com/weirstream/weir/host/process"
)

// DefaultStateDir is the folder for the state of all pipelines of this user.
func DefaultStateDir() string { return filepath.Join(xdg.StateHome, "weir") }

// Dir is the state folder of one pipeline.
func Dir(stateDir, name string) string { return filepath.Join(stateDir, name) }

// Files of a state folder.
const (
	dbFile         = "weir.db"
	checkpointsDir = "checkpoints"
	dumpsDir       = "dumps"
	socketsDir     = "run"
	scratchDir     = "scratch"
)

// Home is a state folder that this process has locked.
type Home struct {
	Dir   string
	locks *flock.Run
	db    *embedded.DB
	store *embedded.Store
	lead  *coordination.Leadership
}

// RunningError says that another process runs the pipeline.
type RunningError struct {
	Pipeline string
	Held     *flock.HeldError
}

func (e *RunningError) Error() string {
	who := "another process"
	if e.Held.PID != 0 {
		who = fmt.Sprintf("process %d", e.Held.PID)
	}
	return fmt.Sprintf("pipeline %s is being run by %s already (it holds %s): stop that one first, or give this one another name",
		e.Pipeline, who, e.Held.Path)
}

// Unwrap returns the lock that is held.
func (e *RunningError) Unwrap() error { return e.Held }

// Stable codes of errors; package explain says what each means.
const (
	CodeRunning   = "run.already_running"
	CodeOtherFile = "run.other_file"
)

// ErrorCode implements explain.Coded.
func (e *RunningError) ErrorCode() string { return CodeRunning }

// Open makes the folder where there is none and locks it. It fails at once with
// a *RunningError while another host runs the pipeline, and waits a few
// seconds for the leftovers of a killed one.
func Open(ctx context.Context, stateDir, name string, log *slog.Logger) (*Home, error) {
	dir := Dir(stateDir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	locks, err := flock.TakeRun(ctx, dir, flock.RunOptions{Waiting: func(pids []int) {
		log.Warn("waiting for plugin processes of a run that was killed", "pids", pids)
	}})
	if err != nil {
		var held *flock.HeldError
		if errors.As(err, &held) {
			return nil, &RunningError{Pipeline: name, Held: held}
		}
		return nil, err
	}
	h := &Home{Dir: dir, locks: locks}
	err = h.removeSockets()
	if err == nil {
		err = h.open(ctx, name)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Home) open(ctx context.Context, name string) (err error) {
	if h.db, err = embedded.Open(filepath.Join(h.Dir, dbFile), embedded.Options{}); err != nil {
		return fmt.Errorf("state of pipeline %s: %w", name, err)
	}
	if h.store, err = h.db.NewStore(); err != nil {
		return err
	}
	h.lead, err = coordination.Campaign(ctx, h.store, "leader", fmt.Appendf(nil, `{"pid":%d}`, os.Getpid()))
	return err
}

// Inherit is the lock file that every plugin process keeps open.
func (h *Home) Inherit() *os.File { return h.locks.Inherit() }

// Store is this process's session with coordination.
func (h *Home) Store() coordination.Store { return h.store }

// Leadership fences what this process writes.
func (h *Home) Leadership() *coordination.Leadership { return h.lead }

// DumpDir is where goroutine dumps of hung plugins go.
func (h *Home) DumpDir() string { return filepath.Join(h.Dir, dumpsDir) }

// ScratchDir is where tasks keep state on disk while they run.
func (h *Home) ScratchDir() string { return filepath.Join(h.Dir, scratchDir) }

// Sockets makes the folder for plugins' sockets: in the state folder if the path
// is short enough for a socket, else in the system's folder for temporary files,
// with a link from the state folder so that the next run finds what a killed one
// left there. The caller calls remove when the last process is gone.
func (h *Home) Sockets() (dir string, remove func() error, err error) {
	own := filepath.Join(h.Dir, socketsDir)
	dir, removeDir, err := process.SocketDir(own)
	if err != nil {
		return "", nil, err
	}
	if abs, err := filepath.Abs(own); err == nil && abs == dir {
		return dir, removeDir, nil
	}
	if err := os.Symlink(dir, own); err != nil {
		return "", nil, errors.Join(fmt.Errorf("folder for sockets: %w", err), removeDir())
	}
	return dir, func() error { return errors.Join(removeDir(), os.Remove(own)) }, nil
}

// removeSockets removes what a killed run left. Both locks are held, so nobody
// uses it any more.
func (h *Home) removeSockets() error {
	own := filepath.Join(h.Dir, socketsDir)
	if elsewhere, err := os.Readlink(own); err == nil && strings.HasPrefix(filepath.Base(elsewhere), process.SocketPrefix) {
		if err := os.RemoveAll(elsewhere); err != nil {
			return fmt.Errorf("sockets of a former run: %w", err)
		}
	}
	if err := os.RemoveAll(own); err != nil {
		return fmt.Errorf("sockets of a former run: %w", err)
	}
	return nil
}

// StorageURL is where checkpoints go unless the pipeline says otherwise.
func StorageURL(stateDir, name string) string {
	abs, err := filepath.Abs(filepath.Join(Dir(stateDir, name), checkpointsDir))
	if err != nil {
		abs = filepath.Join(Dir(stateDir, name), checkpointsDir)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}

// Close lets go of everything; the folder stays.
func (h *Home) Close() error {
	var errs []error
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	if h.db != nil {
		errs = append(errs, h.db.Close())
	}
	return errors.Join(append(errs, h.locks.Release())...)
}

// Names lists the pipelines that have state.
func Names(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(stateDir, e.Name(), dbFile)); err == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// OpenStorage opens the checkpoint storage of a pipeline; an empty url means the
// one in its state folder.
func OpenStorage(ctx context.Context, stateDir, name, storageURL string, opts ...storage.Option) (*storage.Storage, error) {
	if storageURL == "" {
		storageURL = StorageURL(stateDir, name)
	}
	return storage.Open(ctx, storageURL, opts...)
}

package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The lock files of a run, in its state folder.
const (
	hostFile    = "host.lock"
	pluginsFile = "plugins.lock"
)

const (
	defaultWait = 5 * time.Second
	waitPause   = 20 * time.Millisecond
)

// RunOptions of TakeRun.
type RunOptions struct {
	// Wait is how long to wait for the leftovers of a run whose host is dead.
	// Zero is five seconds.
	Wait time.Duration
	// Waiting, where it is set, is called once before the waiting begins, with
	// the leftovers' pids as far as they can be found out, which is on Linux.
	Waiting func(pids []int)
}

// Run holds the locks of one run.
type Run struct {
	host, plugins *os.File
}

// LeftoversError says that plugins of a run whose host is dead do not end.
type LeftoversError struct {
	Path   string
	PIDs   []int // as far as they can be found out
	Waited time.Duration
}

// Error names the lock file and the processes.
func (e *LeftoversError) Error() string {
	who := "plugin processes of an earlier run"
	if len(e.PIDs) > 0 {
		who += fmt.Sprintf(" %v", e.PIDs)
	}
	return fmt.Sprintf("%s still hold %s after %s", who, e.Path, e.Waited)
}

// CodeLeftovers is the stable code of a LeftoversError.
const CodeLeftovers = "run.leftovers"

// ErrorCode is the stable code that says what the error means.
func (e *LeftoversError) ErrorCode() string { return CodeLeftovers }

// TakeRun takes both locks of the state folder dir. It fails at once with
// *HeldError, which names the pid, while another host runs there; with
// *LeftoversError when plugins of a dead one do not end in time; with ctx.Err()
// when ctx ends first.
func TakeRun(ctx context.Context, dir string, o RunOptions) (*Run, error) {
	host, err := Take(filepath.Join(dir, hostFile))
	if err != nil {
		return nil, err
	}
	if !inheritable {
		return &Run{host: host}, nil
	}
	plugins, err := takePlugins(ctx, filepath.Join(dir, pluginsFile), o)
	if err != nil {
		host.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &Run{host: host, plugins: plugins}, nil
}

func takePlugins(ctx context.Context, path string, o RunOptions) (*os.File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := waitLock(ctx, f, o); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func waitLock(ctx context.Context, f *os.File, o RunOptions) error {
	if o.Wait <= 0 {
		o.Wait = defaultWait
	}
	timeout := time.NewTimer(o.Wait)
	defer timeout.Stop()
	for first := true; ; first = false {
		if locked, err := tryLock(f); locked || err != nil {
			return err
		}
		if first && o.Waiting != nil {
			o.Waiting(openers(f.Name()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return &LeftoversError{Path: f.Name(), PIDs: openers(f.Name()), Waited: o.Wait}
		case <-time.After(waitPause):
		}
	}
}

// Inherit returns the file of the plugins' lock, for exec.Cmd.ExtraFiles of each
// plugin process: that process then holds the lock with us until it ends. The
// child needs to do nothing with it, and its own children get it too. It is nil
// on Windows. The file belongs to the Run.
func (r *Run) Inherit() *os.File { return r.plugins }

// Release lets go of the locks as far as this process holds them. Plugins that
// are still alive keep the plugins' lock.
func (r *Run) Release() error {
	var err error
	if r.plugins != nil {
		err = r.plugins.Close()
	}
	return errors.Join(err, r.host.Close())
}

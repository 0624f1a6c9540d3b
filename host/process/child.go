package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
)

// child is the operating system's side of a process: it starts, is signalled and
// reaped here and nowhere else.
type child struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File // our ends
	lifeline       *os.File

	exited context.Context // ends when the process is reaped
	isGone context.CancelFunc

	mu     sync.Mutex
	reaped bool // the pid may belong to another process
}

// newChild prepares the command: its pipes and inherited files. The process's own
// ends are returned, to be closed once it runs.
func newChild(cmd *exec.Cmd, inherit, stdout *os.File) (c *child, theirs []*os.File, err error) {
	var ends [6]*os.File // read, write of standard output, standard error, lifeline
	for i := 0; i < len(ends); i += 2 {
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			closeAll(ends[:i]...)
			return nil, nil, fmt.Errorf("pipes for a plugin: %w", err)
		}
	}
	cmd.Stdout, cmd.Stderr = ends[1], ends[3]
	passFiles(cmd, ends[4], inherit, stdout)
	prepare(cmd)
	c = &child{cmd: cmd, stdout: ends[0], stderr: ends[2], lifeline: ends[5]}
	c.exited, c.isGone = context.WithCancel(context.Background())
	return c, []*os.File{ends[1], ends[3], ends[4]}, nil
}

// start launches the process on a thread that stays with it until it is reaped:
// on Linux the parent-death signal comes when the starting thread ends.
func (c *child) start() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.reap()
		c.isGone()
	}()
	return <-started
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// signal reaches the process, not its group.
func (c *child) signal(s os.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = c.cmd.Process.Signal(s)
	}
}

// kill ends the whole group.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = killGroup(c.cmd.Process)
	}
}

// cutLifeline tells the process to go.
func (c *child) cutLifeline() { _ = c.lifeline.Close() }

func (c *child) closeOutput() { closeAll(c.stdout, c.stderr) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

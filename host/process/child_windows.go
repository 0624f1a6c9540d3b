package process

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/weirstream/weir/proto/wire"
)

// passFiles makes the lifeline standard input: Windows passes no other files on,
// so neither the inherited one nor the host's output reaches the process.
func passFiles(cmd *exec.Cmd, lifeline, _, _ *os.File) {
	cmd.Stdin = lifeline
	cmd.Env = append(cmd.Env, wire.EnvLifeline+"=0")
}

func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// killGroup ends the process; what it started ends by itself or not at all.
func killGroup(p *os.Process) error { return p.Kill() }

func (c *child) reap() {
	_ = c.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaped = true
}

func stopped(int) bool { return false }

func signalName(s os.Signal) string { return s.String() }

func mayRun(os.FileMode) bool { return true }

//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// prepare has no parent-death signal here: a process that is stopped when its
// host is killed stays until it is continued.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// reap collects the process and then ends what it left behind in its group. The
// system has no wait that leaves the pid taken meanwhile; it gives pids out in
// turn, so the number is not another's at once.
func (c *child) reap() {
	_ = c.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = killGroup(c.cmd.Process)
	c.reaped = true
}

func stopped(int) bool { return false }

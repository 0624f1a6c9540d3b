//go:build unix

package conformance

import (
	"os/exec"
	"syscall"
)

// own gives a command a process group of its own, so that what it starts ends
// with it.
func own(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func endGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

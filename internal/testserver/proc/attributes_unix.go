//go:build unix

package proc

import (
	"os"
	"os/exec"
	"syscall"
)

func attributes(cmd *exec.Cmd, detach bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: detach}
	if !detach {
		endWithParent(cmd.SysProcAttr)
	}
}

func pause(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

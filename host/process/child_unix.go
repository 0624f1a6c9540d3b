//go:build unix

package process

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/proto/wire"
)

// passFiles hands the lifeline, the inherited file and the host's output to the
// process, which learns their numbers from its environment.
func passFiles(cmd *exec.Cmd, lifeline, inherit, stdout *os.File) {
	pass := func(name string, f *os.File) {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		cmd.Env = append(cmd.Env, name+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	}
	pass(wire.EnvLifeline, lifeline)
	if inherit != nil {
		pass(wire.EnvLock, inherit)
	}
	if stdout != nil {
		pass(wire.EnvStdout, stdout)
	}
}

// killGroup ends every process of the group that p leads. p must not have been
// reaped.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }

func signalName(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok {
		if name := unix.SignalName(n); name != "" {
			return name
		}
	}
	return s.String()
}

// mayRun says whether the mode lets somebody run the file.
func mayRun(mode os.FileMode) bool { return mode&0o111 != 0 }

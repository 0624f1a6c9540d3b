package process

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits until the process has ended, ends what it left behind in its group
// while its pid cannot be another's yet, and only then collects it.
func (c *child) reap() {
	for {
		err := unix.Waitid(unix.P_PID, c.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = killGroup(c.cmd.Process)
	_ = c.cmd.Wait()
	c.reaped = true
}

// stopped says whether a signal or a debugger holds the process.
func stopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The state follows the name, which stands in parentheses and may hold any.
	after := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(after) > 0 && (after[0] == 'T' || after[0] == 't')
}

package proc

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// StopPID stops a process that an earlier one has started detached, and waits for
// its end. It does nothing where there is none, or where the pid is another's: then
// its command line lacks mark.
func StopPID(pid int, mark string, patience time.Duration) error {
	p, err := os.FindProcess(pid)
	if err != nil || !is(pid, mark) {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return nil
	}
	for end := time.Now().Add(patience); is(pid, mark); time.Sleep(50 * time.Millisecond) {
		if p.Signal(syscall.Signal(0)) != nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	return nil
}

// is says whether the process's command line holds mark. Where the system does not
// show it, it is believed.
func is(pid int, mark string) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if _, noProc := os.Stat("/proc/self"); noProc != nil {
		return true
	}
	return err == nil && strings.Contains(string(line), mark)
}

// Listening tells why nobody answers at address.
func Listening(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

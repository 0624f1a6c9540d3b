//go:build linux

package process

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNoPluginSurvivesAKilledHost plays a host in a process of its own and kills
// it, SIGKILL, while its plugin runs, is stopped, or listens to nothing.
func TestNoPluginSurvivesAKilledHost(t *testing.T) {
	// The plugin becomes this process's child, so that it can be reaped here.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	for _, c := range []struct {
		name, plugin string
		stop         bool
	}{
		{"running", "good", false},
		{"stopped", "good", true},
		{"deaf", "deaf", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := exec.Command(os.Args[0])
			host.Env = append(os.Environ(), envRole+"=host", "WEIR_TEST_PLUGIN="+c.plugin, "WEIR_TEST_SOCKETS="+t.TempDir())
			host.Stderr = os.Stderr
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			pid, convErr := strconv.Atoi(strings.TrimSpace(line))
			if err := errors.Join(err, convErr); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
			if c.stop {
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				eventually(t, 10*time.Second, "the plugin is stopped", func() bool { return stopped(pid) })
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			eventually(t, 2*time.Second, "the plugin is gone", func() bool { return gone(pid) })
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		})
	}
}

package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whatever is killed, each record comes out once.
func TestPythonKilled(t *testing.T) {
	t.Parallel()
	const count = 6000
	l := newLab(t, "python", "COUNT="+strconv.Itoa(count), "RATE=1500")
	database := filepath.Join(l.root, "out", "python", "orders.db")
	written := func() time.Time {
		info, err := os.Stat(database)
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	// Each time when more has been written, and then the next time.
	for kills := range 2 {
		cmd, wait := l.start()
		before := written()
		eventually(t, "a transaction", func() bool { return written().After(before) })
		time.Sleep(time.Duration(300+300*kills) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if code, out := wait(); code != -1 {
			t.Fatalf("exit code %d\n%s", code, out)
		}
	}
	// Then only a process of the plugin: the pipeline restarts by itself.
	cmd, wait := l.start()
	before := written()
	var plugins []int
	eventually(t, "a transaction of two tasks", func() bool {
		plugins = pythonChildren(t, cmd.Process.Pid)
		return len(plugins) >= 2 && written().After(before)
	})
	if err := syscall.Kill(plugins[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, out := wait(); code != 0 || !strings.Contains(out, "python finished in") {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	l.checkOrders(count)
}

// pythonChildren are the processes of the plugin below a host.
func pythonChildren(t *testing.T, host int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", host))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			line, err := os.ReadFile("/proc/" + child + "/cmdline")
			if err != nil || !strings.Contains(string(line), "main.py") {
				continue // gone meanwhile, or another's
			}
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

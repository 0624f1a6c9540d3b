package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirstream/weir/conformance/rig"
)

// The kit finds what a plugin has started by a variable in the environment, which
// every child inherits, whatever group or session it is in.

// pids are the processes that have the mark in their environment. A process that is
// dead and not reaped has none.
func pids(mark string) (out []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	want := []byte(rig.EnvMark + "=" + mark)
	for _, dir := range dirs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			continue
		}
		for _, kv := range bytes.Split(env, []byte{0}) {
			if bytes.Equal(kv, want) {
				if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
					out = append(out, pid)
				}
				break
			}
		}
	}
	return out
}

// processes are the same for people.
func processes(mark string) (out []string) {
	for _, pid := range pids(mark) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		out = append(out, fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))), pid))
	}
	return out
}

// listeners are the addresses on which processes with the mark listen: paths of Unix
// sockets, and "tcp PORT" or "udp PORT".
func listeners(mark string) (out []string) {
	inodes := make(map[string]string)
	read := func(file string, each func(fields []string)) {
		b, err := os.ReadFile(file)
		if err != nil {
			return
		}
		for _, l := range strings.Split(string(b), "\n")[1:] {
			if f := strings.Fields(l); len(f) > 0 {
				each(f)
			}
		}
	}
	const listening = "0A"
	for _, net := range []string{"tcp", "tcp6", "udp", "udp6"} {
		read("/proc/net/"+net, func(f []string) {
			if len(f) < 10 || strings.HasPrefix(net, "tcp") && f[3] != listening {
				return
			}
			_, port, _ := strings.Cut(f[1], ":")
			n, _ := strconv.ParseUint(port, 16, 16)
			inodes[f[9]] = fmt.Sprintf("%s port %d", net, n)
		})
	}
	const accepting = "00010000" // __SO_ACCEPTCON
	read("/proc/net/unix", func(f []string) {
		if len(f) >= 7 && f[3] == accepting {
			name := "a Unix socket without a name"
			if len(f) > 7 {
				name = f[7]
			}
			inodes[f[6]] = name
		}
	})
	for _, pid := range pids(mark) {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			to, err := os.Readlink(fd)
			if err != nil {
				continue
			}
			inode := strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")
			if at, ok := inodes[inode]; ok && inode != to {
				out = append(out, at)
			}
		}
	}
	return out
}

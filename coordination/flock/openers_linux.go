package flock

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// openers finds the other processes that have the file at path open, as far as
// this user may look. The kernel lists a lock under the process that took it,
// not under those that inherited it.
func openers(path string) []int {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, link := range links {
		// The name only: to follow a stranger's file may hang on a dead mount.
		if target, err := os.Readlink(link); err != nil || target != path {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(link))))
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

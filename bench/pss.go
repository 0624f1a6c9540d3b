package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// samplePSS watches the proportional set size of a process and its descendants,
// summed, until the returned function is called; that returns the peak in bytes.
// Where the system has no such figure it is 0.
func samplePSS(pid int) (peak func() uint64) {
	quit := make(chan struct{})
	var once sync.WaitGroup
	var most uint64
	once.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				var sum uint64
				for _, p := range descendants(pid) {
					sum += pss(p)
				}
				most = max(most, sum)
			}
		}
	})
	return func() uint64 {
		close(quit)
		once.Wait()
		return most
	}
}

// descendants lists a process and everything below it.
func descendants(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		if err != nil {
			return all
		}
		for _, t := range tasks {
			b, err := os.ReadFile(t)
			if err != nil {
				continue
			}
			for _, f := range strings.Fields(string(b)) {
				if child, err := strconv.Atoi(f); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

func pss(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			kib, err := strconv.ParseUint(strings.Fields(string(rest))[0], 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

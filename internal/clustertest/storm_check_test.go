//go:build linux

package clustertest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pluginProcesses are the plugins that run of this test's binary, whoever has started
// them.
func pluginProcesses() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if strings.HasPrefix(string(args), weir+"\x00__plugin") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lines counts those that a sink has published.
func (l *lab) lines(folder string) (n int) {
	l.t.Helper()
	files, err := filepath.Glob(l.path(folder, "[^.]*"))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			l.t.Fatal(err)
		}
		n += bytes.Count(data, []byte("\n"))
	}
	return n
}

// window is a result of the windows by key that a storm computes.
type window struct {
	Key   string
	Start int64
}

type sums struct{ N, Seqs int64 }

// expectWindows checks the sums by key and second against those of the same records,
// which another pipeline has published one by one.
func (l *lab) expectWindows(folder, records string) {
	l.t.Helper()
	want := map[window]sums{}
	for line := range l.published(records) {
		var r struct {
			Key     string
			Seq, TS int64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			l.t.Fatalf("%s: %v", line, err)
		}
		w := window{r.Key, r.TS - r.TS%1000}
		s := want[w]
		s.N++
		s.Seqs += r.Seq
		want[w] = s
	}
	got := map[window]sums{}
	for line, times := range l.published(folder) {
		var r struct {
			window
			sums
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			l.t.Fatalf("%s: %v", line, err)
		}
		if _, twice := got[r.window]; twice || times > 1 {
			l.t.Errorf("window %v came out more than once: %s", r.window, line)
		}
		got[r.window] = r.sums
	}
	if len(want) == 0 {
		l.t.Errorf("there are no records in %s", records)
	}
	wrong := 0
	for w, s := range want {
		if got[w] != s {
			if wrong++; wrong <= 5 {
				l.t.Errorf("window %v: %+v, want %+v", w, got[w], s)
			}
		}
	}
	if wrong > 0 || len(got) != len(want) {
		l.t.Errorf("%d of %d windows are wrong, and there are %d", wrong, len(want), len(got))
	}
}

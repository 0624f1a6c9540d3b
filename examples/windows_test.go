package examples_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// request is a line of the access log.
type request struct {
	Ts     time.Time
	IP     string
	Path   string
	Status int
	Ms     float64
}

// TestWindows computes every minute and every visit of the log by brute force.
func TestWindows(t *testing.T) {
	l := newLab(t, "windows")
	if err := os.CopyFS(filepath.Join(l.root, "examples", "access-log"), os.DirFS("access-log")); err != nil {
		t.Fatal(err)
	}
	l.run()
	var log []request
	for _, line := range linesOf(t, "access-log/access.log.gz") {
		var r request
		if json.Unmarshal([]byte(line), &r) == nil {
			log = append(log, r)
		}
	}
	checkMinutes(t, l, log)
	checkVisits(t, l, log)
	if late := l.lines("late"); len(late) > 0 {
		t.Errorf("%d records are late", len(late))
	}
	l.noLeftovers()
}

func checkMinutes(t *testing.T, l *lab, log []request) {
	t.Helper()
	type window struct {
		Key   string
		Start int64
	}
	ms, failed := map[window][]float64{}, map[window]int{}
	for _, r := range log {
		w := window{"/" + strings.Split(r.Path, "/")[1], r.Ts.UnixMilli() / 60_000 * 60_000}
		ms[w] = append(ms[w], r.Ms)
		if r.Status >= 500 {
			failed[w]++
		}
	}
	for w, all := range ms {
		if len(all) < 2 {
			delete(ms, w) // as `having` has it
		}
	}
	for _, line := range l.lines("minutes") {
		var got struct {
			window
			End       int64
			N, Failed int
			P99       float64
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		all, ok := ms[got.window]
		if !ok {
			t.Errorf("%s should not be, or not twice", line)
			continue
		}
		slices.Sort(all)
		p99 := all[int(0.99*float64(len(all)-1))]
		if got.N != len(all) || got.Failed != failed[got.window] || got.End != got.Start+60_000 || math.Abs(got.P99-p99) > 0.011*p99 {
			t.Errorf("%s: there are %d, %d of them failed, and the 99th percentile is %v", line, len(all), failed[got.window], p99)
		}
		delete(ms, got.window)
	}
	if len(ms) > 0 {
		t.Errorf("%d windows are missing", len(ms))
	}
}

func checkVisits(t *testing.T, l *lab, log []request) {
	t.Helper()
	type visit struct {
		Key         string
		Start, End  int64
		First, Last string
		Pages       int
	}
	const gap = 30 * 60_000
	of := map[string][]request{}
	for _, r := range log {
		of[r.IP] = append(of[r.IP], r)
	}
	want := map[visit]bool{}
	for ip, requests := range of {
		slices.SortStableFunc(requests, func(a, b request) int { return a.Ts.Compare(b.Ts) })
		var v visit
		for _, r := range requests {
			at := r.Ts.UnixMilli()
			if v.Pages > 0 && at >= v.End {
				want[v] = true
				v = visit{}
			}
			if v.Pages == 0 {
				v = visit{Key: ip, Start: at, First: r.Path}
			}
			v.End, v.Last, v.Pages = at+gap, r.Path, v.Pages+1
		}
		want[v] = true
	}
	for _, line := range l.lines("visits") {
		var got visit
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if !want[got] {
			t.Errorf("%s should not be, or not twice", line)
		}
		delete(want, got)
	}
	if len(want) > 0 {
		t.Errorf("%d visits are missing", len(want))
	}
}

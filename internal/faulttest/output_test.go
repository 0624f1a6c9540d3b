//go:build linux

package faulttest

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// expectation is every line that a sink must have published: each once.
type expectation map[string]place

// place is where a line stands in what must keep its order.
type place struct {
	group string
	at    int
}

// publication is a published file with its lines.
type publication struct {
	name  string
	lines []string
}

// published reads what a sink has published: all files of a folder that are not
// hidden, sorted by name, or one file.
func published(t *testing.T, path string) []publication {
	t.Helper()
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		return []publication{{filepath.Base(path), readLines(t, path)}}
	}
	var out []publication
	for _, name := range names(t, path) {
		if !strings.HasPrefix(name, ".") {
			out = append(out, publication{name, readLines(t, filepath.Join(path, name))})
		}
	}
	return out
}

// readLines reads a file whole, as the usual tools would.
func readLines(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(f)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer z.Close()
		r = z
	}
	var lines []string
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if err == io.EOF {
			if line != "" {
				t.Errorf("%s ends with half a line: %.80q", path, line)
			}
			return lines
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// order says how strictly the order within each group is checked.
type order int

const (
	// inFiles: rising within each file.
	inFiles order = iota
	// inRuns: also, no two files share a stretch of a group.
	inRuns
	// byName: also, the files in the order of their names continue each other.
	byName
)

// check compares everything that was published with what must be: nothing
// missing, nothing doubled, nothing else, and in order.
func (e expectation) check(t *testing.T, files []publication, o order) {
	t.Helper()
	const enough = 10 // faults of a kind
	seen := make(map[string]string, len(e))
	var strange, doubled, disordered []string
	runs := map[string][]stretch{}
	for _, f := range files {
		last := map[string]int{}
		first := map[string]int{}
		for i, line := range f.lines {
			p, ok := e[line]
			if !ok {
				strange = append(strange, fmt.Sprintf("%s:%d %.80q", f.name, i+1, line))
				continue
			}
			if where, twice := seen[line]; twice {
				doubled = append(doubled, fmt.Sprintf("%.40q in %s and %s:%d", line, where, f.name, i+1))
				continue
			}
			seen[line] = fmt.Sprintf("%s:%d", f.name, i+1)
			if before, ok := last[p.group]; !ok {
				first[p.group] = p.at
			} else if p.at < before {
				disordered = append(disordered, fmt.Sprintf("%s:%d: %s has %d after %d", f.name, i+1, p.group, p.at, before))
			}
			last[p.group] = p.at
		}
		for g, from := range first {
			runs[g] = append(runs[g], stretch{f.name, from, last[g]})
		}
	}
	var missing []string
	for line, p := range e {
		if seen[line] == "" {
			missing = append(missing, fmt.Sprintf("%s %d %.40q", p.group, p.at, line))
		}
	}
	slices.Sort(missing)
	for _, g := range slices.Sorted(maps.Keys(runs)) {
		s := runs[g]
		if o == inRuns {
			slices.SortFunc(s, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
		}
		for i := 1; o >= inRuns && i < len(s); i++ {
			if s[i].from <= s[i-1].to {
				disordered = append(disordered, fmt.Sprintf("%s: %v and %v", g, s[i-1], s[i]))
			}
		}
	}
	for _, fault := range []struct {
		what string
		all  []string
	}{{"missing", missing}, {"doubled", doubled}, {"that nobody wrote", strange}, {"out of order", disordered}} {
		if len(fault.all) > 0 {
			t.Errorf("%d of %d records %s, such as\n    %s", len(fault.all), len(e), fault.what,
				strings.Join(fault.all[:min(enough, len(fault.all))], "\n    "))
		}
	}
}

// stretch is the part of a group that a file holds.
type stretch struct {
	file     string
	from, to int
}

// hidden lists what is left in an output folder beside what was published.
func hidden(t *testing.T, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, dir), func(name string) bool { return !strings.HasPrefix(name, ".") })
}

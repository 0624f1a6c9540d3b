package file

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// lineRead is a line as it comes out: with its place, and its whole length where it
// was too long.
type lineRead struct {
	value  string
	line   int64
	length int // 0: it is a record
}

// linesOf is what a file of that content must give, line numbers aside.
func linesOf(content string, maxRecord int) []lineRead {
	var all []lineRead
	for len(content) > 0 {
		line, rest, _ := strings.Cut(content, "\n")
		r := lineRead{value: line}
		if len(line) > maxRecord {
			r = lineRead{value: line[:min(maxRecord, failedBytes)], length: len(line)}
		}
		all, content = append(all, r), rest
	}
	return all
}

// readOut is what a reader gives: records and failed lines in the order of their
// line numbers, each number once.
func readOut(t *testing.T, r *sdktest.Reader, records []sdktest.Record) []lineRead {
	t.Helper()
	var all []lineRead
	for i, rec := range records {
		if i > 0 && rec.Ordinal <= records[i-1].Ordinal {
			t.Fatalf("line %d comes after line %d", rec.Ordinal, records[i-1].Ordinal)
		}
		all = append(all, lineRead{value: string(rec.Value), line: rec.Ordinal})
	}
	for _, f := range r.Failed() {
		length, err := strconv.Atoi(f.Length)
		if err != nil || !strings.Contains(f.Err, "line longer than max_record") {
			t.Fatalf("a failed line of length %q: %s", f.Length, f.Err)
		}
		all = append(all, lineRead{string(f.Value), f.Ordinal, length})
	}
	slices.SortFunc(all, func(a, b lineRead) int { return int(a.line - b.line) })
	for i := 1; i < len(all); i++ {
		if all[i].line != all[i-1].line+1 {
			t.Fatalf("line %d is followed by line %d", all[i-1].line, all[i].line)
		}
	}
	return all
}

func sameLines(t *testing.T, what string, got, want []lineRead) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if g, w := got[i], want[i]; g.value != w.value || g.length != w.length {
			t.Fatalf("%s: line %d is %.60q of %d bytes (whole length %d), not %.60q of %d bytes (whole length %d)", what, i, g.value, len(g.value), g.length, w.value, len(w.value), w.length)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines, not %d", what, len(got), len(want))
	}
}

// randomContent makes up lines: empty ones, ones that end in a carriage return,
// binary ones, ones around and far above the limit, and a last one without newline.
func randomContent(rng *rand.Rand, maxRecord int) string {
	var b bytes.Buffer
	for range rng.IntN(30) {
		switch rng.IntN(8) {
		case 0:
		case 1:
			b.WriteString("carriage\r")
		case 2:
			for range rng.IntN(20) {
				if c := byte(rng.Uint32()); c != '\n' {
					b.WriteByte(c)
				}
			}
		case 3:
			b.WriteString(strings.Repeat("m", maxRecord-1+rng.IntN(3)))
		case 4:
			b.WriteString(strings.Repeat("x", rng.IntN(5*maxRecord)))
		case 5:
			if rng.IntN(4) == 0 { // several blocks
				b.WriteString(strings.Repeat("h", blockBytes-10+rng.IntN(2*blockBytes)))
			}
		default:
			fmt.Fprintf(&b, "line %d", rng.IntN(1000))
		}
		b.WriteByte('\n')
	}
	if rng.IntN(2) == 0 {
		b.WriteString("no newline")
	}
	return b.String()
}

// Whatever a file holds, wherever it is divided, and wherever reading is resumed:
// each of its lines comes once, in order within its range, and one that is too
// long is told with its beginning and its length.
func TestEveryLineComesOnceWhateverTheRangesAndResumes(t *testing.T) {
	seeds(t, min(*schedules, 150), func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		maxRecord := []int{1, 7, 100, 5000, 300_000}[rng.IntN(5)]
		content := randomContent(rng, min(maxRecord, 5000))
		name := "in.txt" + []string{"", "", ".gz", ".zst"}[rng.IntN(4)]
		path := filepath.Join(t.TempDir(), name)
		write(t, path, content)

		step := 1 + rng.IntN(len(content)+10)
		if rng.IntN(3) == 0 {
			step = 1 + rng.IntN(10)
		}
		step = max(step, len(content)/200)
		s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "split_size": strconv.Itoa(max(step, 1))},
			sdktest.MaxRecord(maxRecord), sdktest.BatchSize(1+rng.IntN(2000)))
		var all []lineRead
		for _, split := range s.Splits() {
			whole := s.Open(split)
			lines := readOut(t, whole, whole.Rest())
			all = append(all, lines...)
			if rng.IntN(4) > 0 {
				continue
			}
			// Stopped anywhere and gone on with at the position it had.
			first := s.Open(split)
			if n := len(first.Next(rng.IntN(count(lines) + 1))); n > count(lines) {
				t.Fatalf("%d records of %d", n, count(lines))
			}
			position, before := first.Position()
			first.Close()
			if position == nil && before > 0 {
				continue // it had ended
			}
			second := s.OpenAt(split, position)
			rest := readOut(t, second, second.Rest())
			if want := lines[len(lines)-len(rest):]; count(lines)-count(want) != before {
				t.Fatalf("split %s: %d records before position %s, %d behind it, of %d", split.ID, before, position, count(want), count(lines))
			} else {
				sameLines(t, "behind "+string(position), rest, want)
			}
		}
		sameLines(t, fmt.Sprintf("ranges of %d", step), all, linesOf(content, maxRecord))
	})
}

// count is how many of these lines are records.
func count(lines []lineRead) (n int) {
	for _, l := range lines {
		if l.length == 0 {
			n++
		}
	}
	return n
}

// write makes a file, compressed as its name says.
func write(t *testing.T, path, content string) {
	t.Helper()
	var b bytes.Buffer
	switch compressionOf(path) {
	case gzipped:
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(content))
		_ = w.Close()
	case zstded:
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(content))
		_ = w.Close()
	default:
		b.WriteString(content)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A compressed file that is cut short, anywhere, is an error and never just fewer
// lines.
func TestACompressedFileCutShortIsAnError(t *testing.T) {
	for _, ext := range []string{".gz", ".zst"} {
		t.Run(ext, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in"+ext)
			write(t, path, strings.Repeat("some lines\nof text\n", 20))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n < len(whole); n++ {
				if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
					t.Fatal(err)
				}
				s := sdktest.NewSource(t, Source(), map[string]any{"path": path})
				if err := s.Open(s.Splits()[0]).Error(); !strings.Contains(err.Error(), "cut short") {
					t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
				}
			}
		})
	}
}

// A file that loses its end while it is read is an error, also where the cut is at
// the end of a line.
func TestAFileCutShortWhileItIsReadIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.txt")
	write(t, path, "one\ntwo\nthree\n")
	src := &source{cfg: &SourceConfig{Path: path}, task: testTask(1000)}
	r, err := src.Open(t.Context(), splitOf(t, src), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(path, 8); err != nil {
		t.Fatal(err)
	}
	read := r.(*reader)
	if err := read.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := read.fill(t.Context()); err == nil || !strings.Contains(err.Error(), "ends after 8 bytes, and had 14 when it was found: it was cut short while it was read") {
		t.Fatalf("at the end: %v", err)
	}
}

// A range in which no line begins is not read beyond its end: a huge file without
// newlines costs each of its bytes a few readings, not one for each range.
func TestARangeWithoutALineIsNotReadBeyondItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.bin")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<34); err != nil {
		t.Fatal(err)
	}
	src := &source{cfg: &SourceConfig{Path: path, SplitSize: 1 << 20}, task: testTask(1000)}
	f, err := look(path)
	if err != nil {
		t.Fatal(err)
	}
	part := split{Path: path, File: f.id, From: 1 << 20, To: 2 << 20, Size: f.info.Size()}
	r, err := src.Open(t.Context(), sdk.Split[split]{ID: "part", Data: part}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if at := r.(*reader).at.Offset; at > part.To+blockBytes {
		t.Fatalf("the range ends at %d and was read to %d", part.To, at)
	}
}

// A line of 100 MB takes no more memory than the limit and a few blocks.
func TestAHugeLineTakesBoundedMemory(t *testing.T) {
	const length = 100 << 20
	path := filepath.Join(t.TempDir(), "in.bin")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, length); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\nand one behind it"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := sdktest.NewSource(t, Source(), map[string]any{"path": path, "split_size": "200MiB"}, sdktest.MaxRecord(1<<20))
	r := s.Open(s.Splits()[0])
	lines := readOut(t, r, r.Rest())
	runtime.ReadMemStats(&after)
	if len(lines) != 2 || lines[0].length != length || len(lines[0].value) != failedBytes || lines[1].value != "and one behind it" {
		t.Fatalf("%d lines", len(lines))
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Fatalf("%d MiB were allocated in all", took>>20)
	}
}

// Failed lines leave Read by Read, so that a file that consists of nothing else is
// not gathered in memory.
func TestFailedLinesAreHandedOverByTheBatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.txt")
	write(t, path, strings.Repeat(strings.Repeat("x", 2000)+"\n", 2000))
	var c readCounter
	component := sdk.NewSource("file", "", func(_ context.Context, cfg *SourceConfig, t *sdk.Task) (*readCounter, error) {
		inner, err := newSource(cfg, t)
		c.source = inner
		return &c, err
	})
	s := sdktest.NewSource(t, component, map[string]any{"path": path}, sdktest.MaxRecord(1000))
	r := s.Open(s.Splits()[0])
	if lines := readOut(t, r, r.Rest()); len(lines) != 2000 {
		t.Fatalf("%d lines", len(lines))
	}
	if n := c.reads.Load(); n < 2000*1000/failedTogether {
		t.Fatalf("all came out of %d reads", n)
	}
}

// readCounter is the source with its Reads counted.
type readCounter struct {
	*source
	reads atomic.Int64
}

type countingReader struct {
	sdk.Reader[position]
	reads *atomic.Int64
}

func (c *readCounter) Open(ctx context.Context, s sdk.Split[split], from *position) (sdk.Reader[position], error) {
	r, err := c.source.Open(ctx, s, from)
	return &countingReader{r, &c.reads}, err
}

func (r *countingReader) Read(ctx context.Context, out *sdk.Collector) (position, error) {
	r.reads.Add(1)
	return r.Reader.Read(ctx, out)
}

func testTask(maxRecord int) *sdk.Task {
	return &sdk.Task{MaxRecord: maxRecord, Parallelism: 1, Log: slog.New(slog.DiscardHandler)}
}

// splitOf is the only split that the source finds.
func splitOf(t *testing.T, s *source) sdk.Split[split] {
	t.Helper()
	if s.cfg.SplitSize == 0 {
		s.cfg.SplitSize = 64 << 20
	}
	found, _, err := s.Splits(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("%d splits, %v", len(found), err)
	}
	return found[0]
}

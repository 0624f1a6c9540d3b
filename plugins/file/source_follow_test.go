package file

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk/sdktest"
)

// follower reads a followed file as an engine does that runs one reader: it lists
// splits, reads each once those are done that it names, and stops and resumes.
type follower struct {
	t         *testing.T
	s         *sdktest.Source
	queue     []sdktest.Split
	open      *sdktest.Reader // of the first of the queue
	positions map[string]json.RawMessage
	ended     []string
	got       []string
}

func newFollower(t *testing.T, path string, more ...any) *follower {
	config := map[string]any{"path": path, "follow": true, "poll": "1ms"}
	for i := 0; i < len(more); i += 2 {
		config[more[i].(string)] = more[i+1]
	}
	return &follower{
		t: t, positions: map[string]json.RawMessage{},
		s: sdktest.NewSource(t, Source(), config, sdktest.MaxRecord(100_000)),
	}
}

// reader opens the first of the queue where it stood.
func (f *follower) reader() *sdktest.Reader {
	if f.open == nil {
		f.open = f.s.OpenAt(f.queue[0], f.positions[f.queue[0].ID])
	}
	return f.open
}

// stop closes the reader; its position stays.
func (f *follower) stop() {
	if f.open == nil {
		return
	}
	if p, _ := f.open.Position(); p != nil {
		f.positions[f.queue[0].ID] = p
	}
	f.open.Close()
	f.open = nil
}

// catchUp lists, and reads until as many lines have come as there are.
func (f *follower) catchUp(want []string) {
	f.t.Helper()
	for _, s := range f.s.Splits() {
		for _, id := range s.After {
			if !slices.Contains(f.ended, id) && !slices.ContainsFunc(f.queue, func(q sdktest.Split) bool { return q.ID == id }) {
				f.t.Fatalf("split %s waits for %s, which nobody knows", s.ID, id)
			}
		}
		if len(f.queue) > 0 && (len(s.After) != 1 || s.After[0] != f.queue[len(f.queue)-1].ID) {
			f.t.Fatalf("split %s (%s) waits for %q and not for the one before, %s", s.ID, s.Data, s.After, f.queue[len(f.queue)-1].ID)
		}
		f.queue = append(f.queue, s)
	}
	for len(f.queue) > 1 {
		f.got = append(f.got, sdktest.ValuesOf(f.reader().Rest())...)
		f.ended, f.queue, f.open = append(f.ended, f.queue[0].ID), f.queue[1:], nil
	}
	if missing := len(want) - len(f.got); missing > 0 {
		if len(f.queue) == 0 {
			f.t.Fatalf("nothing is left to be read, and %d lines are missing", missing)
		}
		f.got = append(f.got, sdktest.ValuesOf(f.reader().Next(missing))...)
	}
	if !slices.Equal(f.got, want) {
		i := 0
		for i < min(len(f.got), len(want)) && f.got[i] == want[i] {
			i++
		}
		f.t.Fatalf("line %d: %.40q..., not %.40q...", i, f.got[i:min(i+3, len(f.got))], want[i:min(i+3, len(want))])
	}
}

// logWriter is a program that logs, and the rotation of its log. Files are told apart
// by when they were last written, so each write has a time of its own.
type logWriter struct {
	t       *testing.T
	dir     string
	clock   time.Time
	lines   []string // whole, or cut off by a rotation
	partial string
	n       int
	rotated int
}

func (w *logWriter) path() string { return filepath.Join(w.dir, "app.log") }

func (w *logWriter) touch(path string) {
	w.t.Helper()
	w.clock = w.clock.Add(time.Second)
	if err := os.Chtimes(path, w.clock, w.clock); err != nil {
		w.t.Fatal(err)
	}
}

func (w *logWriter) append(text string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	whole := strings.Split(w.partial+text, "\n")
	w.partial = whole[len(whole)-1]
	w.lines = append(w.lines, whole[:len(whole)-1]...)
	w.touch(w.path())
}

// line makes a line that is not there yet.
func (w *logWriter) line(rng *rand.Rand) string {
	w.n++
	return fmt.Sprintf("%d %s", w.n, strings.Repeat("y", rng.IntN(400)))
}

// rotate renames the log and makes a new one. What was its last line stays one.
func (w *logWriter) rotate() {
	w.t.Helper()
	for i := w.rotated; i >= 0; i-- {
		from := w.path()
		if i > 0 {
			from = fmt.Sprintf("%s.%d", w.path(), i)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", w.path(), i+1)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.rotated++
	if w.partial != "" {
		w.lines, w.partial = append(w.lines, w.partial), ""
	}
	w.append("")
}

// truncate begins the log anew in its place.
func (w *logWriter) truncate() {
	w.t.Helper()
	if err := os.Truncate(w.path(), 0); err != nil {
		w.t.Fatal(err)
	}
	w.touch(w.path())
}

// Whatever is appended, however often the file is rotated or truncated, whether
// the pipeline runs meanwhile or not: each line comes once and in order.
func TestAFollowedFileGivesEveryLineOnceThroughRotationAndTruncation(t *testing.T) {
	for name, path := range map[string]string{"a file": "app.log", "a folder": "", "a glob": "app.log*"} {
		t.Run(name, func(t *testing.T) {
			seeds(t, min(*schedules, 25), func(t *testing.T, seed uint64) {
				rng := rand.New(rand.NewPCG(seed, 2))
				w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
				f := newFollower(t, filepath.Join(w.dir, path))
				f.catchUp(nil)
				w.append("")
				for range 12 {
					for range rng.IntN(3) {
						switch rng.IntN(4) {
						case 0:
							w.append("partial ")
						case 1:
							for range rng.IntN(100) {
								w.append(w.line(rng) + "\n")
							}
						default:
							w.append(w.line(rng) + "\n")
						}
					}
					f.catchUp(w.lines)
					switch rng.IntN(4) {
					case 0:
						f.stop()
					case 1:
						if w.partial == "" {
							w.truncate()
						}
					case 2:
						for range 1 + rng.IntN(3) {
							w.rotate()
							if rng.IntN(2) == 0 {
								w.append(w.line(rng) + "\n")
							}
						}
					}
				}
				f.stop()
			})
		})
	}
}

// What rotation left before the first start is read first, oldest first, and does
// not keep the growing file waiting.
func TestRotatedFilesOfBeforeAreReadFirst(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	for _, line := range []string{"one\n", "two\n", "three\nfo"} {
		w.append(line)
		w.rotate()
	}
	w.append("five\n")
	// Its writer may have touched the rotated file last.
	w.touch(w.path() + ".1")
	f := newFollower(t, w.path()+"*")
	f.catchUp([]string{"one", "two", "three", "fo", "five"})
	f.stop()
}

// A compressed file is read with the others at the first start. Later it is what
// rotation made of one that had been read.
func TestARotatedFileThatIsCompressedIsNotReadAgain(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	write(t, w.path()+".2.gz", "zero\n")
	w.touch(w.path() + ".2.gz")
	w.append("one\n")
	f := newFollower(t, w.path()+"*")
	f.catchUp([]string{"zero", "one"})
	w.rotate()
	w.append("two\n")
	f.catchUp([]string{"zero", "one", "two"})
	write(t, w.path()+".1.gz", "one\n")
	if err := os.Remove(w.path() + ".1"); err != nil {
		t.Fatal(err)
	}
	if more := f.s.Splits(); len(more) > 0 {
		t.Fatalf("%s is read again", more[0].Data)
	}
	f.stop()
}

// With start: end only what is appended is read; of a file that is found later,
// everything.
func TestStartAtTheEndIsForFilesThatAreThereAtTheFirstStart(t *testing.T) {
	dir := t.TempDir()
	w := &logWriter{t: t, dir: dir, clock: time.Now().Add(-time.Hour)}
	w.append("old\n")
	f := newFollower(t, dir, "start", "end")
	splits := f.s.Splits()
	w.append("new\n")
	r := f.s.Open(splits[0])
	if got := sdktest.ValuesOf(r.Next(1)); got[0] != "new" {
		t.Errorf("%q", got)
	}
	r.Close()
	write(t, filepath.Join(dir, "other.txt"), "all of it\n")
	r = f.s.Open(f.s.Splits()[0])
	if got := sdktest.ValuesOf(r.Next(1)); got[0] != "all of it" {
		t.Errorf("%q", got)
	}
	r.Close()
}

// A followed file that was deleted ends when nothing more can come, and a new one
// of its name, even on the same inode, is read from its beginning.
func TestADeletedFileEndsAndItsSuccessorIsAnother(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	w.append("one\n")
	f := newFollower(t, w.path())
	f.catchUp(w.lines)
	if err := os.Remove(w.path()); err != nil {
		t.Fatal(err)
	}
	if rest := f.reader().Rest(); len(rest) > 0 {
		t.Errorf("%d lines more", len(rest))
	}
	f.ended, f.queue, f.open = append(f.ended, f.queue[0].ID), nil, nil
	w.append("two\n")
	f.catchUp(w.lines)
	f.stop()
}

// A line above the limit that is not complete yet is no position to resume from:
// its end must not come out as a line of its own.
func TestAPositionIsNeverAmidALineAboveTheLimit(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	w.append("one\n")
	s := sdktest.NewSource(t, Source(), map[string]any{"path": w.path(), "follow": true, "poll": "1ms"}, sdktest.MaxRecord(1000))
	split := s.Splits()[0]
	w.append(strings.Repeat("x", 5000))
	r := s.Open(split)
	r.Next(1)
	position, _ := r.Position()
	r.Close()
	w.append("its end\ntwo\n")
	r = s.OpenAt(split, position)
	if got := sdktest.ValuesOf(r.Next(1)); got[0] != "two" {
		t.Fatalf("%q came first", got)
	}
	r.Position() // behind it all that was read has come
	if failed := r.Failed(); len(failed) != 1 || failed[0].Length != "5007" {
		t.Errorf("%d failed", len(failed))
	}
	r.Close()
}

// A file that vanished while the pipeline was stopped is told, not skipped.
func TestAFileThatVanishedIsToldWhenItIsOpened(t *testing.T) {
	for _, follow := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "in.txt")
		write(t, path, "one\n")
		s := &source{cfg: &SourceConfig{Path: path, Follow: follow, Poll: time.Millisecond}, task: testTask(1000)}
		split := splitOf(t, s)
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if follow { // renamed, it is found
			r, err := s.Open(t.Context(), split, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(path + ".1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), split, nil); err == nil || !strings.Contains(err.Error(), "has vanished since it was found") {
			t.Errorf("follow %v: %v", follow, err)
		}
		write(t, path, "another\n")
		if _, err := s.Open(t.Context(), split, nil); err == nil || !strings.Contains(err.Error(), "is another file than the one that was found") {
			t.Errorf("follow %v: %v", follow, err)
		}
	}
}

// A name that no checkpoint can hold is told at once.
func TestANameThatIsNoUTF8IsTold(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "in.\xff.txt"), "one\n")
	err := sdktest.OpenError(t, Source(), map[string]any{"path": dir})
	if err == nil || !strings.Contains(err.Error(), `in.\xff.txt" is no UTF-8`) {
		t.Errorf("%v", err)
	}
}

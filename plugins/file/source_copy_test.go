package file

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk/sdktest"
)

// copyTruncate rotates as logrotate does with copytruncate.
func (w *logWriter) copyTruncate() {
	w.t.Helper()
	for i := w.rotated; i > 0; i-- {
		if err := os.Rename(w.path()+"."+string(rune('0'+i)), w.path()+"."+string(rune('1'+i))); err != nil {
			w.t.Fatal(err)
		}
	}
	w.rotated++
	text, err := os.ReadFile(w.path())
	if err != nil {
		w.t.Fatal(err)
	}
	write(w.t, w.path()+".1", string(text))
	w.touch(w.path() + ".1")
	if w.partial != "" {
		w.lines, w.partial = append(w.lines, w.partial), ""
	}
	w.truncate()
}

// A copy of a followed file that the path matches too is not read beside it.
func TestACopyOfAFollowedFileIsNotReadAgain(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	f := newFollower(t, filepath.Join(w.dir, "app.log*"))
	w.append("one\ntwo\n")
	f.catchUp(w.lines)
	for _, lines := range []string{"three\n", "four\nfive\n"} {
		w.copyTruncate()
		f.catchUp(w.lines)
		w.append(lines)
		f.catchUp(w.lines)
	}
	f.stop()
}

// A split's name says which file it is.
func TestFollowedSplitsHaveReadableNames(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	w.append("one\n")
	f := newFollower(t, w.path())
	first := f.s.Splits()[0]
	w.rotate()
	second := f.s.Splits()[0]
	for _, id := range []string{first.ID, second.ID} {
		if !strings.HasPrefix(id, w.path()+" ") {
			t.Errorf("a split of %s is called %q", w.path(), id)
		}
	}
	want(t, second.After, first.ID)
}

// readSome reads at least one line, and stops wherever it is then.
func (f *follower) readSome() {
	f.t.Helper()
	r := f.reader()
	lines := r.Next(1)
	position, read := r.Position()
	lines = append(lines, r.Next(read-1)...)
	f.got = append(f.got, sdktest.ValuesOf(lines)...)
	f.positions[f.queue[0].ID] = position
	r.Close()
	f.open = nil
}

// What was written between the last look and the truncation is read in the copy,
// also where the pipeline is stopped meanwhile, or in the middle of that.
func TestTheRestOfATruncatedFileIsReadInItsCopy(t *testing.T) {
	seeds(t, 40, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
		path := w.path()
		if rng.IntN(2) == 0 {
			path = filepath.Join(w.dir, "app.log*")
		}
		f := newFollower(t, path)
		w.append(w.line(rng) + "\n")
		f.catchUp(w.lines)
		for range 6 {
			// The reader is not there while all of this is written.
			f.stop()
			for range rng.IntN(3) {
				w.append(w.line(rng) + "\n")
			}
			if rng.IntN(2) == 0 {
				w.append(w.line(rng)) // and cut off there
			}
			w.copyTruncate()
			for range rng.IntN(3) {
				w.append(w.line(rng) + "\n")
			}
			if len(w.lines) > len(f.got) && rng.IntN(2) == 0 {
				f.readSome()
			}
			f.catchUp(w.lines)
		}
		f.stop()
	})
}

func TestARunningReaderTurnsToTheCopyToo(t *testing.T) {
	w := &logWriter{t: t, dir: t.TempDir(), clock: time.Now().Add(-time.Hour)}
	w.append("one\n")
	f := newFollower(t, w.path(), "poll", "100ms")
	f.catchUp(w.lines)
	r := f.reader()
	for i := range 3 {
		after := fmt.Sprint("after ", i)
		w.append("between two looks\nand cut off") // or not, which is as well
		w.copyTruncate()
		w.append(after + "\n")
		got := sdktest.ValuesOf(r.Next(3))
		want(t, got, "between two looks", "and cut off", after)
	}
	f.stop()
}

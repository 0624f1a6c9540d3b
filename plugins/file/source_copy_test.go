package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

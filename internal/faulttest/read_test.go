//go:build linux

package faulttest

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestABarrierNeitherWaitsForNorCancelsARead: checkpoints are made while a source
// waits in Read, that Read goes on and its record comes out; and a stop, which
// makes a checkpoint too, does not wait for it either.
func TestABarrierNeitherWaitsForNorCancelsARead(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.pipeline(`
name: p
checkpoint: {interval: 20ms}
batch: {size: 4KiB}
plugins: {a: {command: [$PLUGIN, __plugin]}}
nodes:
  wait: {source: a/patient, config: {path: $DIR/in/late, note: $DIR/note}}
  tick: {source: generator, config: {rate: 500}}
  none: {sink: discard, input: tick}
  out:  {sink: file, input: wait, config: {path: $DIR/out/}}
`)
	reads := func() int {
		b, _ := os.ReadFile(l.path("note"))
		return strings.Count(string(b), "read\n")
	}
	w := l.weir()
	eventually(t, "it reads", func() bool { return reads() == 1 })
	l.checkpoints(8)
	w.signal(syscall.SIGTERM)
	w.wait(143)
	if n := reads(); n != 1 {
		t.Errorf("%d reads while it waited", n)
	}

	w = l.weir()
	eventually(t, "it reads again", func() bool { return reads() == 2 })
	l.checkpoints(l.history().Newest().N + 5)
	if err := os.WriteFile(l.path("in", "late.tmp"), []byte("at last\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.path("in", "late.tmp"), l.path("in", "late")); err != nil {
		t.Fatal(err)
	}
	n := l.history().Newest().N
	l.checkpoints(n + 5)
	w.signal(syscall.SIGTERM)
	w.wait(143)
	if n := reads(); n != 2 {
		t.Errorf("%d reads", n)
	}
	files := published(t, l.path("out"))
	if len(files) != 1 || !slices.Equal(files[0].lines, []string{"at last"}) {
		t.Errorf("%v", files)
	}
}

//go:build linux

package faulttest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disk is a small file system of its own.
type disk struct {
	t    *testing.T
	path string
}

// newDisk mounts one below the lab's folder. That needs root.
func newDisk(l *lab, name string) *disk {
	l.t.Helper()
	d := &disk{l.t, l.path(name)}
	if err := os.Mkdir(d.path, 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", d.path, "tmpfs", 0, "size=4m"); errors.Is(err, syscall.EPERM) {
		l.t.Skip("mounting a small disk needs root")
	} else if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		// A process that was just killed may hold on to a file for a moment.
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			err := syscall.Unmount(d.path, 0)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				l.t.Errorf("unmount %s: %v", d.path, err)
				return
			}
		}
	})
	return d
}

// fill leaves no room.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.path+"/filler", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// fillUntil leaves no room, also where something is deleted, until a run has ended.
func (d *disk) fillUntil(c *command) {
	d.t.Helper()
	for {
		d.fill()
		select {
		case <-c.done:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// free makes room again.
func (d *disk) free() {
	d.t.Helper()
	if err := os.Remove(d.path + "/filler"); err != nil {
		d.t.Fatal(err)
	}
}

// TestAFullDiskForOutputFailsClearlyAndTheRunResumesWhenThereIsRoom.
func TestAFullDiskForOutputFailsClearlyAndTheRunResumesWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	d := newDisk(l, "out")
	c.set(l, unhurried(c))
	l.fewRestarts()
	w := l.weir()
	l.checkpoints(4)
	d.fillUntil(w)
	w.wait(1)
	contains(t, w.errOut.String(), "task out[0] (plugin weir)", l.path("out"), "the disk is full", "no space left on device", "make room", "the restart policy allows 2 restarts")
	d.free()
	c.set(l, c.defaults())
	l.weir().wait(0)
	c.check(l, false)
}

// TestAFullDiskForCheckpointsFailsClearlyAndTheRunResumesWhenThereIsRoom.
func TestAFullDiskForCheckpointsFailsClearlyAndTheRunResumesWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	d := newDisk(l, "disk")
	onDisk := func(s settings) {
		c.set(l, s)
		l.amend("retain: 2}", "retain: 2, tolerated_failures: 2, storage: file://$DIR/disk/checkpoints}")
	}
	onDisk(unhurried(c))
	w := l.weir()
	l.checkpoints(4)
	d.fillUntil(w)
	w.wait(1)
	contains(t, w.errOut.String(), "3 checkpoints failed in a row, 2 are tolerated", l.path("disk"), "no space left on device")
	d.free()
	onDisk(c.defaults())
	l.weir().wait(0)
	c.check(l, false)
}

// TestAFullDiskForTheStateFailsClearlyAndTheRunResumesWhenThereIsRoom.
func TestAFullDiskForTheStateFailsClearlyAndTheRunResumesWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	d := newDisk(l, "state")
	c.set(l, unhurried(c))
	w := l.weir()
	l.checkpoints(4)
	d.fillUntil(w)
	w.wait(1)
	contains(t, w.errOut.String(), l.path("state"), "no space left on device")
	d.free()
	c.set(l, c.defaults())
	l.weir().wait(0)
	c.check(l, false)
}

// TestAFullDiskForStateByKeyFailsClearlyAndTheRunResumesWhenThereIsRoom.
func TestAFullDiskForStateByKeyFailsClearlyAndTheRunResumesWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	c := tallyOnDiskCase
	l := c.open(t)
	d := newDisk(l, "state")
	elsewhere := func(s settings) {
		c.set(l, s)
		l.amend("retain: 2}", "retain: 2, storage: file://$DIR/checkpoints}")
	}
	elsewhere(unhurried(c))
	l.fewRestarts()
	w := l.weir()
	l.checkpoints(4)
	d.fillUntil(w)
	w.wait(1)
	contains(t, w.errOut.String(), "task tally[", "state on disk: the disk is full", "no space left on device", "make room", "the restart policy allows 2 restarts")
	d.free()
	elsewhere(c.defaults())
	l.weir().wait(0)
	c.check(l, true)
}

// TestTheOutputFolderIsRemovedUnderARun: it is not silently made anew, since output
// was in it that nobody has published. Put back, the run resumes.
func TestTheOutputFolderIsRemovedUnderARun(t *testing.T) {
	t.Parallel()
	c := copyCase
	l := c.open(t)
	c.set(l, unhurried(c))
	w := l.weir()
	l.checkpoints(4)
	if err := os.Rename(l.path("out"), l.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	w.wait(1)
	says := []string{"the folder " + l.path("out") + " is gone", "put it back as it was, or start over with --fresh"}
	contains(t, w.errOut.String(), says...)
	if !strings.Contains(w.errOut.String(), "task out[0] (plugin weir)") && !strings.Contains(w.errOut.String(), "node out: commit failed for good") {
		t.Errorf("which node it was is not in\n%s", w.errOut.String())
	}
	again := l.weir()
	again.wait(1)
	contains(t, again.errOut.String(), says...)
	if _, err := os.Stat(l.path("out")); !os.IsNotExist(err) {
		t.Fatalf("the folder was made anew: %v", err)
	}
	if err := os.Rename(l.path("elsewhere"), l.path("out")); err != nil {
		t.Fatal(err)
	}
	c.set(l, c.defaults())
	l.weir().wait(0)
	c.check(l, false)
}

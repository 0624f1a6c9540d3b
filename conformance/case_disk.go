package conformance

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/conformance/rig"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

var keepsOnDisk = claims("disk_state", (*pluginv1.Capabilities).GetDiskState)

var diskCases = []Case{
	{
		ID: "WC-STA-040", Title: "state on disk is restored, and may change places", Kinds: operators, Needs: all(keepsByKey, keepsOnDisk, repeatable),
		Demands: "With `Member.state` ON_DISK the snapshot has entries of kind FILE. Restored from them after SIGKILL, on disk again, then in memory, then on disk, with checkpoints that complete and some that are given up in between, the task gives what it gives undisturbed in memory.",
		Why:     "A pipeline's file says where state is kept, at every start anew; what comes out is the same.",
		Fix:     "Name files that hold all that preceded the barrier; refer with `same_as` only to a checkpoint that is completed or restored. Read restored files also where the state is to be in memory, and entries of kind KEY_GROUP also where it is to be on disk.",
		run: func(t *T) {
			line := t.withRareKeys(t.timeline(t.ordinary(), true))
			want := t.undisturbed(line)
			got := make(outcome)
			var cut *rig.Cut
			places := []bool{true, true, false, true}
			for i, disk := range places {
				part := line[len(line)*i/len(places) : len(line)*(i+1)/len(places)]
				p := t.Start()
				s := p.Stage(t.openDisk(uint64(i)+1, 1, cut, disk))
				sendMoments(s, part[:len(part)/2])
				if between := s.Checkpoint(); i%2 == 0 {
					between.Complete()
				} else {
					between.Abort()
				}
				sendMoments(s, part[len(part)/2:])
				if i < len(places)-1 {
					cut = s.Checkpoint()
				} else {
					cut = endOf(s)
				}
				if disk && len(cut.Entries(pluginv1.Entry_KIND_FILE)) == 0 {
					t.Fatalf("the task was asked to keep its state on disk, and of %d records its snapshot has no entry of kind FILE", t.ordinary())
				}
				got.add(t.outcomeOf(cut, 0))
				p.SIGKILL()
			}
			t.compareBags("on disk, on disk, in memory and on disk, one after the other", want, got)
		},
	},
	{
		ID: "WC-STA-041", Title: "state on disk is divided anew, down to one key group a task and back", Kinds: operators, Needs: all(keepsByKey, keepsOnDisk, repeatable, several),
		Demands: "As WC-STA-005, with state on disk: each task is given all files of every task that had a key group of its own.",
		Why:     "The host does not look into files, so it cannot divide them. A task that reads one store of several loses keys, and one that takes over what belongs to others has their state a second time when it comes back.",
		Fix:     "Of each restored store read the key groups in Member.key_groups, and those alone. Give files names that no other task's have.",
		run: func(t *T) {
			t.dividedAnew("on disk, with", func(epoch uint64, n int, restore *rig.Cut) rig.Open {
				return t.openDisk(epoch, n, restore, true)
			})
		},
	},
	{
		ID: "WC-STA-042", Title: "a file does not change once it is named", Kinds: operators, Needs: all(keepsByKey, keepsOnDisk),
		Demands: "A file that a snapshot names is there, with the same bytes, until the checkpoint's outcome is told, whatever is read, written and snapshot meanwhile. An id whose bytes lie in a file stands for the same bytes in all checkpoints.",
		Why:     "The host stores a file when it comes to it, and shares it by its id with every checkpoint after: bytes of behind the barrier make the snapshot one of no moment.",
		Fix:     "Name files that are never written again, or links to them; take the links away when Completed or Aborted has come. Never use an id again.",
		run: func(t *T) {
			s := t.Start().Stage(t.openDisk(1, 1, nil, true))
			var cuts []*rig.Cut
			known := map[string][]byte{}
			for i := range 4 {
				s.Send(0, 0, t.distinct(300)...)
				cut := s.Checkpoint()
				for _, f := range cut.Named {
					if before, ok := known[f.ID]; ok && !bytes.Equal(before, f.Data) {
						t.Fatalf("the file %q has %d bytes in checkpoint %d, which are not the %d that it had before", f.ID, len(f.Data), cut.Checkpoint, len(before))
					}
					known[f.ID] = f.Data
				}
				if i > 0 {
					t.unchanged(cuts[i-1])
					cuts[i-1].Complete()
				}
				cuts = append(cuts, cut)
			}
			s.Close()
		},
	},
	{
		ID: "WC-STA-043", Title: "a file that is missing or cut off is an error", Kinds: operators, Needs: all(keepsByKey, keepsOnDisk),
		Demands: "Where a file of the restored state is not in its place, or ends early, the task does not open, or fails by the end of its input. It does not go on.",
		Why:     "A task that begins with less state than the checkpoint has gives wrong results, and nobody is told.",
		Fix:     "Open all restored files before Opened is said. Compare their sizes with LocalFile.size, and their bytes with checksums of your own.",
		run: func(t *T) {
			p := t.Start()
			s := p.Stage(t.openDisk(1, 1, nil, true))
			s.Send(0, 0, t.distinct(500)...)
			cut := s.Checkpoint()
			p.SIGKILL()
			if len(cut.Named) == 0 {
				return // all of it goes through the host, which knows its size and checksum
			}
			largest := cut.Named[0]
			for _, f := range cut.Named {
				if len(f.Data) > len(largest.Data) {
					largest = f
				}
			}
			for i, damage := range []struct {
				what string
				do   func(path string) error
			}{
				{"is missing", os.Remove},
				{"is cut off in the middle", func(path string) error { return os.Truncate(path, int64(len(largest.Data)/2)) }},
			} {
				o := t.openDisk(uint64(i)+2, 1, cut, true)
				o.ChangeFile = func(id, path string) {
					if id != largest.ID {
						return
					}
					if err := damage.do(path); err != nil {
						t.Brokenf("%v", err)
					}
				}
				p := t.Start()
				again := p.Prepare(o)
				if err := again.TryRun(t.Context()); err == nil {
					t.failsByTheEnd(again, fmt.Sprintf("the restored file %q, of %d bytes, %s", largest.ID, len(largest.Data), damage.what))
				}
				p.SIGKILL()
			}
		},
	},
	{
		ID: "WC-STA-044", Title: "snapshots do not pile up on the disk", Kinds: operators, Needs: all(keepsByKey, keepsOnDisk),
		Demands: "The number of files in the task's folder (Open.scratch) does not grow with the number of checkpoints whose outcome was told. After Close the folder can be removed, and a task that is opened in the same process has another.",
		Why:     "A task lives for months, and makes a checkpoint every few seconds.",
		Fix:     "Take away what was made for a snapshot when Completed or Aborted of it, or of a later one, has come; and what compaction has replaced. Close all files at Close.",
		run: func(t *T) {
			p := t.Start()
			s := p.Stage(t.openDisk(1, 1, nil, true))
			records := t.distinct(20)
			var cut *rig.Cut
			made := 0
			filesAfter := func(checkpoints, atMost int) int {
				for ; made < checkpoints; made++ {
					s.Send(0, 0, records[made%len(records)])
					if cut = s.Checkpoint(); made%3 == 1 {
						cut.Abort()
					} else {
						cut.Complete()
					}
				}
				for deadline := time.Now().Add(5 * time.Second); ; t.pause(50 * time.Millisecond) {
					if n := t.filesIn(s.Tasks[0].Scratch); n <= atMost || time.Now().After(deadline) {
						return n
					}
				}
			}
			grows := func(few, many int) string {
				after := filesAfter(few, math.MaxInt)
				limit := 2*after + 12
				if n := filesAfter(many, limit); n > limit {
					return fmt.Sprintf("after %d checkpoints there were %d files in the task's folder, and after %d, all of them concluded, there are %d", few, after, many, n)
				}
				return ""
			}
			// A store may let files gather for a while, to write them anew together.
			if grows(5, 30) != "" {
				if fault := grows(120, 360); fault != "" {
					t.Fatalf("%s", fault)
				}
			}
			folder := s.Tasks[0].Scratch
			s.Close()
			if err := os.RemoveAll(folder); err != nil {
				t.Fatalf("the task is closed, and its folder cannot be removed: %v", err)
			}
			next := p.Stage(t.openDisk(2, 1, cut, true))
			next.Send(0, 0, records[0])
			endOf(next)
			next.Close()
		},
	},
}

// openDisk opens tasks that have a folder, with their state on disk or in memory.
func (t *T) openDisk(epoch uint64, parallelism int, restore *rig.Cut, disk bool) rig.Open {
	o := t.Open(epoch, parallelism, restore)
	o.Scratch = filepath.Join(filepath.Dir(t.TMP), "scratch")
	if disk {
		o.Chain[0].State = pluginv1.StateBackend_STATE_BACKEND_ON_DISK
	}
	return o
}

// unchanged checks that the files that a cut named are as they were.
func (t *T) unchanged(c *rig.Cut) {
	for _, f := range c.Named {
		data, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatalf("checkpoint %d named the file %q, its outcome was not told, and it is gone: %v", c.Checkpoint, f.ID, err)
		}
		if !bytes.Equal(data, f.Data) {
			t.Fatalf("checkpoint %d named the file %q with %d bytes, its outcome was not told, and it has %d others now", c.Checkpoint, f.ID, len(f.Data), len(data))
		}
	}
}

// failsByTheEnd demands that a task fails before it has passed the barrier that ends
// its input.
func (t *T) failsByTheEnd(s *rig.Stage, why string) {
	s.Send(0, 0, t.distinct(50)...)
	s.EndOfTime()
	b := s.Trigger(rig.End)
	for s.Failure(20*time.Millisecond) == nil {
		for _, e := range s.Tasks[0].Events() {
			if e.Kind == wire.KindBarrier && e.Message.GetBarrier().GetCheckpoint() == b.Checkpoint {
				t.Fatalf("%s; the task opens all the same and goes on to the end of its input", why)
			}
		}
		if t.ctx.Err() != nil {
			t.Fatalf("%s; the task opens all the same, and neither fails nor ends", why)
		}
	}
}

// filesIn counts the files below a folder, which may change meanwhile.
func (t *T) filesIn(dir string) int {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil && path == dir {
			return err
		}
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	if err != nil {
		t.Brokenf("%v", err)
	}
	return n
}

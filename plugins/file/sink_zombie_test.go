package file

import (
	"context"
	"slices"

	"github.com/weirstream/weir/sdk"
)

// zombie is a process of an old epoch that is paused in the middle of something
// and wakes when newer ones have long gone on.
type zombie struct {
	w      *world
	proc   *process
	tasks  []*folderSink
	commit *committer
	record *record
	sweep  sdk.Sweep
	task   *sdk.Task
	left   int  // steps until it is paused
	final  bool // it commits the very end, and is paused before it tidies up
	dead   bool
	paused chan struct{}
	wake   chan struct{}
	ended  chan struct{}
}

// overtake pauses the process at a random step of a random call, lets a new one
// restore and go on, and wakes the old one at some time of that.
func (w *world) overtake() bool {
	what, final := w.r.IntN(6), false
	if w.retract && len(w.retained) > 1 && w.r.IntN(4) == 0 {
		// It was about to commit the very end, which nobody can read any more.
		if !w.takeCheckpoint(sdk.Checkpoint{Final: true}) {
			return false
		}
		w.unreadable, what, final = true, 0, true
	}
	z := &zombie{
		w: w, proc: w.disk.process(), record: w.newest(), sweep: w.sweep(w.retract && w.r.IntN(2) == 0), task: w.task(0, 1),
		left: w.r.IntN(12), final: final, paused: make(chan struct{}), wake: make(chan struct{}), ended: make(chan struct{}),
	}
	w.note("the process is paused")
	z.adopt()
	go z.run(what)
	select {
	case <-z.paused:
	case <-z.ended:
	}
	w.tasks, w.committer = nil, nil
	w.newProcess()
	alive := w.start()
	for range w.r.IntN(8) {
		if !alive {
			break
		}
		switch w.r.IntN(4) {
		case 0:
			alive = w.write()
		case 1:
			alive = w.takeCheckpoint(sdk.Checkpoint{})
		case 2:
			alive = w.commit()
		case 3:
			w.consume()
		}
	}
	w.note("the old process wakes")
	z.dead = final && w.withdrawing // nobody has swept yet, so it would be no zombie
	close(z.wake)
	<-z.ended
	w.check("a zombie that wakes")
	return alive
}

// adopt moves the world's process and all that is open in it to the zombie.
func (z *zombie) adopt() {
	z.tasks, z.commit = z.w.tasks, z.w.committer
	for _, s := range z.tasks {
		s.disk = z.proc
		s.folder.(*memFolder).p = z.proc
	}
	z.commit.disk = z.proc
	z.proc.before = func(op string) error {
		if z.left == 0 || z.left > 0 && z.final && op == "list" {
			z.left = 0
			close(z.paused)
			<-z.wake
		}
		z.left--
		if z.dead {
			return errCrashed
		}
		return nil
	}
}

// run is the rest of its life: the call in which it is paused, and whatever it
// still has in mind. Nobody hears what comes of it.
func (z *zombie) run(what int) {
	defer close(z.ended)
	ctx := context.Background()
	calls := []func(){
		func() { _ = z.commit.Commit(ctx, z.record.pending) },
		func() { z.prepare(ctx, sdk.Checkpoint{Number: 1 << 20, Roll: true}) },
		func() { z.prepare(ctx, sdk.Checkpoint{Number: 1 << 20}) },
		func() { _ = z.commit.Sweep(ctx, z.sweep) },
		func() {
			// It was just about to open; its parts are numbered like those of the
			// task that did open in its epoch, so it is another task.
			z.task.Index = 99
			if s, err := openFolderSink(z.proc, modelFolder, z.w.cfg, z.task, z.record.state); err == nil {
				_ = s.Close()
			}
		},
		func() {
			for _, s := range z.tasks {
				values := sdk.Column{Data: []byte("zombie"), Ends: []uint32{6}}
				_ = s.add(values, 1, func(int, error) {})
			}
			z.prepare(ctx, sdk.Checkpoint{Number: 1 << 20})
		},
	}
	calls[what]()
	for _, call := range slices.Backward(calls[:3]) {
		call()
	}
	for _, s := range z.tasks {
		_ = s.Close()
	}
}

func (z *zombie) prepare(ctx context.Context, c sdk.Checkpoint) {
	for _, s := range z.tasks {
		_ = s.Flush(ctx)
		_, _ = s.Prepare(ctx, c)
		_, _ = s.WriterState(ctx)
	}
}

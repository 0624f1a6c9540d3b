//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/host/process"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// sinkProcess is a plugin process with one task of a file sink, driven by hand.
type sinkProcess struct {
	t      *testing.T
	proc   *process.Process
	client pluginv1.PluginClient
	epoch  uint64
	config []byte

	control   pluginv1.Plugin_ControlClient
	run       pluginv1.Plugin_RunClient
	opened    chan struct{}
	snapshots chan snapshot
	failed    chan error // why nothing more comes
}

// snapshot is what a sink said at a barrier.
type snapshot struct {
	n            uint64
	committables []*pluginv1.Entry
	writer       []*pluginv1.Entry
}

func newSinkProcess(t *testing.T, sockets, out string, epoch uint64) *sinkProcess {
	t.Helper()
	proc, err := process.Start(t.Context(), process.Command{Name: "weir", Args: []string{binaries.self, rolePlugin}},
		process.Options{SocketDir: sockets, HealthInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proc.Kill("the test is over")
		<-proc.Done()
	})
	return &sinkProcess{
		t: t, proc: proc, client: proc.Client(), epoch: epoch,
		config: fmt.Appendf(nil, `{"path":%q,"roll":{"size":"300"}}`, out+"/"),
		opened: make(chan struct{}), snapshots: make(chan snapshot, 100), failed: make(chan error, 9),
	}
}

func (s *sinkProcess) owner() *pluginv1.Owner {
	return &pluginv1.Owner{Pipeline: "p", Uid: "uid0123456789", Node: "out", Epoch: s.epoch}
}

// open opens the task and waits for it.
func (s *sinkProcess) open(restored snapshot) (err error) {
	ctx := s.t.Context()
	if s.control, err = s.client.Control(ctx); err != nil {
		return err
	}
	ref := &pluginv1.TaskRef{Uid: "uid0123456789", Epoch: s.epoch, Node: "out"}
	requests := []*pluginv1.ControlRequest{{Kind: &pluginv1.ControlRequest_Open{Open: &pluginv1.Open{
		Task: ref, Pipeline: "p", Parallelism: 1, MaxParallelism: 128, RestoredCheckpoint: restored.n,
		Chain: []*pluginv1.Member{{
			Node: "out", Component: "file", Config: s.config, Guarantee: pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE,
			Inputs: []*pluginv1.Inlet{{Port: "in", Partition: pluginv1.Partition_PARTITION_FORWARD}},
		}},
		Limits: &pluginv1.Limits{BatchBytes: 64 << 10, MaxRecordBytes: 1 << 20},
	}}}}
	if len(restored.writer) > 0 {
		requests = append(requests, &pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: &pluginv1.RestorePart{Entries: restored.writer}}})
	}
	for _, r := range append(requests, &pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}}) {
		if err := s.control.Send(r); err != nil {
			return err
		}
	}
	go s.listen()
	select {
	case <-s.opened:
	case err := <-s.failed:
		return err
	case <-time.After(time.Minute):
		return errors.New("not opened")
	}
	if s.run, err = s.client.Run(ctx); err != nil {
		return err
	}
	return s.run.Send(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: ref}}})
}

// listen gathers snapshots until the stream ends.
func (s *sinkProcess) listen() {
	var now snapshot
	for {
		r, err := s.control.Recv()
		if err != nil {
			s.failed <- err
			return
		}
		switch k := r.Kind.(type) {
		case *pluginv1.ControlResponse_Opened:
			close(s.opened)
		case *pluginv1.ControlResponse_Failed:
			s.failed <- errors.New(k.Failed.Error.GetMessage())
		case *pluginv1.ControlResponse_SnapshotPart:
			for _, e := range k.SnapshotPart.Entries {
				if e.Kind == pluginv1.Entry_KIND_COMMITTABLE {
					e.Checkpoint = k.SnapshotPart.Checkpoint
					now.committables = append(now.committables, e)
				} else {
					now.writer = append(now.writer, e)
				}
			}
		case *pluginv1.ControlResponse_SnapshotDone:
			now.n = k.SnapshotDone.Checkpoint
			s.snapshots <- now
			now = snapshot{}
		}
	}
}

func (s *sinkProcess) write(pool *wire.Pool, lines []string) error {
	w := pool.NewBuilder(64 << 10)
	for _, line := range lines {
		w.Append(nil, []byte(line), 0, nil, "", 0)
	}
	b := w.Freeze()
	defer b.Release()
	f := wire.Encode(0, 0, 0, b)
	return s.run.SendMsg(&f)
}

func (s *sinkProcess) barrier(n uint64, roll bool) error {
	return s.run.Send(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: n, Roll: roll}}})
}

func (s *sinkProcess) snapshot() (snapshot, error) {
	select {
	case got := <-s.snapshots:
		return got, nil
	case err := <-s.failed:
		return snapshot{}, err
	case <-time.After(time.Minute):
		return snapshot{}, errors.New("no snapshot")
	}
}

func (s *sinkProcess) commit(committables []*pluginv1.Entry) error {
	r, err := s.client.Commit(s.t.Context(), &pluginv1.CommitRequest{Owner: s.owner(), Component: "file", Config: s.config, Committables: committables})
	if err == nil && r.GetError() != nil {
		err = errors.New(r.GetError().GetMessage())
	}
	return err
}

func (s *sinkProcess) sweep(earlier uint64, restored snapshot) error {
	r, err := s.client.Sweep(s.t.Context(), &pluginv1.SweepRequest{
		Owner: s.owner(), Component: "file", Config: s.config, Keep: restored.writer, RestoredCheckpoint: restored.n,
		Earlier: []*pluginv1.Generation{{Epoch: earlier, Parallelism: 1}},
	})
	if err == nil && r.GetError() != nil {
		err = errors.New(r.GetError().GetMessage())
	}
	return err
}

func (s *sinkProcess) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.proc.PID(), sig); err != nil {
		s.t.Fatal(err)
	}
}

// pauses are the moments at which the process of the old epoch is stopped. What it
// is asked after that it finds when it wakes.
var pauses = []string{
	"before it commits", "before it sweeps", "before it opens", "before a batch", "before a barrier",
	"when it has prepared", "when its record is written", "behind its commit", "behind one more barrier",
}

// TestAZombieChangesNothing: a process of an old epoch stands still at some moment,
// and wakes after a newer epoch has committed, swept, opened and published
// elsewhere. What is committed stays as it is.
func TestAZombieChangesNothing(t *testing.T) {
	for _, pause := range pauses {
		t.Run(pause, func(t *testing.T) {
			t.Parallel()
			z := newZombie(t, pause)
			z.first()
			old := make(chan error, 1)
			go func() { old <- z.old() }()
			select {
			case <-z.paused:
			case err := <-old:
				if !z.stopped {
					t.Fatalf("it has not come to the pause: %v", err)
				}
				old <- err
			}
			committed := z.takeOver()
			z.process.signal(syscall.SIGCONT)
			if err := <-old; err != nil {
				t.Logf("the old process, when it woke: %v", err)
			}
			again := published(t, z.out)
			if !slices.EqualFunc(again, committed, func(a, b publication) bool { return a.name == b.name && slices.Equal(a.lines, b.lines) }) {
				t.Errorf("what is committed has changed from\n%v\nto\n%v", committed, again)
			}
			z.last()
		})
	}
}

// zombies is what the epochs of one test share: the folder, the newest record, and
// how many lines it covers.
type zombies struct {
	t       *testing.T
	sockets string
	out     string
	pool    *wire.Pool
	record  snapshot
	covered int

	pause   string
	process *sinkProcess // of the old epoch
	stopped bool         // it is; from then on the ledger is another's
	paused  chan struct{}
}

// zombieLines is how many lines there are to write.
const zombieLines = 60

func newZombie(t *testing.T, pause string) *zombies {
	t.Helper()
	dir := shortTempDir(t)
	z := &zombies{t: t, sockets: filepath.Join(dir, "s"), out: filepath.Join(dir, "out"), pool: wire.NewPool(), pause: pause, paused: make(chan struct{})}
	if err := os.MkdirAll(z.sockets, 0o700); err != nil {
		t.Fatal(err)
	}
	z.process = newSinkProcess(t, z.sockets, z.out, 2)
	return z
}

func (z *zombies) lines(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%03d %s", i, filling[:i%50]))
	}
	return all
}

// first is epoch 1: it has a record, of which some is published and some is not
// finished, and is gone.
func (z *zombies) first() {
	z.t.Helper()
	p := newSinkProcess(z.t, z.sockets, z.out, 1)
	err := p.open(snapshot{})
	if err == nil {
		err = p.write(z.pool, z.lines(0, 20))
	}
	if err == nil {
		err = p.barrier(1, false)
	}
	if err == nil {
		z.record, err = p.snapshot()
	}
	if err != nil {
		z.t.Fatal(err)
	}
	z.covered = 20
	p.proc.Kill("epoch 1 is over")
	<-p.proc.Done()
}

// moment stops the process where the test wants it.
func (z *zombies) moment(name string) {
	if name == z.pause {
		z.stopped = true
		z.process.signal(syscall.SIGSTOP)
		close(z.paused)
	}
}

// old is the host of epoch 2. It knows nothing of being too late: only the ledger
// does, in which it can write no record any more.
func (z *zombies) old() error {
	p, restored := z.process, z.record
	z.moment("before it commits")
	if err := p.commit(restored.committables); err != nil {
		return err
	}
	z.moment("before it sweeps")
	if err := p.sweep(1, restored); err != nil {
		return err
	}
	z.moment("before it opens")
	if err := p.open(restored); err != nil {
		return err
	}
	z.moment("before a batch")
	if err := p.write(z.pool, z.lines(20, 40)); err != nil {
		return err
	}
	z.moment("before a barrier")
	if err := p.barrier(2, false); err != nil {
		return err
	}
	s, err := p.snapshot()
	if err != nil {
		return err
	}
	z.moment("when it has prepared")
	if !z.stopped {
		z.record, z.covered = s, 40
		z.moment("when its record is written")
		if err := p.commit(s.committables); err != nil {
			return err
		}
	}
	z.moment("behind its commit")
	if err := p.write(z.pool, z.lines(100, 120)); err != nil {
		return err
	}
	if err := p.barrier(8, true); err != nil {
		return err
	}
	if _, err := p.snapshot(); err != nil {
		return err
	}
	z.moment("behind one more barrier")
	return nil
}

// takeOver is epoch 3, which publishes everything. It returns what is published
// then.
func (z *zombies) takeOver() []publication {
	z.t.Helper()
	p := newSinkProcess(z.t, z.sockets, z.out, 3)
	err := p.commit(z.record.committables)
	for _, earlier := range []uint64{1, 2} {
		if err == nil {
			err = p.sweep(earlier, z.record)
		}
	}
	if err == nil {
		err = p.open(z.record)
	}
	if err == nil {
		err = p.write(z.pool, z.lines(z.covered, zombieLines))
	}
	if err == nil {
		err = p.barrier(9, true)
	}
	var s snapshot
	if err == nil {
		s, err = p.snapshot()
	}
	if err == nil {
		err = p.commit(s.committables)
	}
	if err != nil {
		z.t.Fatal(err)
	}
	z.record = snapshot{n: 9}
	return z.check()
}

// check compares what is published with what there was to write.
func (z *zombies) check() []publication {
	z.t.Helper()
	e := expectation{}
	for i, line := range z.lines(0, zombieLines) {
		e[line] = place{"all", i}
	}
	files := published(z.t, z.out)
	e.check(z.t, files, byName)
	return files
}

// last is the start of the next epoch, which removes what the old one has left.
func (z *zombies) last() {
	z.t.Helper()
	p := newSinkProcess(z.t, z.sockets, z.out, 4)
	for _, earlier := range []uint64{2, 3} {
		if err := p.sweep(earlier, z.record); err != nil {
			z.t.Fatal(err)
		}
	}
	if left := hidden(z.t, z.out); slices.ContainsFunc(left, func(name string) bool { return filepath.Ext(name) == ".part" }) {
		z.t.Errorf("left behind: %q", left)
	}
	z.check()
}

package rig

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/host/task"
	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Open says which tasks of one component to open.
type Open struct {
	Kind pluginv1.Kind
	// Chain are the components that share each task; one in the ordinary case.
	Chain       []*pluginv1.Member
	UID         string
	Epoch       uint64
	Parallelism int
	// Keyed gives each member its key groups, of which there are MaxParallelism; 0 is
	// the rig's own number.
	Keyed          bool
	MaxParallelism int
	// Restore is the cut to go on from; nil for a first start.
	Restore *Cut
	// BatchBytes and MaxRecordBytes are the rig's own where they are 0.
	BatchBytes, MaxRecordBytes int
	// PartBytes bounds a part of restored state; 0 is the host's choice.
	PartBytes int
	// Scratch is where each task gets a folder for state on disk; empty for none.
	Scratch string
	// ChangeFile, if set, is called for each restored file once it lies in a task's
	// folder, with its id.
	ChangeFile func(id, path string)
	// Change, if set, changes the message that opens a task.
	Change func(*pluginv1.Open)
}

// groups is the number of key groups.
func (o *Open) groups() int {
	if o.MaxParallelism > 0 {
		return o.MaxParallelism
	}
	return maxParallelism
}

// KeyGroups are the first and the last group of a task.
func (o *Open) KeyGroups(task int) (first, last int) {
	return keygroup.Range(task, o.groups(), o.Parallelism)
}

// Stage is the tasks of one component in one epoch: as many workers as its
// parallelism and, for a source, an enumerator.
type Stage struct {
	Open       Open
	Tasks      []*Task
	Enumerator *Task // nil unless it is a source

	t      TB
	plugin *Plugin
	log    *slog.Logger

	stallAtBarriers atomic.Bool

	mu       sync.Mutex
	barriers uint64 // the number of the last
	once     sync.Once
	failing  chan struct{} // closed when any task fails
	failure  error
	watchers sync.WaitGroup
	closed   chan struct{}
}

// tasks are the stages of a process that are still open.
type tasks struct {
	mu  sync.Mutex
	all []*Stage
}

func (ts *tasks) add(s *Stage) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = append(ts.all, s)
}

// drop lets go of every stage that is still open; the plugin is not waited for.
func (ts *tasks) drop() {
	ts.mu.Lock()
	all := ts.all
	ts.all = nil
	ts.mu.Unlock()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range all {
		s.close(gone)
	}
}

// Stage opens tasks: first workers, then the enumerator, and lets data flow when
// all are open.
func (p *Plugin) Stage(o Open) *Stage {
	s := p.Prepare(o)
	s.TryOpen()
	return s
}

// Prepare begins to open tasks and waits for nothing.
func (p *Plugin) Prepare(o Open) *Stage {
	s := &Stage{
		Open: o, t: p.t, plugin: p, log: slog.New(p.Logs),
		failing: make(chan struct{}), closed: make(chan struct{}),
	}
	if o.Restore != nil {
		s.barriers = o.Restore.Checkpoint
	}
	p.tasks.add(s)
	entries, inFiles, held := o.Restore.deal(o.Parallelism)
	for i := range o.Parallelism {
		id := task.ID{Node: o.Chain[0].Node, Index: i}
		s.Tasks = append(s.Tasks, s.start(id, entries[i], inFiles, nil))
	}
	if o.Kind == pluginv1.Kind_KIND_SOURCE {
		id := task.ID{Node: o.Chain[0].Node, Role: pluginv1.Role_ROLE_ENUMERATOR}
		s.startEnumerator(id, o.Restore.enumerator(), held)
	}
	return s
}

// TryRun waits until the tasks are open and lets data flow; it fails no case.
func (s *Stage) TryRun(ctx context.Context) error {
	for _, t := range s.all() {
		if err := t.Opened(ctx); err != nil {
			return err
		}
	}
	for _, t := range s.all() {
		if err := t.Run(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) all() []*Task {
	if s.Enumerator == nil {
		return s.Tasks
	}
	return append([]*Task{s.Enumerator}, s.Tasks...)
}

// start starts one task. Of what it restores inFiles are those that are files.
func (s *Stage) start(id task.ID, restore []*pluginv1.Entry, inFiles map[*pluginv1.Entry]bool, held []string) *Task {
	t := s.newTask(id)
	restore, err := s.makeScratch(t, restore, inFiles)
	if err != nil {
		s.t.Fatalf("the folder of task %s: %v", id, err)
	}
	s.launch(t, restore, held)
	return t
}

func (s *Stage) newTask(id task.ID) *Task {
	return &Task{ID: id, stage: s, pool: wire.NewPool(), in: inbox{ready: make(chan struct{}, 1)}, grown: make(chan struct{})}
}

func (s *Stage) launch(t *Task, restore []*pluginv1.Entry, held []string) {
	open := s.open(t.ID)
	open.HeldSplits, open.Scratch = held, t.Scratch
	var members []string
	for _, m := range open.Chain {
		members = append(members, m.Node)
	}
	t.process = s.plugin.forTask()
	started, err := task.Start(task.Config{
		ID: t.ID, Plugin: s.plugin.Name(), Client: t.process.Client(), Open: open, Restore: restore,
		Input: t, Output: t, Observer: t, Log: s.log, Members: members,
		MaxFrame:    int(open.Limits.MaxRecordBytes) + 4*int(open.Limits.BatchBytes) + 1<<20,
		PartBytes:   s.Open.PartBytes,
		OpenTimeout: openTimeout,
	})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	t.Task = started
	s.watchers.Go(func() {
		select {
		case <-t.Failing():
			s.once.Do(func() {
				s.failure = t.Err()
				close(s.failing)
			})
		case <-s.closed:
		}
	})
}

// open is the message that opens a task.
func (s *Stage) open(id task.ID) *pluginv1.Open {
	o := s.Open
	limits := &pluginv1.Limits{
		BatchBytes: BatchBytes, Linger: durationpb.New(5 * time.Millisecond), MaxRecordBytes: MaxRecordBytes, MemoryBytes: 64 << 20,
	}
	if o.BatchBytes > 0 {
		limits.BatchBytes = uint32(o.BatchBytes)
	}
	if o.MaxRecordBytes > 0 {
		limits.MaxRecordBytes = uint32(o.MaxRecordBytes)
	}
	open := &pluginv1.Open{
		Task:    &pluginv1.TaskRef{Uid: o.UID, Epoch: o.Epoch, Node: id.Node, Index: uint32(id.Index), Role: id.Role},
		Cluster: "conformance", Pipeline: "conformance",
		Parallelism: uint32(o.Parallelism), MaxParallelism: uint32(o.groups()),
		Limits: limits, LogLevel: "debug", CheckpointTimeout: durationpb.New(time.Minute), Pool: NamePool,
	}
	if o.Restore != nil {
		open.RestoredCheckpoint = o.Restore.Checkpoint
	}
	for _, m := range o.Chain {
		m = proto.CloneOf(m)
		m.Ended = o.Restore != nil && o.Restore.Ended
		if o.Keyed {
			first, last := o.KeyGroups(id.Index)
			m.KeyGroups = &pluginv1.KeyGroups{First: uint32(first), Last: uint32(last)}
		}
		open.Chain = append(open.Chain, m)
	}
	if o.Change != nil {
		o.Change(open)
	}
	return open
}

// Stall holds the output of every task back, and Flow lets it go on.
func (s *Stage) Stall() {
	for _, t := range s.Tasks {
		t.gate.close()
	}
}

// Flow ends Stall.
func (s *Stage) Flow() {
	for _, t := range s.Tasks {
		t.gate.open()
	}
}

// StallAtBarriers holds the output of every task back behind each barrier, until
// Flow; call it before data flows. FlowAtBarriers ends it.
func (s *Stage) StallAtBarriers() { s.stallAtBarriers.Store(true) }

// FlowAtBarriers ends StallAtBarriers.
func (s *Stage) FlowAtBarriers() { s.stallAtBarriers.Store(false) }

// TryOpen waits until the tasks are open and lets data flow.
func (s *Stage) TryOpen() {
	if err := s.TryRun(s.t.Context()); err != nil {
		s.t.Fatalf("opening: %v", err)
	}
}

// AwaitChanged waits until a worker has said that it holds something that the
// checkpoint does not.
func (s *Stage) AwaitChanged(after uint64) {
	s.Await(fmt.Sprintf("Changed, after checkpoint %d", after), func() bool {
		for _, t := range s.Tasks {
			said := false
			t.look(func() { said = slices.Contains(t.changed, after) })
			if said {
				return true
			}
		}
		return false
	})
}

// AwaitRecords waits until all tasks together have sent at least n records by an
// output.
func (s *Stage) AwaitRecords(output string, n int) {
	s.Await(fmt.Sprintf("%d records on %q", n, output), func() bool { return len(s.ReceivedAll(output)) >= n })
}

// Await waits until f says so. It is asked whenever a task has said something.
func (s *Stage) Await(what string, f func() bool) {
	for {
		// Taken before f looks, so that nothing is missed.
		grown := make([]<-chan struct{}, 0, len(s.Tasks)+1)
		for _, t := range s.all() {
			t.look(func() { grown = append(grown, t.grown) })
		}
		if f() {
			return
		}
		if !s.anyOf(grown) {
			if f() {
				return
			}
			select {
			case <-s.failing:
				s.t.Fatalf("waiting for %s: %v", what, s.failure)
			default:
				s.t.Fatalf("%s did not come in time", what)
			}
		}
	}
}

// anyOf waits for one of the channels, a failure or the end of the case; it
// reports whether it was a channel.
func (s *Stage) anyOf(channels []<-chan struct{}) bool {
	stop := make(chan struct{})
	defer close(stop)
	woken := make(chan struct{}, len(channels))
	for _, c := range channels {
		go func() {
			select {
			case <-c:
				woken <- struct{}{}
			case <-stop:
			}
		}()
	}
	select {
	case <-woken:
		return true
	case <-s.failing:
	case <-s.t.Context().Done():
	}
	return false
}

// Failure waits until a task has failed, for at most d, and says how; nil where
// none has.
func (s *Stage) Failure(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.failing:
		return s.failure
	case <-timer.C:
	case <-s.t.Context().Done():
	}
	return nil
}

// Sound fails the case if a task has failed.
func (s *Stage) Sound() {
	select {
	case <-s.failing:
		s.t.Fatalf("%v", s.failure)
	default:
	}
}

// Close asks every task to stop at once and fails the case where one does not
// answer within what a host gives it.
func (s *Stage) Close() {
	ctx, cancel := context.WithTimeout(s.t.Context(), closeTimeout)
	defer cancel()
	if !s.close(ctx) {
		s.t.Fatalf("a task did not answer Close within %v", closeTimeout)
	}
}

func (s *Stage) close(ctx context.Context) bool {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return true
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	answered := make([]bool, len(s.all()))
	var wg sync.WaitGroup
	for i, t := range s.all() {
		if t.Task != nil {
			wg.Go(func() {
				answered[i] = t.Close(ctx)
				s.plugin.free(t.process)
			})
		}
	}
	wg.Wait()
	s.watchers.Wait()
	for _, ok := range answered {
		if !ok {
			return false
		}
	}
	return true
}

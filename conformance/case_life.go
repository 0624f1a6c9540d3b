package conformance

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/conformance/rig"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var lifeCases = []Case{
	{
		ID: "WC-LIF-001", Title: "it opens and closes again and again",
		Demands: "In one process tasks are opened and closed ten times, in rising epochs: at once, with data on its way, and after a checkpoint. Each time they open, and answer Closed within five seconds.",
		Why:     "A host keeps sound processes: every rollback closes all tasks and opens them again in the same process.",
		Fix:     "Release in closing what opening took: locks, files, connections, threads. Keep nothing of a task in the process.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			for epoch := range uint64(10) {
				s := p.Stage(t.Open(epoch+1, t.Parallelism(), nil))
				if epoch%3 > 0 {
					t.drive(s, 20)
				}
				if epoch%3 == 2 {
					s.Checkpoint()
				}
				s.Close()
			}
			t.alive(p, "ten epochs", nil)
		},
	},
	{
		ID: "WC-LIF-002", Title: "Close is answered at once, whatever else goes on",
		Demands: "A task whose output nobody takes, and one with much input before it, answers Close within five seconds.",
		Why:     "A task that does not answer costs its process, and with it all tasks there.",
		Fix:     "Read Control on a thread of its own, and have Close cancel every wait: for room in a stream, for the outside, for a retry.",
		run: func(t *T) {
			t.ready()
			p := t.StartNarrow()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			s.Stall()
			t.drive(s, 3*t.ordinary())
			t.pause(200 * time.Millisecond)
			s.Close()
			t.alive(p, "closing in the middle of the work", nil)
		},
	},
	{
		ID: "WC-LIF-003", Title: "barriers are answered in order, under load",
		Demands: "Barriers that follow each other while data flows are passed on once each, in order and with the fields that they came with, and each gets its snapshot, in order too.",
		Why:     "The host takes the order for granted and fails a task that breaks it; a barrier that is lost holds up every checkpoint behind it.",
		Fix:     "Send the very barrier on that has come, right after everything that came before it has been processed and flushed; then the parts of its snapshot, then SnapshotDone.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			var all []*pluginv1.Barrier
			for i := range 8 {
				t.drive(s, t.ordinary()/4)
				var options []rig.BarrierOption
				if i%3 == 2 {
					options = append(options, rig.Roll)
				}
				all = append(all, s.Trigger(options...))
			}
			for i, b := range all {
				cut := s.AwaitCut(b)
				if i%2 == 0 {
					cut.Complete()
				} else {
					cut.Abort()
				}
			}
			s.Checkpoint()
			s.Close()
		},
	},
	{
		ID: "WC-LIF-004", Title: "nothing comes behind a barrier that halts",
		Demands: "Behind a barrier with `halt` the task sends no data, although there is input; another such barrier passes.",
		Why:     "It is the last checkpoint before a stop. What is sent behind it is in no checkpoint, and comes again.",
		Fix:     "Stop reading and processing at the barrier, and answer barriers alone.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, t.ordinary())
			s.Checkpoint(rig.Halt)
			if t.Component.GetKind() == pluginv1.Kind_KIND_SOURCE && t.entry.Feed != nil {
				t.Feed(t.Records(20))
			}
			t.pause(300 * time.Millisecond)
			s.Checkpoint(rig.Halt)
			s.Sound()
			s.Close()
		},
	},
	{
		ID: "WC-LIF-005", Title: "it drains in time when the pipeline stops",
		Demands: "With data on its way a barrier that halts passes; then the tasks close, and the process ends when it is asked to, each in its time.",
		Why:     "It is how SIGTERM, a stop and a move work. What does not drain is rolled back instead.",
		Fix:     "Do not wait for more input, a timer or a full buffer before the barrier is passed on.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, 2*t.ordinary())
			began := time.Now()
			t.settled(p, s, rig.Halt)
			if took := time.Since(began); took > drainTime {
				t.Fatalf("the barrier that halts was answered after %v; a pipeline's drain_timeout is %v by default", took, drainTime)
			}
			s.Close()
			p.StopWithin(stopTime)
		},
	},
	{
		ID: "WC-LIF-006", Title: "a task ends with its Control stream",
		Demands: "When Control breaks, the task closes by itself and Run ends within five seconds; the same task can be opened again.",
		Why:     "It is how a plugin learns that its host has given a task up.",
		Fix:     "Close the task, and end Run, when reading Control gives an error or the end.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			open := p.Message(t.Open(1, 1, nil), 0)
			r := p.Raw(open)
			r.Opened()
			r.Attach(open.Task)
			r.Cut()
			if _, ok := r.RunEnded(5 * time.Second); !ok {
				t.Fatalf("Run was still open 5s after Control had broken")
			}
			var err error
			t.within(5*time.Second, "the task could not be opened again within 5s of the end of its Control stream", func() bool {
				again := p.Raw(open)
				_, err = again.Hear(5*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
				return err == nil
			})
		},
	},
	{
		ID: "WC-LIF-007", Title: "a task ends with its lease",
		Demands: "A task that was opened with a lease of a second and a half, and then hears nothing on Control, closes by itself within five seconds more; one that hears Heartbeat does not.",
		Why:     "A host that is paused, or cut off, cannot close its tasks. They must not go on beside those that another host has opened.",
		Fix:     "Note when anything came on Control, and close the task when that was longer ago than Open.lease.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			open := p.Message(t.Open(1, 1, nil), 0)
			open.Lease = durationpb.New(lease)
			r := p.Raw(open)
			r.Opened()
			said, late := time.Now(), false
			for range 8 {
				t.pause(lease / 5)
				// On a machine that is slow enough the kit itself is silent for too long.
				late = late || time.Since(said) > lease/2
				said = time.Now()
				r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Heartbeat{Heartbeat: &pluginv1.Heartbeat{}}})
			}
			if _, err := r.Hear(0, func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil }); !rig.Silence(err) && !late {
				t.Fatalf("the task ended although it heard Heartbeat: %v", err)
			}
			if _, err := r.Hear(6*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil || m.GetFailed() != nil }); rig.Silence(err) {
				t.Fatalf("the task was still open 6s after its host had fallen silent, with a lease of %v", lease)
			}
		},
	},
	{
		ID: "WC-LIF-008", Title: "Open below the highest epoch seen is refused",
		Demands: "A process that has seen an epoch of {uid, node} refuses Open of an older one with the status FAILED_PRECONDITION. Of another node, or another uid, it opens it.",
		Why:     "An Open that was on its way when the pipeline restarted would make two tasks of one.",
		Fix:     "Remember the highest epoch for {uid, node} and compare it when Open comes, before anything else.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			high := p.Stage(t.Open(5, 1, nil))
			high.Close()
			r := p.Raw(p.Message(t.Open(4, 1, nil), 0))
			_, err := r.Hear(20*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil })
			if err == nil {
				t.Fatalf("a task of epoch 4 was opened after one of epoch 5")
			}
			if status.Code(err) != codes.FailedPrecondition {
				t.Fatalf("Open of epoch 4 after epoch 5 ended with %v, not FAILED_PRECONDITION", err)
			}
			other := t.Open(1, 1, nil)
			other.UID += "b"
			p.Stage(other).Close()
			p.Stage(t.Open(6, 1, nil)).Close()
		},
	},
	{
		ID: "WC-LIF-009", Title: "many tasks run side by side", Needs: several,
		Demands: "Eight tasks of the component, of pipelines of their own, run in one process, take checkpoints and close.",
		Why:     "One process holds all of a pipeline's nodes of a plugin on a host.",
		Fix:     "Keep everything in the task. Look for package variables, and for working folders and files of a fixed name.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			var all []*rig.Stage
			for i := range 4 {
				o := t.Open(1, t.Parallelism(), nil)
				o.UID += string(rune('a' + i))
				all = append(all, p.Stage(o))
			}
			for range 2 {
				for _, s := range all {
					t.drive(s, 20)
				}
				for _, s := range all {
					t.settled(p, s)
				}
			}
			for _, s := range all {
				s.Close()
			}
		},
	},
	{
		ID: "WC-LIF-010", Title: "fields of a newer host are ignored",
		Demands: "Fields that the plugin does not know, in Open, in its parts, in frames and on Control, and a message of an unknown kind on Control, change nothing.",
		Why:     "Within a version messages gain fields. A plugin that refuses them ends at the next upgrade of the host.",
		Fix:     "Skip what is unknown, as protobuf does by itself; do not answer an unknown message with an error.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			o := t.Open(1, 1, nil)
			o.Change = func(m *pluginv1.Open) {
				unknown(m)
				unknown(m.Task)
				unknown(m.Limits)
				for _, c := range m.Chain {
					unknown(c)
				}
			}
			s := p.Stage(o)
			t.drive(s, 10)
			s.Checkpoint()
			s.Close()

			open := p.Message(t.Open(2, 1, nil), 0)
			r := p.Raw(open)
			r.Opened()
			strange := &pluginv1.ControlRequest{}
			unknown(strange)
			r.Say(strange)
			r.Say(&pluginv1.ControlRequest{})
			known := &pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SetLogLevel{SetLogLevel: &pluginv1.SetLogLevel{Level: "debug"}}}
			unknown(known)
			r.Say(known)
			r.Attach(open.Task)
			t.pause(200 * time.Millisecond)
			if err := r.Failed(0); err != nil {
				t.Fatalf("a message that the plugin does not know ended the task: %v", err)
			}
			r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
			if _, err := r.Hear(5*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil }); err != nil {
				t.Fatalf("after unknown messages Close was not answered: %v", err)
			}
		},
	},
	{
		ID: "WC-LIF-011", Title: "restored state may come in small parts",
		Demands: "A snapshot that is handed back in parts of a few bytes, with `more` between them, is restored as one that comes whole.",
		Why:     "The host cuts entries above about a megabyte, and may cut them anywhere.",
		Fix:     "Join entries that follow each other while `more` is set.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, 40)
			cut := t.settled(p, s)
			s.Close()
			if len(slices.Concat(cut.Tasks...))+len(cut.Enumerator) == 0 {
				return // it keeps nothing
			}
			o := t.Open(2, t.Parallelism(), cut)
			o.PartBytes = 5
			again := p.Stage(o)
			again.Sound()
			again.Checkpoint()
			again.Close()
		},
	},
	{
		ID: "WC-LIF-012", Title: "a component that is not there opens no task", Once: true,
		Demands: "Open of a component that the plugin does not have fails with an error, and the process goes on.",
		Why:     "A pipeline file and a plugin's version may not fit each other.",
		Fix:     "Answer with a status, or with Failed and Closed.",
		run: func(t *T) {
			p := t.Start()
			r := p.Raw(&pluginv1.Open{
				Task:        &pluginv1.TaskRef{Uid: t.uid, Epoch: 1, Node: Node},
				Parallelism: 1, MaxParallelism: 128,
				Chain:  []*pluginv1.Member{{Node: Node, Component: "no-such-component", Config: []byte("{}")}},
				Limits: &pluginv1.Limits{BatchBytes: rig.BatchBytes, MaxRecordBytes: rig.MaxRecordBytes},
			})
			m, err := r.Hear(10*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil || m.GetFailed() != nil })
			if rig.Silence(err) || m.GetOpened() != nil {
				t.Fatalf("Open of a component that does not exist was not refused")
			}
			t.alive(p, "Open of a component that does not exist", nil)
		},
	},
}

// lease is what WC-LIF-007 opens a task with.
const lease = 1500 * time.Millisecond

// drainTime is a pipeline's default for what a stop may take.
const drainTime = 15 * time.Second

// pause lets time pass, where a case is about what does not happen.
func (t *T) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
	}
}

// within waits until f says so.
func (t *T) within(d time.Duration, otherwise string, f func() bool) {
	deadline := time.Now().Add(d)
	for !f() {
		if time.Now().After(deadline) || t.ctx.Err() != nil {
			t.Fatalf("%s", otherwise)
		}
		t.pause(5 * time.Millisecond)
	}
}

// unknown adds fields that no version of the contract has.
func unknown(m proto.Message) {
	b := protowire.AppendTag(nil, 1999, protowire.VarintType)
	b = protowire.AppendVarint(b, 7)
	b = protowire.AppendTag(b, 2000, protowire.BytesType)
	b = protowire.AppendBytes(b, []byte("of a newer host"))
	m.ProtoReflect().SetUnknown(b)
}

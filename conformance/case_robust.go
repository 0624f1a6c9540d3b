package conformance

import (
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirstream/weir/conformance/rig"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

var robustCases = []Case{
	{
		ID: "WC-ROB-001", Title: "bytes that are no frame fail the task, not the process",
		Demands: "Bytes on Run that are no frame, a frame of an unknown kind, and one without a body end the task with an error or are passed over; the process goes on, and so does another task in it.",
		Why:     "Bytes come from another process. One that is broken, or newer, must not take others with it.",
		Fix:     "Check what is decoded, and turn every error into Failed for that task.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			var other *rig.Stage
			if !p.Manifest().GetOneTaskPerProcess() && !t.entry.Exclusive {
				o := t.Open(1, 1, nil)
				o.UID += "b"
				other = p.Stage(o)
			}
			for i, bytes := range garbageFrames(t.Rand) {
				open := p.Message(t.Open(uint64(i)+1, 1, nil), 0)
				r := p.Raw(open)
				r.Opened()
				r.Attach(open.Task)
				r.FrameBytes(wire.Frame{Data: mem.BufferSlice{mem.SliceBuffer(bytes)}})
				r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}})
				if _, err := r.Hear(10*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil }); rig.Silence(err) {
					t.Fatalf("after the bytes %x on Run the task neither failed nor answered Close", bytes)
				}
				r.Cut()
				t.alive(p, "bytes that are no frame", nil)
			}
			if other != nil {
				t.drive(other, 10)
				other.Checkpoint()
				other.Close()
			}
		},
	},
	{
		ID: "WC-ROB-002", Title: "a batch whose offsets lie fails the task, not the process", Kinds: takers,
		Demands: "A batch with offsets that fall, or that lead outside its bytes, with more records than bytes for them, or with headers that are cut short, fails the task; nothing of it is processed and the process goes on.",
		Why:     "An offset that is trusted reads memory that it should not.",
		Fix:     "Check every offset of a batch once, before any record of it is read (frame.proto says what holds).",
		run: func(t *T) {
			p := t.Start()
			for i, b := range liars() {
				o := t.Open(uint64(i)+1, 1, nil)
				s := p.Stage(o)
				f, err := wire.FrameOf(&pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: b.batch}})
				if err != nil {
					t.Brokenf("%v", err)
				}
				s.SendRaw(0, f)
				if s.Failure(10*time.Second) == nil {
					t.Fatalf("%s: the task went on as if nothing were wrong", b.what)
				}
				for _, name := range t.outputs() {
					if got := s.Received(0, name); len(got) > 0 {
						t.Fatalf("%s: %d records came of it on %q: %s", b.what, len(got), name, list(plain(got)))
					}
				}
				s.Close()
				t.alive(p, b.what, nil)
			}
		},
	},
	{
		ID: "WC-ROB-003", Title: "Run of a task that is not open is refused",
		Demands: "Run that begins with the reference of no open task, or with another frame than Attach, ends with an error, and the process goes on.",
		Why:     "A stream of an old epoch may arrive after its task has closed.",
		Fix:     "Look the reference up among the open tasks, all five fields of it.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			open := p.Message(t.Open(3, 1, nil), 0)
			r := p.Raw(open)
			r.Opened()
			for _, ref := range []*pluginv1.TaskRef{
				{Uid: t.uid, Epoch: 2, Node: Node}, {Uid: t.uid, Epoch: 3, Node: "other"}, {Uid: "other", Epoch: 3, Node: Node},
				{Uid: t.uid, Epoch: 3, Node: Node, Index: 9}, nil,
			} {
				r.Attach(ref)
				if err, ok := r.RunEnded(5 * time.Second); !ok || !isError(err) {
					t.Fatalf("Run of the task {%v}, which is not open, was not refused: %v", ref, err)
				}
				r.ForgetRun()
			}
			r.BeginRun()
			r.Frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 1}}})
			if err, ok := r.RunEnded(5 * time.Second); !ok || !isError(err) {
				t.Fatalf("Run that began with a barrier was not refused: %v", err)
			}
			t.alive(p, "Run of tasks that are not open", nil)
		},
	},
	{
		ID: "WC-ROB-004", Title: "Control that begins with anything but Open is refused", Once: true,
		Demands: "Control that begins with Restored, Completed or Close, or with nothing at all, ends without harm.",
		Why:     "A host that fails while it opens a task leaves such a stream.",
		Fix:     "End the stream with an error.",
		run: func(t *T) {
			p := t.Start()
			for _, m := range []*pluginv1.ControlRequest{
				{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}},
				{Kind: &pluginv1.ControlRequest_Completed{Completed: &pluginv1.Completed{Checkpoint: 1}}},
				{Kind: &pluginv1.ControlRequest_Close{Close: &pluginv1.Close{}}},
				{Kind: &pluginv1.ControlRequest_Open{Open: &pluginv1.Open{}}},
				nil,
			} {
				r := p.RawControl()
				if m != nil {
					r.Say(m)
				}
				_ = r.Control.CloseSend()
				if _, err := r.Hear(10*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetClosed() != nil || m.GetFailed() != nil }); rig.Silence(err) {
					t.Fatalf("Control that began with {%v} and ended was still open 10s later", m)
				}
				r.Cut()
				t.alive(p, "Control without Open", nil)
			}
		},
	},
	{
		ID: "WC-ROB-005", Title: "state that makes no sense fails the task, not the process",
		Demands: "A task that is handed a split, writer state or state by name that it cannot have made fails, or ignores what it has no use for; the process goes on.",
		Why:     "State may come from another version, or from another component after a mistake in a file.",
		Fix:     "Check what is restored, and answer Failed with CLASS_FATAL.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			for i, kind := range []pluginv1.Entry_Kind{
				pluginv1.Entry_KIND_SPLIT, pluginv1.Entry_KIND_WRITER, pluginv1.Entry_KIND_LIST, pluginv1.Entry_KIND_BROADCAST,
			} {
				open := p.Message(t.Open(uint64(i)+1, 1, nil), 0)
				open.RestoredCheckpoint = 1
				r := p.RawControl()
				r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Open{Open: open}})
				r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_RestorePart{RestorePart: &pluginv1.RestorePart{Entries: []*entry{{
					Kind: kind, Id: "garbage", Content: &pluginv1.Entry_Payload{Payload: []byte("\x00\xffno state")},
				}}}}})
				r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}})
				_, err := r.Hear(10*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil || m.GetFailed() != nil })
				if rig.Silence(err) {
					t.Fatalf("with state of kind %v that makes no sense the task neither opened nor failed within 10s", kind)
				}
				r.Cut()
				t.alive(p, "state that makes no sense", nil)
			}
		},
	},
	{
		ID: "WC-ROB-006", Title: "two tasks of one name are not open at a time",
		Demands: "A second Open of a task that is open is refused, and the first goes on.",
		Why:     "After a broken connection a host may ask twice.",
		Fix:     "Look the reference up among the open tasks when Open comes.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			open := p.Message(t.Open(1, 1, nil), 0)
			first := p.Raw(open)
			first.Opened()
			second := p.Raw(open)
			if m, err := second.Hear(10*time.Second, func(m *pluginv1.ControlResponse) bool { return m.GetOpened() != nil || m.GetFailed() != nil }); err == nil && m.GetOpened() != nil {
				t.Fatalf("a task that was open was opened once more")
			} else if rig.Silence(err) {
				t.Fatalf("a second Open of an open task was not answered within 10s")
			}
			if err := first.Failed(0); err != nil {
				t.Fatalf("a second Open of a task ended the first: %v", err)
			}
		},
	},
}

// isError says that a stream was ended with a status other than OK.
func isError(err error) bool { return err != nil && err.Error() != "EOF" }

// garbageFrames are bytes that are no frame of any version.
func garbageFrames(r *rand.Rand) [][]byte {
	noise := make([]byte, 64)
	for i := range noise {
		noise[i] = byte(r.UintN(256))
	}
	strange := protowire.AppendTag(nil, 77, protowire.BytesType)
	strange = protowire.AppendBytes(strange, []byte("of a newer host"))
	cut := protowire.AppendTag(nil, 5, protowire.BytesType)
	cut = protowire.AppendVarint(cut, 1000)
	return [][]byte{{}, {0xff, 0xff, 0xff}, noise, strange, append(cut, 1, 2, 3)}
}

type liar struct {
	what  string
	batch *pluginv1.Batch
}

// liars are batches that do not keep what frame.proto says.
func liars() []liar {
	perRecord := func(length uint32) *pluginv1.Column {
		return &pluginv1.Column{Encoding: pluginv1.Column_ENCODING_PER_RECORD, DataLength: length}
	}
	inline := func(b ...byte) *pluginv1.Batch_Inline { return &pluginv1.Batch_Inline{Inline: b} }
	constant := func(length uint32) *pluginv1.Column {
		return &pluginv1.Column{Encoding: pluginv1.Column_ENCODING_CONSTANT, DataLength: length}
	}
	return []liar{
		{"offsets that fall", &pluginv1.Batch{Records: 2, Value: perRecord(3), Payload: inline('a', 'b', 'c', 3, 0, 0, 0, 2, 0, 0, 0)}},
		{"an offset outside the bytes", &pluginv1.Batch{Records: 2, Value: perRecord(3), Payload: inline('a', 'b', 'c', 1, 0, 0, 0, 0xff, 0xff, 0, 0)}},
		{"fewer bytes than are said", &pluginv1.Batch{Records: 1, Value: perRecord(300), Payload: inline('a', 1, 0, 0, 0)}},
		{"fewer offsets than records", &pluginv1.Batch{Records: 1000, Value: perRecord(1), Payload: inline('a', 1, 0, 0, 0)}},
		{"headers that are cut short", &pluginv1.Batch{Records: 1, Value: constant(1), Headers: constant(5), Payload: inline('v', 200, 0, 0, 0, 'x')}},
		{"an encoding that is not known", &pluginv1.Batch{Records: 1, Value: &pluginv1.Column{Encoding: 9, DataLength: 1}, Payload: inline('a')}},
		{"more bytes than belong to columns", &pluginv1.Batch{Records: 1, Value: constant(1), Payload: inline('a', 'b', 'c')}},
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// crash ends the process as a defect would.
func crash() { os.Exit(3) }

// Describe implements [pluginv1.PluginServer].
func (s *server) Describe(ctx context.Context, r *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	out, err := s.good.Client().Describe(ctx, r)
	if err != nil {
		return nil, err
	}
	switch fault {
	case "describe-changes":
		out.Manifest.Version += fmt.Sprintf(".%d", s.asked.Add(1))
	case "describe-lacks-a-summary":
		out.Manifest.Components[0].Summary = ""
	case "describe-has-a-broken-default":
		out.Manifest.Components[0].Parameters[1].Default = "{"
	case "describe-claims-what-its-kind-cannot":
		out.Manifest.Components[0].Capabilities.ExactlyOnce = true
	}
	return out, nil
}

// Validate implements [pluginv1.PluginServer].
func (s *server) Validate(ctx context.Context, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	if is("validate-ends-the-process-on-nonsense") && !json.Valid(r.Config) {
		crash()
	}
	out, err := s.good.Client().Validate(ctx, r)
	if err != nil {
		return nil, err
	}
	drop := func(words ...string) {
		var left []*pluginv1.Fault
		for _, f := range out.Faults {
			hit := false
			for _, w := range words {
				hit = hit || strings.Contains(f.Message, w)
			}
			if !hit {
				left = append(left, f)
			}
		}
		out.Faults = left
	}
	switch fault {
	case "validate-accepts-everything":
		out.Faults = nil
	case "validate-ignores-bounds":
		drop("must be between", "must be at")
	case "validate-ignores-unknown-fields":
		drop("unknown field")
	case "validate-ignores-required-fields":
		drop("required")
	case "validate-ignores-types":
		drop("expected")
	case "validate-ignores-allowed-values":
		drop("must be one of", "one of")
	case "validate-ignores-patterns":
		drop("match")
	case "validate-tells-the-first-fault-alone":
		out.Faults = out.Faults[:min(1, len(out.Faults))]
	case "validate-points-elsewhere":
		for _, f := range out.Faults {
			f.Path, f.Message = "elsewhere", "is wrong"
		}
	case "validate-says-nothing":
		for _, f := range out.Faults {
			f.Message = " "
		}
	case "validate-tells-the-secret":
		for _, f := range out.Faults {
			f.Message += " in " + string(r.Config)
		}
	case "validate-claims-more":
		if out.Capabilities != nil {
			out.Capabilities.Retract, out.Capabilities.Replayable, out.Capabilities.PreservesOrder = true, true, true
		}
	case "validate-answers-differently":
		out.Faults = append(out.Faults, &pluginv1.Fault{Message: fmt.Sprintf("asked %d times", s.asked.Add(1)), Offset: -1, Warning: true})
	}
	return out, nil
}

// Probe implements [pluginv1.PluginServer].
func (s *server) Probe(ctx context.Context, r *pluginv1.ProbeRequest) (*pluginv1.ProbeResponse, error) {
	return s.good.Client().Probe(ctx, r)
}

// Commit implements [pluginv1.PluginServer].
func (s *server) Commit(ctx context.Context, r *pluginv1.CommitRequest) (*pluginv1.CommitResponse, error) {
	for _, e := range r.Committables {
		if nonsense := !json.Valid(e.GetPayload()); nonsense && is("commit-ends-the-process-on-nonsense") {
			crash()
		} else if nonsense && is("commit-accepts-nonsense") {
			return &pluginv1.CommitResponse{}, nil
		}
	}
	out, err := s.good.Client().Commit(ctx, r)
	if is("commit-has-no-fence") && status.Code(err) == codes.FailedPrecondition {
		return &pluginv1.CommitResponse{}, nil
	}
	if is("commit-refuses-nothing-to-commit") && len(r.Committables) == 0 {
		return &pluginv1.CommitResponse{Error: &pluginv1.Error{Message: "nothing to commit", Class: pluginv1.Error_CLASS_FATAL}}, nil
	}
	return out, err
}

// Sweep implements [pluginv1.PluginServer].
func (s *server) Sweep(ctx context.Context, r *pluginv1.SweepRequest) (*pluginv1.SweepResponse, error) {
	out, err := s.good.Client().Sweep(ctx, r)
	if is("sweep-has-no-fence") && status.Code(err) == codes.FailedPrecondition {
		return &pluginv1.SweepResponse{}, nil
	}
	return out, err
}

// tap is one stream of Control, on its way down to the good process and up to the
// host.
type tap struct {
	s    *server
	host grpc.BidiStreamingServer[pluginv1.ControlRequest, pluginv1.ControlResponse]

	groups    groups
	files     files
	opened    bool
	faked     bool // Opened was said of what did not open
	component string
	before    []*pluginv1.Entry // of the snapshot before this one
	now       []*pluginv1.Entry
}

func (t *tap) say(m *pluginv1.ControlResponse) error { return t.host.Send(m) }

func failed(message string) *pluginv1.ControlResponse {
	return &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: &pluginv1.Failed{Error: &pluginv1.Error{Message: message, Class: pluginv1.Error_CLASS_FATAL}}}}
}

// down is what becomes of a message to the task.
func (t *tap) down(m *pluginv1.ControlRequest) []*pluginv1.ControlRequest {
	if open := m.GetOpen(); open != nil {
		t.openMessage(open)
	}
	if r := m.GetRestorePart(); r != nil {
		r.Entries = t.files.restored(restoredState(r.Entries))
	}
	switch {
	case is("unknown-messages-end-the-task") && m.Kind == nil:
		_ = t.say(failed("what is this?"))
	case is("close-is-not-heard") && m.GetClose() != nil,
		is("outcomes-of-checkpoints-are-not-heard") && (m.GetCompleted() != nil || m.GetAborted() != nil):
		return nil
	case is("restore-parts-are-not-joined") && m.GetRestorePart() != nil:
		for _, e := range m.GetRestorePart().Entries {
			e.More = false
		}
	case is("state-is-not-restored") && m.GetRestorePart() != nil:
		return nil
	case is("nonsense-state-ends-the-process") && m.GetRestorePart() != nil:
		for _, e := range m.GetRestorePart().Entries {
			if len(e.GetPayload()) > 0 && e.GetPayload()[0] == 0 {
				crash()
			}
		}
	}
	return []*pluginv1.ControlRequest{m}
}

func (t *tap) openMessage(open *pluginv1.Open) {
	if len(open.Chain) > 0 {
		t.component = open.Chain[0].Component
		t.groups.owned, t.groups.of = open.Chain[0].KeyGroups, open.MaxParallelism
	}
	t.files.scratch = open.Scratch
	switch fault {
	case "lease-is-ignored":
		open.Lease = nil
	case "unknown-fields-are-refused":
		if len(open.ProtoReflect().GetUnknown()) > 0 {
			_ = t.say(failed("the field is not known"))
		}
	case "opens-what-it-refuses":
		for _, c := range open.Chain {
			if c.Component == "mark" {
				c.Config = []byte("{}")
			}
		}
	case "chains-are-cut":
		if len(open.Chain) > 1 {
			open.Chain = open.Chain[:1]
			for _, o := range open.Chain[0].Outputs {
				o.Chained, o.Exclusive = false, false
			}
		}
	case "failure-policy-is-ignored":
		for _, c := range open.Chain {
			c.OnFailure = &pluginv1.FailurePolicy{Action: pluginv1.FailurePolicy_ACTION_SKIP}
		}
	case "max-record-is-ignored":
		open.Limits.MaxRecordBytes = 64 << 20
	}
}

// up is what becomes of a message to the host.
func (t *tap) up(m *pluginv1.ControlResponse) []*pluginv1.ControlResponse {
	if is("opens-what-is-not-there") && !t.opened && m.GetFailed() != nil {
		t.faked = true
		return []*pluginv1.ControlResponse{{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}}}
	}
	if is("opens-what-is-not-there") && t.faked {
		return nil
	}
	t.opened = t.opened || m.GetOpened() != nil
	if p := m.GetSnapshotPart(); p != nil {
		p.Entries = t.groups.snapshot(p)
		t.files.snapshot(p)
	}
	switch {
	case is("closed-is-not-said") && m.GetClosed() != nil,
		is("snapshots-do-not-end") && m.GetSnapshotDone().GetCheckpoint()%2 == 1,
		is("changed-is-not-said") && m.GetChanged() != nil,
		is("exhausted-is-not-said") && m.GetExhausted() != nil:
		return nil
	case is("snapshots-are-one-late") && t.component == "pages":
		return t.late(m)
	case is("snapshots-lose-their-entries") && m.GetSnapshotPart() != nil:
		return nil
	}
	return []*pluginv1.ControlResponse{m}
}

// late gives each checkpoint the entries of the one before.
func (t *tap) late(m *pluginv1.ControlResponse) []*pluginv1.ControlResponse {
	switch {
	case m.GetSnapshotPart() != nil:
		t.now = append(t.now, m.GetSnapshotPart().Entries...)
		return nil
	case m.GetSnapshotDone() != nil:
		n := m.GetSnapshotDone().Checkpoint
		part := &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotPart{SnapshotPart: &pluginv1.SnapshotPart{Checkpoint: n, Entries: t.before}}}
		if t.before == nil {
			part.GetSnapshotPart().Entries = t.now
		}
		t.before, t.now = t.now, nil
		return []*pluginv1.ControlResponse{part, m}
	}
	return []*pluginv1.ControlResponse{m}
}

// controlEnded is how the stream to the host ends when that to the good process has.
func (t *tap) controlEnded(err error) error {
	opened := &pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}}
	switch code := status.Code(err); {
	case is("open-has-no-fence") && code == codes.FailedPrecondition,
		is("opens-what-is-not-there") && (t.faked || !t.opened),
		is("opens-a-task-twice") && code == codes.AlreadyExists:
		_ = t.say(opened)
		return hang(t.host.Context())
	case is("control-without-open-waits") && !t.opened:
		return hang(t.host.Context())
	case is("control-end-is-ignored"):
		return hang(t.host.Context())
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// frames is one stream of Run.
type frames struct {
	s    *server
	pool *wire.Pool
	host grpc.BidiStreamingServer[pluginv1.Frame, pluginv1.Frame]
	end  error

	last   *wire.Frame // the newest batch
	marks  int
	barred *wire.Frame // a barrier that is held back
}

// down is what becomes of a frame to the task.
func (t *frames) down(f wire.Frame) []wire.Frame {
	h, err := f.Header()
	switch {
	case err != nil && is("nonsense-frames-end-the-process"):
		crash()
	case err == nil && h.Kind == wire.KindBatch && is("lies-are-believed"):
		copied := f.Clone()
		b, err := t.pool.Decode(&copied, h)
		if err != nil {
			return nil
		}
		b.Release()
	case err == nil && is("barriers-lag-behind"):
		return t.lag(f, h)
	}
	return []wire.Frame{f}
}

// lag lets a batch overtake the barrier before it.
func (t *frames) lag(f wire.Frame, h wire.Header) []wire.Frame {
	if h.Kind == wire.KindBarrier {
		if m, err := f.Message(); err == nil && !m.GetBarrier().GetEnd() {
			held := frameOf(m)
			t.barred = &held
			return nil
		}
	}
	out := []wire.Frame{f}
	if t.barred != nil && h.Kind == wire.KindBatch {
		out = append(out, *t.barred)
		t.barred = nil
	}
	return out
}

// pass passes frames up until the stream from the good process ends.
func (t *frames) pass(next func() (wire.Frame, error)) {
	type got struct {
		f   wire.Frame
		err error
	}
	all := make(chan got)
	done := t.host.Context().Done()
	go func() {
		for {
			f, err := next()
			select {
			case all <- got{f, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	overtakes := map[string]wire.Kind{"barriers-overtake-data": wire.KindBarrier, "watermarks-overtake-data": wire.KindWatermark}[fault]
	var held []wire.Frame
	for {
		var g got
		if overtakes != 0 && len(held) > 0 {
			select {
			case g = <-all:
			case <-time.After(100 * time.Millisecond):
				t.send(held...)
				held = nil
				continue
			}
		} else {
			select {
			case g = <-all:
			case <-done:
				t.end = t.host.Context().Err()
				return
			}
		}
		if g.err != nil {
			t.send(held...)
			t.end = g.err
			return
		}
		h, err := g.f.Header()
		if err != nil {
			t.send(g.f)
			continue
		}
		if overtakes != 0 && h.Kind == wire.KindBatch {
			held = append(held, g.f)
			continue
		}
		if overtakes != 0 && h.Kind == overtakes {
			t.send(g.f)
			t.send(held...)
			held = nil
			continue
		}
		t.send(held...)
		held = nil
		t.send(t.up(g.f, h)...)
	}
}

func (t *frames) send(all ...wire.Frame) {
	for _, f := range all {
		_ = t.host.SendMsg(&f)
	}
}

// up is what becomes of a frame to the host.
func (t *frames) up(f wire.Frame, h wire.Header) []wire.Frame {
	switch h.Kind {
	case wire.KindBatch:
		return t.batch(f, h)
	case wire.KindBarrier:
		return t.barrier(f)
	case wire.KindWatermark:
		t.marks++
		switch {
		case is("watermarks-are-lost"), is("watermarks-leave-on-one-output") && h.Port > 0:
			return nil
		case is("watermarks-go-back") && t.marks%2 == 0:
			m, err := f.Message()
			if err == nil {
				m.GetWatermark().Time -= 1000
				return []wire.Frame{frameOf(m)}
			}
		}
	case wire.KindIdle:
		if is("idle-is-lost") {
			return nil
		}
	case wire.KindNoMoreSplits:
		switch {
		case is("no-more-splits-comes-twice"):
			return []wire.Frame{f.Clone(), f}
		case is("no-more-splits-is-lost") && h.Target == 2:
			return nil
		}
	case wire.KindSplitOpened:
		if is("splits-are-not-opened") {
			return nil
		}
	case wire.KindSplitEnded:
		if is("splits-do-not-end") {
			return nil
		}
	case wire.KindAssign:
		if is("a-split-is-assigned-twice") {
			m, err := f.Message()
			if err == nil {
				m.Target = 1
				return []wire.Frame{f, frameOf(m)}
			}
		}
	}
	return []wire.Frame{f}
}

func frameOf(m *pluginv1.Frame) wire.Frame {
	f, err := wire.FrameOf(m)
	if err != nil {
		crash()
	}
	return f
}

func (t *frames) batch(f wire.Frame, h wire.Header) []wire.Frame {
	switch fault {
	case "data-comes-behind-a-halt":
		c := f.Clone()
		t.last = &c
	case "origins-are-left-out":
		return []wire.Frame{t.rewritten(f, h, func(w *wire.Builder, b *wire.Batch, i int) {
			w.Append(b.Key(i), b.Value(i), b.Time(i), b.Headers(i), "", 0)
		})}
	case "ordinals-do-not-count":
		return []wire.Frame{t.rewritten(f, h, func(w *wire.Builder, b *wire.Batch, i int) {
			split, _ := b.Origin(i)
			w.Append(b.Key(i), b.Value(i), b.Time(i), b.Headers(i), split, 0)
		})}
	case "dead-letters-do-not-say-why":
		if h.Port == 1 {
			return []wire.Frame{t.rewritten(f, h, func(w *wire.Builder, b *wire.Batch, i int) {
				split, n := b.Origin(i)
				w.Append(b.Key(i), b.Value(i), b.Time(i), nil, split, n)
			})}
		}
	case "dead-letters-are-cut":
		if h.Port == 1 {
			return []wire.Frame{t.rewritten(f, h, func(w *wire.Builder, b *wire.Batch, i int) {
				split, n := b.Origin(i)
				w.Append(nil, b.Value(i), b.Time(i), b.Headers(i), split, n)
			})}
		}
	case "tasks-are-mixed":
		if t.s.runs.Load() < 2 {
			return []wire.Frame{f}
		}
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		other := t.s.other
		t.s.other = &f
		if other == nil {
			return nil
		}
		return []wire.Frame{*other}
	case "a-batch-is-sent-twice":
		return []wire.Frame{f.Clone(), f}
	}
	return []wire.Frame{f}
}

// rewritten makes a batch anew.
func (t *frames) rewritten(f wire.Frame, h wire.Header, each func(*wire.Builder, *wire.Batch, int)) wire.Frame {
	b, err := t.pool.Decode(&f, h)
	if err != nil {
		crash()
	}
	defer b.Release()
	w := t.pool.NewBuilder(64 << 20)
	for i := range b.Len() {
		each(w, b, i)
	}
	out := w.Freeze()
	defer out.Release()
	return wire.Encode(h.Component, h.Port, h.Target, out)
}

func (t *frames) barrier(f wire.Frame) []wire.Frame {
	m, err := f.Message()
	if err != nil {
		return []wire.Frame{f}
	}
	b := m.GetBarrier()
	switch {
	case is("barriers-come-twice"):
		return []wire.Frame{f.Clone(), f}
	case is("barriers-lose-their-flags") && b.Roll:
		m = proto.CloneOf(m)
		m.GetBarrier().Roll = false
		return []wire.Frame{frameOf(m)}
	case is("barriers-are-lost") && b.Checkpoint%4 == 3:
		return nil
	case is("data-comes-behind-a-halt") && b.Halt && t.last != nil:
		return []wire.Frame{f, *t.last}
	}
	return []wire.Frame{f}
}

// runEnded is how the stream to the host ends when that to the good process has.
func (t *frames) runEnded(err error) error {
	code := status.Code(err)
	switch {
	case is("run-without-a-task-waits") && (code == codes.NotFound || code == codes.FailedPrecondition || code == codes.InvalidArgument),
		is("control-end-is-ignored"):
		return hang(t.host.Context())
	case err == nil || errors.Is(err, io.EOF):
		return nil
	}
	return err
}

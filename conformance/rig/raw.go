package rig

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Raw is a task's two streams without the care that a host takes: whatever a case
// says is sent, and nothing that is heard is judged.
type Raw struct {
	t       TB
	plugin  *Plugin
	Control grpc.BidiStreamingClient[pluginv1.ControlRequest, pluginv1.ControlResponse]
	Run     grpc.BidiStreamingClient[pluginv1.Frame, pluginv1.Frame]

	cut    context.CancelFunc // of Control
	heard  chan *pluginv1.ControlResponse
	ended  chan error // of Control
	runEnd chan error
}

// Message is the message that opens a worker of o.
func (p *Plugin) Message(o Open, index int) *pluginv1.Open {
	s := &Stage{Open: o, t: p.t, plugin: p}
	return s.open(task.ID{Node: o.Chain[0].Node, Index: index})
}

// Raw begins Control and says Open and Restored there.
func (p *Plugin) Raw(open *pluginv1.Open) *Raw {
	r := p.RawControl()
	r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Open{Open: open}})
	r.Say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Restored{Restored: &pluginv1.Restored{}}})
	return r
}

// RawControl begins Control and says nothing.
func (p *Plugin) RawControl() *Raw {
	r := &Raw{t: p.t, plugin: p, heard: make(chan *pluginv1.ControlResponse, 1024), ended: make(chan error, 1), runEnd: make(chan error, 1)}
	ctx, cut := context.WithCancel(p.t.Context())
	r.cut = cut
	p.t.Cleanup(cut)
	var err error
	if r.Control, err = p.Client().Control(ctx); err != nil {
		p.t.Fatalf("Control: %v", err)
	}
	go func() {
		for {
			m, err := r.Control.Recv()
			if err != nil {
				r.ended <- err
				return
			}
			select {
			case r.heard <- m:
			case <-ctx.Done():
			}
		}
	}()
	return r
}

// Say sends a message on Control. A stream that has broken shows it by what is
// heard.
func (r *Raw) Say(m *pluginv1.ControlRequest) { _ = r.Control.Send(m) }

// Cut breaks Control.
func (r *Raw) Cut() { r.cut() }

var errSilence = errors.New("nothing was said in time")

// Hear waits for the message that f wants. It returns the error with which Control
// ended, or that nothing came in time.
func (r *Raw) Hear(d time.Duration, f func(*pluginv1.ControlResponse) bool) (*pluginv1.ControlResponse, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case m := <-r.heard:
			if f(m) {
				return m, nil
			}
			continue
		default:
		}
		select {
		case m := <-r.heard:
			if f(m) {
				return m, nil
			}
		case err := <-r.ended:
			r.ended <- err
			return nil, err
		case <-timer.C:
			return nil, errSilence
		case <-r.t.Context().Done():
			return nil, errSilence
		}
	}
}

// Opened waits until the task is open.
func (r *Raw) Opened() {
	_, err := r.Hear(openTimeout, func(m *pluginv1.ControlResponse) bool {
		if f := m.GetFailed(); f != nil {
			r.t.Fatalf("opening: %s", f.GetError().GetMessage())
		}
		return m.GetOpened() != nil
	})
	if err != nil {
		r.t.Fatalf("opening: %v", err)
	}
}

// Attach begins Run for a task.
func (r *Raw) Attach(ref *pluginv1.TaskRef) {
	r.BeginRun()
	r.Frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: ref}}})
}

// BeginRun begins Run and says nothing.
func (r *Raw) BeginRun() {
	var err error
	if r.Run, err = r.plugin.Client().Run(r.t.Context()); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
	go func() {
		for {
			var f wire.Frame
			if err := r.Run.RecvMsg(&f); err != nil {
				r.runEnd <- err
				return
			}
			f.Free()
		}
	}()
}

// Frame sends a frame on Run.
func (r *Raw) Frame(m *pluginv1.Frame) {
	f, err := wire.FrameOf(m)
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	r.FrameBytes(f)
}

// FrameBytes sends what may be no frame on Run.
func (r *Raw) FrameBytes(f wire.Frame) { _ = r.Run.SendMsg(&f) }

// RunEnded waits for the end of Run; not ok where it does not come in time.
func (r *Raw) RunEnded(d time.Duration) (err error, ok bool) {
	select {
	case err = <-r.runEnd:
		r.runEnd <- err
		return err, true
	case <-time.After(d):
	case <-r.t.Context().Done():
	}
	return nil, false
}

// Failed waits until the task has said that it failed, or has ended Control with an
// error; nil where it does not in time.
func (r *Raw) Failed(d time.Duration) error {
	m, err := r.Hear(d, func(m *pluginv1.ControlResponse) bool { return m.GetFailed() != nil })
	switch {
	case errors.Is(err, errSilence):
		return nil
	case err != nil:
		return err
	}
	return &AnswerError{m.GetFailed().GetError()}
}

// Silence says that an error of Hear is that nothing came in time.
func Silence(err error) bool { return errors.Is(err, errSilence) }

// ForgetRun forgets a Run that has ended, so that another can begin.
func (r *Raw) ForgetRun() { <-r.runEnd }

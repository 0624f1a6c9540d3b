package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

type controlStream = grpc.BidiStreamingServer[pluginv1.ControlRequest, pluginv1.ControlResponse]

// checkpointOutcome is what became of a checkpoint.
type checkpointOutcome struct {
	checkpoint uint64
	completed  bool
}

// Control implements [pluginv1.PluginServer]: one task's life.
func (s *Server) Control(stream controlStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	if open == nil {
		return status.Errorf(codes.InvalidArgument, "protocol: Control begins with Open, not with %s", requestName(first))
	}
	t := newTask(s, open)
	if err := t.plan(); err != nil {
		return refuse(stream, fmt.Errorf("task %s cannot be opened: %w", t, err))
	}
	for _, m := range t.members {
		if err := s.fence.pass(open.GetTask().GetUid(), m.spec.GetNode(), open.GetTask().GetEpoch()); err != nil {
			return err
		}
	}
	if err := s.register(t); err != nil {
		return err
	}
	go func() {
		t.run()
		s.forget(t)
	}()
	return t.serveControl(stream)
}

// refuse answers an Open that no restart helps.
func refuse(stream controlStream, err error) error {
	failed := &pluginv1.Failed{Error: wireError(&FatalError{err})}
	if err := stream.Send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: failed}}); err != nil {
		return err
	}
	return stream.Send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}})
}

// serveControl carries the stream until the task has ended.
func (t *task) serveControl(stream controlStream) error {
	heard := make(chan struct{}, 1)
	go t.receiveControl(stream, heard)
	go t.watchLease(heard)

	// What ends the wait for the task: its end, or that a component does not
	// return.
	over, end := context.WithCancel(context.Background())
	defer end()
	stuck := make(chan struct{})
	go func() {
		defer end()
		<-t.ctx.Done()
		timer := time.NewTimer(t.server.opts.CloseTimeout)
		defer timer.Stop()
		select {
		case <-t.done:
		case <-timer.C:
			close(stuck)
		}
	}()
	// Once the stream is broken nothing can be sent, but the task still has to
	// end before its handler does.
	if err := t.out.run(over, t.ctx, stream.Send); err != nil {
		t.stop(errControlEnded)
		<-over.Done()
	}
	select {
	case <-stuck:
		return status.Errorf(codes.DeadlineExceeded, "task %s: a component did not return within %v after it was told to end", t, t.server.opts.CloseTimeout)
	default:
	}
	if err := stream.Context().Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return stream.Send(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}})
}

// receiveControl takes requests until the stream ends. It never waits.
func (t *task) receiveControl(stream controlStream, heard chan struct{}) {
	var restore joiner
	restoring := true
	for {
		r, err := stream.Recv()
		if err != nil {
			t.stop(errControlEnded)
			return
		}
		signal(heard)
		switch k := r.GetKind().(type) {
		case *pluginv1.ControlRequest_RestorePart:
			if !restoring {
				err = errors.New("a RestorePart after Restored")
			} else {
				err = restore.add(k.RestorePart.GetEntries()...)
			}
		case *pluginv1.ControlRequest_Restored:
			if !restoring {
				err = errors.New("a second Restored")
				break
			}
			restoring = false
			var entries []*pluginv1.Entry
			if entries, err = restore.end(); err == nil {
				t.restored <- entries
			}
		case *pluginv1.ControlRequest_Completed:
			t.finished.put(checkpointOutcome{k.Completed.GetCheckpoint(), true})
		case *pluginv1.ControlRequest_Aborted:
			t.finished.put(checkpointOutcome{k.Aborted.GetCheckpoint(), false})
		case *pluginv1.ControlRequest_Committed:
			t.commits.committed(k.Committed.GetThrough())
		case *pluginv1.ControlRequest_SplitRequest:
			if !t.enumerates() {
				err = errors.New("a SplitRequest to a task that is no enumerator")
			} else if k.SplitRequest.GetReader() >= t.open.GetParallelism() {
				err = fmt.Errorf("a SplitRequest of reader %d of %d", k.SplitRequest.GetReader(), t.open.GetParallelism())
			} else {
				t.requests.put(k.SplitRequest)
			}
		case *pluginv1.ControlRequest_Close:
			t.stop(errClosed)
		case *pluginv1.ControlRequest_SetLogLevel:
			if !setLevel(t.level, k.SetLogLevel.GetLevel()) {
				t.log.Warn("unknown log level", "level", k.SetLogLevel.GetLevel())
			}
		case *pluginv1.ControlRequest_SetTap:
			t.setTap(k.SetTap)
		case *pluginv1.ControlRequest_Open:
			err = errors.New("a second Open")
		case *pluginv1.ControlRequest_SlotRelease:
			err = errors.New("a SlotRelease, but no shared segment is in use")
		case *pluginv1.ControlRequest_Heartbeat:
		default:
			// A newer host says something that this plugin does not know.
		}
		if err != nil {
			t.fail(protocolErrorf("control: %w", err))
		}
	}
}

// watchLease ends the task when Control has been silent for the lease.
func (t *task) watchLease(heard <-chan struct{}) {
	lease := t.open.GetLease().AsDuration()
	if lease <= 0 {
		return
	}
	timer := time.NewTimer(lease)
	defer timer.Stop()
	for {
		select {
		case <-heard:
			timer.Reset(lease)
		case <-timer.C:
			t.log.Warn("the task closes: control has been silent for the lease", "lease", lease)
			t.stop(errLease)
			return
		case <-t.ctx.Done():
			return
		}
	}
}

func requestName(r *pluginv1.ControlRequest) string {
	kind := r.ProtoReflect().WhichOneof(r.ProtoReflect().Descriptor().Oneofs().ByName("kind"))
	if kind == nil {
		return "an empty request"
	}
	return string(kind.Message().Name())
}

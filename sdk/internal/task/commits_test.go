package task

import (
	"context"
	"errors"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func committed(through uint64) *pluginv1.ControlRequest {
	return &pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Committed{Committed: &pluginv1.Committed{Through: through}}}
}

// TestASinkThatAwaitsCommitsSaysSo: and the barrier waits behind it meanwhile.
func TestASinkThatAwaitsCommitsSaysSo(t *testing.T) {
	sink := &fakeSink{}
	sink.write = func(ctx context.Context, _ int, _ *wire.Batch, _ *Output) error {
		return sink.env.Commits.Await(ctx, 7)
	}
	h := newHost(t, []*Component{sinkNamed("sink", sink)})
	open := openOf(memberOf("sink"))
	open.Pool = 5
	task := h.open(open)
	if sink.env.Pool != 5 {
		t.Errorf("the pool is %d", sink.env.Pool)
	}
	waits := func(waiting bool) func(*pluginv1.ControlResponse) bool {
		return func(m *pluginv1.ControlResponse) bool {
			return m.GetAwaitingCommits() != nil && m.GetAwaitingCommits().Waiting == waiting
		}
	}
	task.say(committed(6))
	task.feed("a")
	task.hear("that it waits", waits(true))
	task.barrier(8)
	task.say(committed(3)) // late: numbers rise
	task.say(committed(7))
	task.hear("that it no longer waits", waits(false))
	task.passed(8)
	task.feed("b")
	task.barrier(9)
	task.passed(9)
	if n := len(task.heard(waits(true))); n != 1 {
		t.Errorf("it said %d times that it waits", n)
	}
	task.close()
}

func TestAnAwaitEndsWithItsContext(t *testing.T) {
	c := newCommits(newOutbox())
	cause := errors.New("closed")
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Await(ctx, 1) }()
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Error(err)
	}
	if c.Through() != 0 {
		t.Error(c.Through())
	}
}

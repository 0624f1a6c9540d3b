package task

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func ownerAt(epoch uint64) *pluginv1.Owner {
	return &pluginv1.Owner{Cluster: "test", Pipeline: "p", Uid: "u1", Node: "sink", Epoch: epoch}
}

func commitAt(epoch uint64, ids ...string) *pluginv1.CommitRequest {
	r := &pluginv1.CommitRequest{Owner: ownerAt(epoch), Component: "sink", Config: []byte("{}")}
	for _, id := range ids {
		r.Committables = append(r.Committables, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_COMMITTABLE, Id: id, Content: payload([]byte("{}"))})
	}
	return r
}

func sweepAt(epoch uint64) *pluginv1.SweepRequest {
	return &pluginv1.SweepRequest{Owner: ownerAt(epoch), Component: "sink", Config: []byte("{}")}
}

// TestAnEpochBelowTheHighestSeenIsRefused covers every pair of Open, Commit and
// Sweep: what one has seen binds the others.
func TestAnEpochBelowTheHighestSeenIsRefused(t *testing.T) {
	calls := map[string]func(h *host, epoch uint64) error{
		"Open": func(h *host, epoch uint64) error {
			o := openOf(fed(memberOf("sink")))
			o.Task.Epoch = epoch
			task := h.start(o)
			var err error
			task.await("Opened or an error", func() bool {
				err = task.ctlErr
				return err != nil || len(task.said) > 0
			})
			if err == nil {
				task.close()
			}
			return err
		},
		"Commit": func(h *host, epoch uint64) error {
			_, err := h.client.Commit(context.Background(), commitAt(epoch, "a"))
			return err
		},
		"Sweep": func(h *host, epoch uint64) error {
			_, err := h.client.Sweep(context.Background(), sweepAt(epoch))
			return err
		},
	}
	for first, before := range calls {
		for second, after := range calls {
			t.Run(first+" then "+second, func(t *testing.T) {
				h := newHost(t, []*Component{new(fakeCommitter).of(sinkNamed("sink", &fakeSink{}))})
				if err := before(h, 7); err != nil {
					t.Fatalf("epoch 7: %v", err)
				}
				if err := after(h, 6); status.Code(err) != codes.FailedPrecondition {
					t.Errorf("epoch 6 after 7: %v, want FailedPrecondition", err)
				}
				if err := after(h, 7); err != nil {
					t.Errorf("epoch 7 again: %v", err)
				}
			})
		}
	}
}

func TestTheFenceKnowsEveryMemberOfAChain(t *testing.T) {
	h := newHost(t, []*Component{operatorNamed("op", &fakeOperator{}), new(fakeCommitter).of(sinkNamed("sink", &fakeSink{}))})
	o := openOf(fed(memberOf("op", toNext("out"))), fed(memberOf("sink")))
	o.Task.Epoch = 3
	h.open(o).close()
	if _, err := h.client.Commit(context.Background(), commitAt(2, "a")); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("commit of epoch 2 after the chain was opened at 3: %v", err)
	}
	other := commitAt(1, "a")
	other.Owner.Uid = "u2"
	if _, err := h.client.Commit(context.Background(), other); err != nil {
		t.Errorf("another pipeline's epoch is its own: %v", err)
	}
}

func TestCallsForOneNodeComeOneAtATime(t *testing.T) {
	var inside, most atomic.Int32
	c := &fakeCommitter{commit: func(context.Context, []*pluginv1.Entry) error {
		most.Store(max(most.Load(), inside.Add(1)))
		time.Sleep(time.Millisecond)
		inside.Add(-1)
		return nil
	}}
	h := newHost(t, []*Component{c.of(sinkNamed("sink", &fakeSink{}))})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := h.client.Commit(context.Background(), commitAt(1, "a")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d calls at once", most.Load())
	}
	if opened, _ := c.counts(); opened != 1 {
		t.Errorf("the committer was opened %d times", opened)
	}
}

func TestAWaitingCommitOfAnOldEpochIsRefusedWhenANewOneHasCome(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c := &fakeCommitter{commit: func(context.Context, []*pluginv1.Entry) error {
		once.Do(func() { close(entered); <-leave })
		return nil
	}}
	h := newHost(t, []*Component{c.of(sinkNamed("sink", &fakeSink{}))})
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = h.client.Commit(context.Background(), commitAt(1, "first")) })
	<-entered
	result := make(chan error, 1)
	wg.Go(func() {
		_, err := h.client.Commit(context.Background(), commitAt(1, "second"))
		result <- err
	})
	// The fence is passed by a newer epoch while both calls are on their way.
	o := openOf(fed(memberOf("sink")))
	o.Task.Epoch = 2
	h.open(o).close()
	close(leave)
	if err := <-result; status.Code(err) != codes.FailedPrecondition {
		t.Errorf("second commit of epoch 1: %v", err)
	}
	wg.Wait()
}

func TestCommitAnswersWithTheComponentsErrorAndItsClass(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		class pluginv1.Error_Class
	}{
		"unmarked":         {errTest, pluginv1.Error_CLASS_UNMARKED},
		"retry":            {&RetryError{Err: errTest, After: time.Second}, pluginv1.Error_CLASS_RETRY},
		"fatal":            {&FatalError{errTest}, pluginv1.Error_CLASS_FATAL},
		"fatal in a retry": {&RetryError{Err: &FatalError{errTest}}, pluginv1.Error_CLASS_FATAL},
	} {
		t.Run(name, func(t *testing.T) {
			c := &fakeCommitter{commit: func(context.Context, []*pluginv1.Entry) error { return tc.err }}
			h := newHost(t, []*Component{c.of(sinkNamed("sink", &fakeSink{}))})
			r, err := h.client.Commit(context.Background(), commitAt(1, "a"))
			if err != nil {
				t.Fatal(err)
			}
			if r.GetError().GetClass() != tc.class {
				t.Errorf("class %s, want %s", r.GetError().GetClass(), tc.class)
			}
		})
	}
	t.Run("panic", func(t *testing.T) {
		c := &fakeCommitter{commit: func(context.Context, []*pluginv1.Entry) error { panic("oops") }}
		h := newHost(t, []*Component{c.of(sinkNamed("sink", &fakeSink{}))})
		r, err := h.client.Commit(context.Background(), commitAt(1, "a"))
		if err != nil || r.GetError().GetCode() != "panic" {
			t.Errorf("%v, %v", r, err)
		}
	})
}

func TestCommittersAreOpenedOnceAnEpochAndClosed(t *testing.T) {
	c := &fakeCommitter{}
	h := newHost(t, []*Component{c.of(sinkNamed("sink", &fakeSink{}))})
	ctx := context.Background()
	for _, epoch := range []uint64{1, 1, 2} {
		if _, err := h.client.Commit(ctx, commitAt(epoch, "a")); err != nil {
			t.Fatal(err)
		}
	}
	if opened, closed := c.counts(); opened != 2 || closed != 1 {
		t.Errorf("opened %d, closed %d; want 2 and 1", opened, closed)
	}
	h.server.Close()
	if opened, closed := c.counts(); opened != closed {
		t.Errorf("opened %d, closed %d at exit", opened, closed)
	}
}

func TestACommitterWithoutCallsIsClosed(t *testing.T) {
	c := &fakeCommitter{}
	h := newHost(t, []*Component{c.of(sinkNamed("sink", &fakeSink{}))}, func(o *Options) { o.CommitterIdle = time.Millisecond })
	for range 2 {
		if _, err := h.client.Commit(context.Background(), commitAt(1, "a")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the committer is closed", func() bool { opened, closed := c.counts(); return opened == closed })
	}
	if !slices.Equal(c.committed, []string{"a", "a"}) {
		t.Errorf("committed %v", c.committed)
	}
}

func TestOnlyWhatIsCommittableIsCommitted(t *testing.T) {
	h := newHost(t, []*Component{new(fakeCommitter).of(sinkNamed("sink", &fakeSink{})), sinkNamed("plain", &fakeSink{})})
	ctx := context.Background()
	r := commitAt(1, "a")
	r.Committables[0].Kind = pluginv1.Entry_KIND_WRITER
	if _, err := h.client.Commit(ctx, r); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a writer entry: %v", err)
	}
	r = commitAt(1, "a")
	r.Component = "plain"
	if _, err := h.client.Commit(ctx, r); status.Code(err) != codes.Unimplemented {
		t.Errorf("a sink without a committer: %v", err)
	}
	r.Component = "none"
	if _, err := h.client.Commit(ctx, r); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown component: %v", err)
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestACommitIsAnsweredWhileTheSinkWrites has a Write that waits for the commit: a
// sink whose input is blocked can still publish what it has prepared.
func TestACommitIsAnsweredWhileTheSinkWrites(t *testing.T) {
	writing, committed := make(chan struct{}), make(chan struct{})
	sink := &fakeSink{write: func(ctx context.Context, _ int, _ *wire.Batch, _ *Output) error {
		close(writing)
		select {
		case <-committed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	h := newHost(t, []*Component{new(fakeCommitter).of(sinkNamed("sink", sink))})
	task := h.open(openOf(fed(memberOf("sink"))))
	task.feed("x")
	<-writing
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := commitAt(1, "a")
	if answer, err := h.client.Commit(ctx, r); err != nil || answer.GetError() != nil {
		t.Fatalf("%v, %v", answer.GetError(), err)
	}
	close(committed)
	task.barrier(1)
	task.passed(1)
	task.close()
}

package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// TestARetryErrorRepeatsTheWholeCall drops what the call had put out or failed.
func TestARetryErrorRepeatsTheWholeCall(t *testing.T) {
	calls := 0
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		out.ForwardAll(in)
		out.Append(nil, []byte("new"), wire.NoTime, nil, 0)
		out.Fail(in, 0, errTest)
		if calls++; calls < 4 {
			return &RetryError{Err: errors.New("503"), After: time.Millisecond}
		}
		return nil
	}}
	task := openWith(t, f, &pluginv1.FailurePolicy{Action: letter})
	task.feed("a", "b")
	task.barrier(1)
	task.passed(1)
	if got := task.values(3); !slices.Equal(got, []string{"a", "b", "new"}) {
		t.Errorf("%v", got)
	}
	if got := task.on(0, 1); len(got) != 1 {
		t.Errorf("%d dead letters", len(got))
	}
	task.report("three retries", func(c *pluginv1.ComponentReport) bool { return c.Retries == 3 })
	task.hear("a warning", func(m *pluginv1.ControlResponse) bool {
		for _, r := range m.GetLog().GetRecords() {
			if r.Message == "a call is repeated" && r.Level == "warn" && strings.Contains(string(r.Attributes), "503") {
				return true
			}
		}
		return false
	})
	task.close()
}

func TestARetryErrorIsBoundedByTheCheckpointTimeout(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{process: func(context.Context, int, *wire.Batch, *Output) error {
		return &RetryError{Err: errTest, After: 20 * time.Millisecond}
	}}))
	o := openOf(fed(memberOf("op", toHost("out"))))
	o.CheckpointTimeout = durationpb.New(100 * time.Millisecond)
	task := h.open(o)
	task.feed("a")
	if e := task.failed(); e.Class != pluginv1.Error_CLASS_UNMARKED || !strings.Contains(e.Message, "still failing after 100ms of retries: it broke") {
		t.Errorf("%v", e)
	}
	task.ended()
}

// TestARetryErrorAfterOutputWasHandedOnFailsTheTask cannot be repeated.
func TestARetryErrorAfterOutputWasHandedOnFailsTheTask(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for range 300 {
			out.Append(nil, make([]byte, 10_000), wire.NoTime, nil, 0)
		}
		return &RetryError{Err: errTest}
	}}
	task := openWith(t, f, nil)
	task.feed("a")
	if e := task.failed(); e.Class != pluginv1.Error_CLASS_UNMARKED || !strings.Contains(e.Message, "after its output had been handed on") {
		t.Errorf("%v", e)
	}
	task.ended()
}

// TestErrorsKeepTheirClassAndNameTheirMember fails the second member of a chain in
// each class, from each of its calls.
func TestErrorsKeepTheirClassAndNameTheirMember(t *testing.T) {
	for class, err := range map[pluginv1.Error_Class]error{
		pluginv1.Error_CLASS_UNMARKED: errTest,
		pluginv1.Error_CLASS_FATAL:    &RetryError{Err: fmt.Errorf("wrapped: %w", &FatalError{errTest}), After: time.Hour},
	} {
		for call, f := range map[string]*fakeOperator{
			"Process":     {process: func(context.Context, int, *wire.Batch, *Output) error { return err }},
			"OnWatermark": {onWatermark: func(context.Context, int64, *Output) error { return err }},
			"Flush":       {flush: func(context.Context, bool, *Output) error { return err }},
			"Snapshot":    {snapshot: func() ([]*pluginv1.Entry, error) { return nil, err }},
		} {
			t.Run(class.String()+" "+call, func(t *testing.T) {
				h := newHost(t, []*Component{operatorNamed("first", &fakeOperator{}), operatorNamed("second", f)})
				task := h.open(openOf(fed(memberOf("first", toNext("out"))), fed(memberOf("second", toHost("out")))))
				task.feed("a")
				task.watermark(1)
				task.barrier(1)
				e := task.failed()
				if e.Class != class || e.Component != 1 || !strings.HasPrefix(e.Message, call+` of component "second": `) {
					t.Errorf("%v", e)
				}
				task.ended()
			})
		}
	}
}

func TestAPanicIsAnUnmarkedErrorWithTheStack(t *testing.T) {
	for call, f := range map[string]*fakeOperator{
		"Process": {process: func(context.Context, int, *wire.Batch, *Output) error {
			var none []int
			_ = none[len(none)]
			return nil
		}},
		"Flush": {flush: func(context.Context, bool, *Output) error { panic(errTest) }},
	} {
		t.Run(call, func(t *testing.T) {
			h := newHost(t, []*Component{operatorNamed("op", f), operatorNamed("fine", &fakeOperator{})})
			bystander := h.open(openOf(fed(memberOf("fine", toHost("out")))))
			task := openOp(h)
			task.feed("a")
			task.barrier(1)
			e := task.failed()
			if e.Class != pluginv1.Error_CLASS_UNMARKED || e.Code != "panic" || !strings.HasPrefix(e.Message, call+` of component "op": panic: `) || !strings.Contains(e.Message, "errors_test.go") {
				t.Errorf("%v", e)
			}
			task.ended()
			bystander.feed("unharmed")
			bystander.values(1)
			bystander.close()
		})
	}
}

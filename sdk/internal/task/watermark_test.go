package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestAWatermarkLeavesBehindEverythingThatCameOfIt(t *testing.T) {
	f := &fakeOperator{
		process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error { out.Forward(in, 0); return nil },
		onWatermark: func(_ context.Context, w int64, out *Output) error {
			out.Append(nil, fmt.Appendf(nil, "window-%d", w), w, nil, 0)
			return nil
		},
	}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("a")
	task.watermark(10)
	task.feed("b")
	task.watermark(20)
	task.barrier(1)
	task.passed(1)
	// Whether two records share a batch is the sender's affair.
	if got, want := strings.ReplaceAll(task.shape(), ",", " "), "a window-10 watermark(10) b window-20 watermark(20) barrier(1)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	task.close()
}

func TestAWatermarkNeverGoesBack(t *testing.T) {
	var told []int64
	f := &fakeOperator{onWatermark: func(_ context.Context, w int64, _ *Output) error { told = append(told, w); return nil }}
	task := openOp(newHost(t, opOnly(f)))
	for _, w := range []int64{5, 3, 5, 9, 1} {
		task.watermark(w)
	}
	task.barrier(1)
	task.passed(1)
	if !slices.Equal(told, []int64{5, 9}) || task.shape() != "watermark(5) watermark(9) barrier(1)" {
		t.Errorf("told %v, sent %s", told, task.shape())
	}
	task.close()
}

func TestAWatermarkPassesTheChainInOrder(t *testing.T) {
	var order []string
	note := func(name string) *fakeOperator {
		return &fakeOperator{
			process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
				order = append(order, name+":"+string(in.Value(0)))
				out.ForwardAll(in)
				return nil
			},
			onWatermark: func(_ context.Context, w int64, out *Output) error {
				order = append(order, name+":watermark")
				if name == "a" {
					out.Append(nil, []byte("closed"), w, nil, 0)
				}
				return nil
			},
		}
	}
	h := newHost(t, []*Component{operatorNamed("a", note("a")), operatorNamed("b", note("b"))})
	task := h.open(openOf(fed(memberOf("a", toNext("out"))), fed(memberOf("b", toHost("out"), toHost("errors")))))
	task.watermark(7)
	task.barrier(1)
	task.passed(1)
	if want := []string{"a:watermark", "b:closed", "b:watermark"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
	if got, want := task.shape(), "1.0:closed 1.0:watermark(7) 1.1:watermark(7) barrier(1)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	task.close()
}

func TestIdlePassesAndTheNextWatermarkEndsIt(t *testing.T) {
	calls := 0
	f := &fakeOperator{onWatermark: func(context.Context, int64, *Output) error { calls++; return nil }}
	task := openOp(newHost(t, opOnly(f)))
	task.watermark(5)
	task.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}})
	task.watermark(5)
	task.watermark(5)
	task.barrier(1)
	task.passed(1)
	if got, want := task.shape(), "watermark(5) idle watermark(5) barrier(1)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if calls != 1 {
		t.Errorf("the component was told %d times", calls)
	}
	task.close()
}

func TestASourceWithoutEventTimeSendsNoWatermark(t *testing.T) {
	source := &fakeSource{counts: map[string]int{"a": 3}, perRead: 1}
	h := newHost(t, []*Component{sourceNamed("source", source)})
	task := h.open(openOf(memberOf("source", toHost("out"))))
	task.assign(&pluginv1.Split{Id: "a"})
	task.noMoreSplits()
	task.hear("Exhausted", func(m *pluginv1.ControlResponse) bool { return m.GetExhausted() != nil })
	task.barrier(1, atEnd)
	task.passed(1)
	for _, f := range task.received() {
		if f.message.GetWatermark() != nil || f.message.GetIdle() != nil {
			t.Errorf("%s", task.shape())
		}
	}
	task.close()
}

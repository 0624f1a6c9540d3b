package task

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// TestWhateverTextAnAuthorWritesLeavesTheProcess puts a huge record that is no
// UTF-8 into a log line, a metric's label, a record's error and the task's.
func TestWhateverTextAnAuthorWritesLeavesTheProcess(t *testing.T) {
	text := "head \xff" + strings.Repeat("x", maxText) + "\xff tail"
	f := &fakeOperator{}
	f.process = func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		f.env.Log.Warn(text)
		f.env.Metrics.Counter("n", "", "", "of", text).Inc()
		if string(in.Value(0)) == "end" {
			return errors.New(text)
		}
		out.Fail(in, 0, errors.New(text))
		return nil
	}
	task := openWith(t, f, &pluginv1.FailurePolicy{Action: letter})
	task.feed("a")
	task.values(1, 1)
	got := task.on(0, 1)
	if len(got) != 1 || !fits(got[0].headers["weir.error"]) {
		t.Errorf("%d dead letters", len(got))
	}
	task.report("the metric", func(c *pluginv1.ComponentReport) bool { return len(c.Metrics) == 1 && fits(c.Metrics[0].Labels["of"]) })
	task.feed("end")
	if e := task.failed(); !fits(e.Message) {
		t.Errorf("%d bytes", len(e.Message))
	}
	task.ended()
}

func fits(text string) bool {
	return len(text) < maxText+100 && utf8.ValidString(text) && strings.Contains(text, "head") && strings.HasSuffix(text, "tail")
}

package task

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestAReportCountsWhatGoesInAndOut(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		for i := range in.Len() {
			out.Forward(in, i)
			out.Forward(in, i)
		}
		return nil
	}}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("aaaa", "bbbb")
	task.watermark(42)
	c := task.report("it", func(c *pluginv1.ComponentReport) bool { return c.RecordsOut == 4 && c.HasWatermark })
	if c.RecordsIn != 2 || c.BytesIn < 8 || c.BytesOut < 16 || c.Watermark != 42 {
		t.Errorf("%v", c)
	}
	task.close()
}

func TestTheLastReportComesBeforeClosed(t *testing.T) {
	f := &fakeOperator{}
	h := newHost(t, opOnly(f), func(o *Options) { o.ReportInterval = time.Hour })
	task := openOp(h)
	task.feed("a", "b", "c")
	task.values(3)
	task.close()
	said := task.heard(func(*pluginv1.ControlResponse) bool { return true })
	if len(said) < 2 || said[len(said)-1].GetClosed() == nil || said[len(said)-2].GetReport().GetComponents()[0].RecordsIn != 3 {
		t.Errorf("%v", said)
	}
}

func TestNothingIsReportedWhileNothingChanges(t *testing.T) {
	h := newHost(t, opOnly(&fakeOperator{}), func(o *Options) { o.ReportInterval = time.Millisecond })
	task := openOp(h)
	task.feed("a")
	task.report("it", func(c *pluginv1.ComponentReport) bool { return c.RecordsIn == 1 })
	time.Sleep(50 * time.Millisecond)
	if n := len(task.heard(func(m *pluginv1.ControlResponse) bool { return m.GetReport() != nil })); n > 5 {
		t.Errorf("%d reports of one record", n)
	}
	task.close()
}

func TestMetricsThatTheAuthorRegisteredAreReported(t *testing.T) {
	f := &fakeOperator{}
	f.process = func(_ context.Context, _ int, in *wire.Batch, _ *Output) error {
		m := f.env.Metrics
		m.Counter("rows", "Rows written.", "rows", "table", "users").Add(float64(in.Len()))
		m.Counter("rows", "Rows written.", "rows", "table", "orders").Inc()
		m.Gauge("depth", "Queue depth.", "").Set(3)
		m.Gauge("depth", "Queue depth.", "").Add(-1)
		h := m.Histogram("latency", "Of a call.", "s", []float64{1, 0.1})
		h.Observe(0.05)
		h.Observe(0.1)
		h.Observe(5)
		return nil
	}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("a", "b")
	c := task.report("metrics", func(c *pluginv1.ComponentReport) bool { return len(c.Metrics) == 4 })
	for _, m := range c.Metrics {
		switch {
		case m.Name == "rows" && m.Labels["table"] == "users" && m.GetCounter() == 2 && m.Unit == "rows":
		case m.Name == "rows" && m.Labels["table"] == "orders" && m.GetCounter() == 1:
		case m.Name == "depth" && m.GetGauge() == 2:
		case m.Name == "latency":
			h := m.GetHistogram()
			if len(h.Bounds) != 2 || h.Bounds[0] != 0.1 || h.Counts[0] != 2 || h.Counts[1] != 0 || h.Counts[2] != 1 || h.Sum != 5.15 {
				t.Errorf("%v", h)
			}
		default:
			t.Errorf("%v", m)
		}
	}
	task.close()
}

func TestMetricsMayBeChangedFromAnyGoroutine(t *testing.T) {
	var m Metrics
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				m.Counter("n", "", "").Inc()
				m.Gauge("g", "", "").Add(1)
			}
		})
	}
	wg.Wait()
	if c, g := m.Counter("n", "", "").Value(), m.Gauge("g", "", "").Value(); c != 8000 || g != 8000 {
		t.Errorf("%v, %v", c, g)
	}
}

func TestAMetricOfTwoKindsIsTheAuthorsMistake(t *testing.T) {
	for name, register := range map[string]func(m *Metrics){
		"twice":                 func(m *Metrics) { m.Gauge("x", "", "") },
		"a label without value": func(m *Metrics) { m.Counter("y", "", "", "label") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("nobody noticed")
				}
			}()
			var m Metrics
			m.Counter("x", "", "")
			register(&m)
		})
	}
}

func TestASourceTellsItsProgress(t *testing.T) {
	source := &fakeSource{progress: &pluginv1.Progress{Done: 10, Total: 100, Unit: "bytes", Lag: -1}}
	task := openSource(t, source)
	p := task.hear("progress", func(m *pluginv1.ControlResponse) bool { return m.GetReport().GetProgress() != nil }).GetReport().GetProgress()
	if p.Done != 10 || p.Total != 100 || p.Unit != "bytes" {
		t.Errorf("%v", p)
	}
	task.close()
}

func TestBusyAndBlockedTimeAreMeasured(t *testing.T) {
	f := &fakeOperator{process: func(_ context.Context, _ int, in *wire.Batch, out *Output) error {
		time.Sleep(20 * time.Millisecond)
		out.ForwardAll(in)
		return nil
	}}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("a")
	task.feed("b")
	r := task.hear("busy time", func(m *pluginv1.ControlResponse) bool {
		return m.GetReport().GetBusy().AsDuration() >= 40*time.Millisecond
	}).GetReport()
	if r.GetBlocked().AsDuration() > time.Second {
		t.Errorf("blocked for %v", r.GetBlocked().AsDuration())
	}
	task.close()
}

// A task that hangs in a call is busy, and is seen to be, although nothing ends.
func TestACallUnderWayIsBusyTime(t *testing.T) {
	release := make(chan struct{})
	f := &fakeOperator{process: func(context.Context, int, *wire.Batch, *Output) error { <-release; return nil }}
	task := openOp(newHost(t, opOnly(f)))
	task.feed("a")
	task.hear("busy time", func(m *pluginv1.ControlResponse) bool {
		return m.GetReport().GetBusy().AsDuration() >= 40*time.Millisecond
	})
	close(release)
	task.close()
}

func TestDescribeValidateAndProbe(t *testing.T) {
	c := operatorNamed("op", &fakeOperator{})
	c.Validate = func(config []byte, secrets []string) *pluginv1.ValidateResponse {
		return &pluginv1.ValidateResponse{Faults: []*pluginv1.Fault{{Path: "x", Message: string(config) + strings.Join(secrets, ",")}}}
	}
	c.Probe = func(_ context.Context, r *pluginv1.ProbeRequest) []*pluginv1.Fault {
		if r.GetOwner().GetNode() == "panic" {
			panic("oops")
		}
		return []*pluginv1.Fault{{Path: "host", Message: "unreachable"}}
	}
	plain := sinkNamed("plain", &fakeSink{})
	plain.Spec.Capabilities = &pluginv1.Capabilities{Discards: true}
	h := newHost(t, []*Component{c, plain})
	ctx := context.Background()

	d, err := h.client.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil || d.GetManifest().GetName() != "test" || len(d.GetManifest().GetComponents()) != 2 {
		t.Errorf("%v, %v", d, err)
	}
	v, err := h.client.Validate(ctx, &pluginv1.ValidateRequest{Kind: pluginv1.Kind_KIND_OPERATOR, Component: "op", Config: []byte("{}"), SecretPaths: []string{"p"}})
	if err != nil || v.GetFaults()[0].Message != "{}p" {
		t.Errorf("%v, %v", v, err)
	}
	v, err = h.client.Validate(ctx, &pluginv1.ValidateRequest{Kind: pluginv1.Kind_KIND_SINK, Component: "plain"})
	if err != nil || !v.GetCapabilities().GetDiscards() {
		t.Errorf("%v, %v", v, err)
	}
	p, err := h.client.Probe(ctx, &pluginv1.ProbeRequest{Kind: pluginv1.Kind_KIND_OPERATOR, Component: "op"})
	if err != nil || len(p.GetFaults()) != 1 {
		t.Errorf("%v, %v", p, err)
	}
	if _, err = h.client.Probe(ctx, &pluginv1.ProbeRequest{Kind: pluginv1.Kind_KIND_OPERATOR, Component: "op", Owner: &pluginv1.Owner{Node: "panic"}}); err == nil || !strings.Contains(err.Error(), `Probe of component "op": panic: oops`) {
		t.Errorf("%v", err)
	}
	if _, err = h.client.Validate(ctx, &pluginv1.ValidateRequest{Kind: pluginv1.Kind_KIND_SOURCE, Component: "op"}); err == nil || !strings.Contains(err.Error(), `no component "op" of KIND_SOURCE`) {
		t.Errorf("%v", err)
	}
}

// What a source waits for input is no work: one that has little to read is not what
// keeps a pipeline from being faster. One that fills its batches is busy all the time.
func TestASourceThatWaitsForInputIsNotBusy(t *testing.T) {
	const wait, reads = 60 * time.Millisecond, 5
	for _, c := range []struct {
		name    string
		records int
		busy    bool
	}{{"a record a read", 1, false}, {"a batch a read", 5000, true}} {
		t.Run(c.name, func(t *testing.T) {
			at := 0
			source := &fakeSource{counts: map[string]int{"a": 1}, read: func(_ context.Context, _ *fakeReader, out *Output) (any, error) {
				if at == reads {
					return at, io.EOF
				}
				at++
				time.Sleep(wait)
				for range c.records {
					out.Append(nil, make([]byte, 100), wire.NoTime, nil, 0)
				}
				return at, nil
			}}
			task := openSource(t, source)
			task.assign(splitsOf("a")...)
			task.noMoreSplits()
			r := task.hear("all of it", func(m *pluginv1.ControlResponse) bool {
				all := m.GetReport().GetComponents()
				return len(all) > 0 && all[0].GetRecordsOut() == uint64(reads*c.records)
			}).GetReport()
			if got := r.GetBusy().AsDuration() >= reads*wait; got != c.busy {
				t.Errorf("busy for %v in %d reads that waited %v each", r.GetBusy().AsDuration(), reads, wait)
			}
			task.close()
		})
	}
}

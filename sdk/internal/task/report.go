package task

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// samples are the newest failures, few.
type samples struct {
	mu    sync.Mutex
	items []*pluginv1.FailureSample
}

func (s *samples) add(now time.Time, records *wire.Batch, i int, err error) {
	sample := policy.Sample(now, records, i, textOf(err.Error()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) >= policy.MaxSamples {
		s.items = slices.Delete(s.items, 0, 1)
	}
	s.items = append(s.items, sample)
}

func (s *samples) list() []*pluginv1.FailureSample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.items)
}

// reporter sends a report about once a second while anything changes.
func (t *task) reporter() {
	ticker := time.NewTicker(t.server.opts.ReportInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			t.report(false)
		case <-t.ctx.Done():
			return
		}
	}
}

// report puts a report into the outbox if it says anything new, or is the last.
// The reporter calls it, and the task's life after the reporter has ended.
func (t *task) report(last bool) {
	r := t.buildReport()
	if t.reported != nil && proto.Equal(t.reported, r) && !last {
		return
	}
	t.reported = r
	t.out.setReport(r)
}

func (t *task) buildReport() *pluginv1.Report {
	r := &pluginv1.Report{
		Busy:    durationpb.New(t.busyTime()),
		Blocked: durationpb.New(t.sender.blockedTime()),
	}
	for _, m := range t.members {
		s := &m.stats
		c := &pluginv1.ComponentReport{
			Component:          uint32(m.index),
			RecordsIn:          s.recordsIn.Load(),
			RecordsOut:         s.recordsOut.Load(),
			BytesIn:            s.bytesIn.Load(),
			BytesOut:           s.bytesOut.Load(),
			FailedSkipped:      s.skipped.Load(),
			FailedDeadLettered: s.deadLettered.Load(),
			Retries:            s.retries.Load(),
			Samples:            s.samples.list(),
			Watermark:          s.watermark.Load(),
			HasWatermark:       s.hasWatermark.Load(),
			WatermarkSplit:     s.held(),
		}
		if m.env != nil {
			c.Metrics = m.env.Metrics.report()
		}
		if n := s.unconnected.Load(); n > 0 {
			c.Metrics = append(c.Metrics, &pluginv1.Metric{
				Name: "unconnected_records", Help: "Records sent to an output that leads nowhere.", Unit: "records",
				Value: &pluginv1.Metric_Counter{Counter: float64(n)},
			})
		}
		r.Components = append(r.Components, c)
	}
	if t.opened.Load() && !t.enumerates() && t.members[0].source != nil {
		// A progress that panics is not worth the task.
		_ = guard(func() error { r.Progress = t.members[0].source.Progress(); return nil })
		r.LimitReached = t.limits.read > 0 && t.read.Load() >= t.limits.read
	}
	return r
}

// busyTime is the time in calls of components: those of the loop, the one under way
// included, and reads that brought records, save what they waited for the first.
// Readers run side by side, so it is at
// most the time that has passed.
func (t *task) busyTime() time.Duration {
	busy := time.Duration(t.busy.Load() + t.readBusy.Load())
	if began := t.calling.Load(); began != 0 {
		blocked := t.sender.blockedTime() - time.Duration(t.blockedBefore.Load())
		busy += max(time.Since(time.Unix(0, began))-blocked, 0)
	}
	return min(busy, time.Since(t.began))
}

package api_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/weirstream/weir/host/api"
)

// nobody runs no pipeline.
type nobody struct{ api.Pipelines }

// fake runs one pipeline, "orders", that does what a test says.
type fake struct {
	status api.Status
	logs   func(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogRecord, error]
	tap    func(ctx context.Context, q api.TapQuery) iter.Seq2[api.TapRecord, error]
	ready  error
	asked  any // the newest request that changes something
	wait   chan struct{}
	busy   chan struct{} // holds a token while a change is under way
}

func newFake() *fake {
	return &fake{status: api.Status{
		Name: "orders", State: api.StateRunning, Started: time.Unix(1000, 0).UTC(), Since: time.Unix(1001, 0).UTC(), Epoch: 2,
		Guarantees: []api.Guarantee{{Sink: "out", Guarantee: "exactly_once", Why: "both can"}},
		Checkpoints: api.Checkpoints{
			Interval: 5, Completed: 3, Failed: 1, Tolerated: 3,
			Last:     &api.CheckpointDone{Number: 4, At: time.Unix(1010, 0).UTC(), Duration: 0.25, Bytes: 1234},
			InFlight: &api.CheckpointNow{Number: 5, Phase: "collecting", Since: time.Unix(1011, 0).UTC(), Awaited: []api.Awaited{{Task: "out[0]", Phase: "upload", Since: time.Unix(1012, 0).UTC()}}},
		},
		Uncommitted: []api.Uncommitted{{Sink: "out", Committables: 2, Error: "disk full"}},
		Restarts:    api.Restarts{Used: 1, Allowed: 5, Total: 2, Window: 600, Cause: "out[0] failed"},
		Nodes: []api.Node{
			{Name: "in", ID: "in", Kind: "source", Component: "file", Plugin: "weir", Parallelism: 2, Inputs: []string{}, Outputs: []string{"out"}, Flow: api.Flow{RecordsOut: 100, BytesOut: 1000, RateOut: 50, Blocked: 0.5}},
			{
				Name: "out", ID: "out", Kind: "sink", Component: "file", Plugin: "weir", Parallelism: 1, Inputs: []string{"in"}, Outputs: []string{},
				Flow: api.Flow{RecordsIn: 90, BytesIn: 900, RateIn: 45, Busy: 0.9}, Failed: api.Failed{Skipped: 1, DeadLettered: 2, Retries: 3},
				Metrics: []api.Metric{
					{Name: "rows", Kind: "counter", Help: "Rows.", Value: 7, Labels: map[string]string{"table": "a b", "node": "mine"}},
					{Name: "rows_total", Kind: "gauge", Value: 9}, // contradicts the one before
					{Name: "depth", Kind: "gauge", Value: 9},
					{Name: "insert-time", Kind: "histogram", Unit: "seconds", Help: "How long.", Value: 1.5, Bounds: []float64{0.1, 1}, Counts: []uint64{1, 2, 3}},
				},
			},
		},
		Bottleneck: &api.Bottleneck{Nodes: []string{"out"}, Why: "it is busy"},
	}, busy: make(chan struct{}, 1)}
}

func (f *fake) find(name string) error {
	if name != f.status.Name {
		return api.PipelineNotFound(name, []string{f.status.Name})
	}
	return nil
}

func (f *fake) List(context.Context) ([]api.Pipeline, error) {
	return []api.Pipeline{{Name: f.status.Name, State: f.status.State}}, nil
}
func (f *fake) Status(_ context.Context, name string) (api.Status, error) {
	return f.status, f.find(name)
}
func (f *fake) Tasks(_ context.Context, name string) ([]api.Task, error) { return nil, f.find(name) }
func (f *fake) Checkpoints(_ context.Context, name string) ([]api.Checkpoint, error) {
	return []api.Checkpoint{{Number: 4, State: "running"}}, f.find(name)
}
func (f *fake) Failures(_ context.Context, name string) ([]api.Failure, error) {
	return nil, errors.New("the disk is on fire")
}

func (f *fake) Logs(ctx context.Context, _ string, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return f.logs(ctx, q)
}

func (f *fake) Tap(ctx context.Context, _ string, q api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return f.tap(ctx, q)
}

// change takes its turn and then waits for the test.
func (f *fake) change(ctx context.Context, name string, r any) error {
	if err := f.find(name); err != nil {
		return err
	}
	select {
	case f.busy <- struct{}{}:
	default:
		return api.Problemf(api.CodeConflict, "savepoint a is under way")
	}
	defer func() { <-f.busy }()
	f.asked = r
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (f *fake) Savepoint(ctx context.Context, name string, r api.SavepointRequest) (api.Savepoint, error) {
	return api.Savepoint{Name: r.Name, Number: 6}, f.change(ctx, name, r)
}
func (f *fake) Stop(ctx context.Context, name string, r api.StopRequest) (api.Stopped, error) {
	return api.Stopped{State: api.StateStopped, Checkpoint: 7}, f.change(ctx, name, r)
}
func (f *fake) SetLogLevel(ctx context.Context, name string, r api.LogLevelRequest) error {
	return f.change(ctx, name, r)
}
func (f *fake) Measured(context.Context) ([]api.Status, error) { return []api.Status{f.status}, nil }
func (f *fake) Ready(context.Context) error                    { return f.ready }

// records is a log of so many.
func records(n int) func(context.Context, api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return func(context.Context, api.LogQuery) iter.Seq2[api.LogRecord, error] {
		return func(yield func(api.LogRecord, error) bool) {
			for i := range slices.Values(make([]int, n)) {
				if !yield(api.LogRecord{Level: "info", Message: "hello", Time: time.Unix(int64(i), 0)}, nil) {
					return
				}
			}
		}
	}
}

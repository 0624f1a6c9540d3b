package sdktest

import (
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/proto/snapfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Result is what came of a call.
type Result struct {
	// Out holds the records of the main output, in order.
	Out []Record
	// Outputs holds those of the other outputs that had any, by name.
	Outputs map[string][]Record
	// Failed holds the records that the component failed.
	Failed []Failed

	watermark *int64
}

// Operator runs one task of an operator.
type Operator struct {
	t          testing.TB
	run        *taskRun
	checkpoint uint64
	entries    []*pluginv1.Entry // of the newest checkpoint, or what was restored
}

// NewOperator opens an operator. A fault in component or configuration, and an
// error from opening, end the test.
func NewOperator(t testing.TB, c sdk.Component, config any, options ...Option) *Operator {
	t.Helper()
	o, err := openOperator(t, c, config, options, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func openOperator(t testing.TB, c sdk.Component, config any, options []Option, checkpoint uint64, restored []*pluginv1.Entry) (*Operator, error) {
	t.Helper()
	h, err := newHost(t, c, pluginv1.Kind_KIND_OPERATOR, config, func(*task.Component) {}, options)
	if err != nil {
		return nil, err
	}
	run, err := h.open(checkpoint, restored)
	if err != nil {
		return nil, err
	}
	return &Operator{t: t, run: run, checkpoint: checkpoint, entries: restored}, nil
}

// Process gives the operator a batch of these records, in by its first input, and
// returns what it sent meanwhile. An error of the operator ends the test.
func (o *Operator) Process(records ...Record) Result {
	o.t.Helper()
	return o.must(o.process(0, records))
}

// ProcessOn is Process for another input port.
func (o *Operator) ProcessOn(input string, records ...Record) Result {
	o.t.Helper()
	port := slices.Index(o.run.h.inputs, input)
	if port < 0 {
		o.t.Fatalf("the operator has no input %q, but %q", input, o.run.h.inputs)
	}
	return o.must(o.process(port, records))
}

// ProcessError is Process for records that are to make the operator return an
// error, which it returns as an [*Error]. The operator is closed afterwards.
func (o *Operator) ProcessError(records ...Record) error {
	o.t.Helper()
	_, err := o.process(0, records)
	if err == nil {
		o.t.Fatal("the operator returned no error")
	}
	return err
}

func (o *Operator) process(port int, records []Record) (Result, error) {
	if err := o.run.batch(port, records); err != nil {
		return Result{}, err
	}
	if err := o.run.settle("Process"); err != nil {
		return Result{}, err
	}
	return o.run.take(), nil
}

// Watermark tells the operator that event time has come to w.
func (o *Operator) Watermark(w sdk.Time) Result {
	o.t.Helper()
	err := o.run.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: w.UnixNano()}}})
	if err == nil {
		err = o.run.settle("OnWatermark")
	}
	return o.must(o.run.take(), err)
}

// Advance lets processing time pass, which stands still otherwise, and returns what
// the operator sent when timers fired.
func (o *Operator) Advance(d time.Duration) Result {
	o.t.Helper()
	o.run.h.clock.advance(d)
	err := o.run.settle("OnTimer")
	return o.must(o.run.take(), err)
}

// Now is the processing time.
func (o *Operator) Now() sdk.Time { return sdk.TimeOf(o.run.h.clock.Now()) }

// Restart closes the operator as a crash does and opens another from the newest
// Checkpoint, or without state where there was none.
func (o *Operator) Restart() {
	o.t.Helper()
	o.must(Result{}, o.reopen(o.entries))
}

// RestartError is Restart for a component that is to refuse the checkpoint. It
// returns the error.
func (o *Operator) RestartError() error {
	o.t.Helper()
	err := o.reopen(o.entries)
	if err == nil {
		o.t.Fatal("the operator took the checkpoint")
	}
	return err
}

func (o *Operator) reopen(entries []*pluginv1.Entry) error {
	o.run.close()
	h := o.run.h
	h.owner.Epoch++
	run, err := h.open(o.checkpoint, entries)
	if err != nil {
		return err
	}
	o.run = run
	return nil
}

// Checkpoint sends a barrier: the operator flushes, and what it keeps is stored.
func (o *Operator) Checkpoint() Result {
	o.t.Helper()
	return o.barrier(false)
}

// End sends the barrier that ends the input: the operator flushes for the last
// time.
func (o *Operator) End() Result {
	o.t.Helper()
	return o.barrier(true)
}

func (o *Operator) barrier(end bool) Result {
	o.t.Helper()
	entries, err := o.run.barrier(&pluginv1.Barrier{Checkpoint: o.checkpoint + 1, End: end})
	if err == nil {
		err = snapfile.Inline(o.run.scratch, entries, o.checkpoint, o.entries)
	}
	o.checkpoint++
	o.entries = entries
	if err == nil {
		err = o.run.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Completed{Completed: &pluginv1.Completed{Checkpoint: o.checkpoint}}})
	}
	return o.must(o.run.take(), err)
}

func (o *Operator) must(r Result, err error) Result {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

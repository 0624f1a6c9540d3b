// Package components holds what the benchmarks put into pipelines, written as a
// third party would.
package components

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/weirstream/weir/sdk"
)

// Components returns all of them.
func Components() []sdk.Component {
	return []sdk.Component{Upper(), Pass(), Keys(), Count(), Latency(), Slow(), FirstSink()}
}

// None is an empty configuration.
type None struct{}

// Upper makes ASCII letters of the value upper case.
func Upper() sdk.Component {
	return sdk.NewOperator("upper", "Makes ASCII letters upper case.",
		func(context.Context, *None, *sdk.Task) (upper, error) { return upper{}, nil },
		sdk.PreservesOrder(), sdk.PreservesKey())
}

// upperOf maps each byte: a table spares a branch that real text mispredicts.
var upperOf = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'a' <= i && i <= 'z' {
			t[i] -= 'a' - 'A'
		}
	}
	return t
}()

type upper struct{}

func (upper) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		value := r.Value()
		b := append(out.AvailableBuffer(), value...)
		for i, c := range b {
			b[i] = upperOf[c]
		}
		out.Emit(r, b)
	}
	return nil
}

func (upper) Close() error { return nil }

// Pass passes batches on as they are.
func Pass() sdk.Component {
	return sdk.NewOperator("pass", "Passes records on.",
		func(context.Context, *None, *sdk.Task) (pass, error) { return pass{}, nil },
		sdk.PreservesOrder(), sdk.PreservesKey())
}

type pass struct{}

func (pass) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	out.ForwardAll(in)
	return nil
}

func (pass) Close() error { return nil }

// LatencyConfig says where the result goes.
type LatencyConfig struct {
	Path string        `weir:"path,required" doc:"File for the percentiles, as JSON."`
	Warm time.Duration `weir:"warm" default:"1s" doc:"Records of the first moments do not count."`
}

// Percentiles is what the latency sink writes.
type Percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	Max   float64 `json:"max_us"`
}

// Latency measures the time from a record's own time to its arrival.
func Latency() sdk.Component {
	return sdk.NewSink("latency", "Measures the time from a record's own time to its arrival.",
		func(_ context.Context, c *LatencyConfig, _ *sdk.Task) (*latency, error) {
			return &latency{cfg: c, opened: time.Now()}, nil
		}, sdk.SingleTask())
}

type latency struct {
	cfg    *LatencyConfig
	opened time.Time
	took   []float64 // microseconds
}

func (l *latency) Write(_ context.Context, in *sdk.Batch, _ *sdk.Collector) error {
	now := time.Now()
	if now.Sub(l.opened) < l.cfg.Warm {
		return nil
	}
	for r := range in.All() {
		l.took = append(l.took, float64(now.UnixNano()-r.Time().UnixNano())/1e3)
	}
	return nil
}

func (l *latency) Flush(context.Context) error { return nil }

func (l *latency) Close() error {
	if len(l.took) == 0 {
		return nil
	}
	slices.Sort(l.took)
	at := func(share float64) float64 { return l.took[int(share*float64(len(l.took)-1))] }
	b, err := json.Marshal(Percentiles{Count: len(l.took), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)})
	if err != nil {
		return err
	}
	return os.WriteFile(l.cfg.Path, b, 0o644)
}

// SlowConfig bounds the speed.
type SlowConfig struct {
	Rate float64 `weir:"rate,required" min:"1" doc:"Records a second."`
}

// Slow takes records at a fixed rate and forgets them.
func Slow() sdk.Component {
	return sdk.NewSink("slow", "Takes records at a fixed rate and forgets them.",
		func(_ context.Context, c *SlowConfig, _ *sdk.Task) (*slow, error) { return &slow{c}, nil },
		sdk.Discards())
}

type slow struct{ cfg *SlowConfig }

func (s *slow) Write(ctx context.Context, in *sdk.Batch, _ *sdk.Collector) error {
	select {
	case <-time.After(time.Duration(float64(in.Len()) / s.cfg.Rate * float64(time.Second))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slow) Flush(context.Context) error { return nil }
func (s *slow) Close() error                { return nil }

// First is what the first sink writes.
type First struct {
	At time.Time `json:"at"`
}

// FirstConfig says where the result goes.
type FirstConfig struct {
	Path string `weir:"path,required" doc:"File for the time, as JSON."`
}

// FirstSink notes when the first record arrives.
func FirstSink() sdk.Component {
	return sdk.NewSink("first", "Notes when the first record arrives.",
		func(_ context.Context, c *FirstConfig, _ *sdk.Task) (*first, error) { return &first{cfg: c}, nil },
		sdk.SingleTask())
}

type first struct {
	cfg  *FirstConfig
	done bool
}

func (f *first) Write(context.Context, *sdk.Batch, *sdk.Collector) error {
	if f.done {
		return nil
	}
	f.done = true
	b, err := json.Marshal(First{At: time.Now()})
	if err != nil {
		return err
	}
	return os.WriteFile(f.cfg.Path, b, 0o644)
}

func (f *first) Flush(context.Context) error { return nil }
func (f *first) Close() error                { return nil }

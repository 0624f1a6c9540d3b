package sdk

import "github.com/weirstream/weir/sdk/internal/task"

// Metrics registers metrics, which reach the host's with pipeline, node and task
// as labels. Asking again for the same name and labels returns the same metric;
// for another type of it, panics. Labels are names and values in turn. All methods
// may be called concurrently; register while opening, not a record.
type Metrics struct {
	inner *task.Metrics
}

// Counter returns a metric that only grows. unit may be empty.
func (m *Metrics) Counter(name, help, unit string, labels ...string) *Counter {
	return &Counter{m.inner.Counter(name, help, unit, labels...)}
}

// Gauge returns a metric that goes up and down.
func (m *Metrics) Gauge(name, help, unit string, labels ...string) *Gauge {
	return &Gauge{m.inner.Gauge(name, help, unit, labels...)}
}

// Histogram returns a metric that counts values by size; bounds are the upper
// bounds of its buckets.
func (m *Metrics) Histogram(name, help, unit string, bounds []float64, labels ...string) *Histogram {
	return &Histogram{m.inner.Histogram(name, help, unit, bounds, labels...)}
}

// Counter is a metric that only grows.
type Counter struct{ inner *task.Counter }

// Add adds a value that is not negative.
func (c *Counter) Add(v float64) { c.inner.Add(v) }

// Inc adds one.
func (c *Counter) Inc() { c.inner.Inc() }

// Value returns the sum so far.
func (c *Counter) Value() float64 { return c.inner.Value() }

// Gauge is a metric that goes up and down.
type Gauge struct{ inner *task.Gauge }

// Set sets the value.
func (g *Gauge) Set(v float64) { g.inner.Set(v) }

// Add changes the value by v.
func (g *Gauge) Add(v float64) { g.inner.Add(v) }

// Value returns the value.
func (g *Gauge) Value() float64 { return g.inner.Value() }

// Histogram is a metric that counts values by size.
type Histogram struct{ inner *task.Histogram }

// Observe counts v.
func (h *Histogram) Observe(v float64) { h.inner.Observe(v) }

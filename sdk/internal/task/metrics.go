package task

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Metrics are those that the author registers for one component of a task. They
// travel to the host with the task's report. All methods may be called
// concurrently. Asking again for the same name and labels returns the same metric.
type Metrics struct {
	mu   sync.Mutex
	all  map[string]metric
	keys []string // in order of registration
}

type metric interface{ report() *pluginv1.Metric }

// Counter only grows.
type Counter struct {
	meta  *pluginv1.Metric
	value atomic.Uint64 // bits of a float64
}

// Add adds a value that is not negative.
func (c *Counter) Add(v float64) {
	if v > 0 {
		addFloat(&c.value, v)
	}
}

// Inc adds one.
func (c *Counter) Inc() { c.Add(1) }

// Value returns the sum so far.
func (c *Counter) Value() float64 { return math.Float64frombits(c.value.Load()) }

// Gauge is a value that goes up and down.
type Gauge struct {
	meta  *pluginv1.Metric
	value atomic.Uint64
}

// Set sets the value.
func (g *Gauge) Set(v float64) { g.value.Store(math.Float64bits(v)) }

// Add changes the value by v.
func (g *Gauge) Add(v float64) { addFloat(&g.value, v) }

// Value returns the value last set.
func (g *Gauge) Value() float64 { return math.Float64frombits(g.value.Load()) }

// Histogram counts values by size.
type Histogram struct {
	meta   *pluginv1.Metric
	bounds []float64
	counts []atomic.Uint64
	sum    atomic.Uint64
}

// Observe counts v in the first bucket whose upper bound is not below it.
func (h *Histogram) Observe(v float64) {
	h.counts[sort.SearchFloat64s(h.bounds, v)].Add(1)
	addFloat(&h.sum, v)
}

// Counter registers a counter. labels are names and values in turn.
func (m *Metrics) Counter(name, help, unit string, labels ...string) *Counter {
	return register(m, name, help, unit, labels, func(meta *pluginv1.Metric) *Counter { return &Counter{meta: meta} })
}

// Gauge registers a gauge. labels are names and values in turn.
func (m *Metrics) Gauge(name, help, unit string, labels ...string) *Gauge {
	return register(m, name, help, unit, labels, func(meta *pluginv1.Metric) *Gauge { return &Gauge{meta: meta} })
}

// Histogram registers a histogram with rising upper bounds. labels are names and
// values in turn.
func (m *Metrics) Histogram(name, help, unit string, bounds []float64, labels ...string) *Histogram {
	return register(m, name, help, unit, labels, func(meta *pluginv1.Metric) *Histogram {
		bounds = slices.Clone(bounds)
		slices.Sort(bounds)
		return &Histogram{meta: meta, bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
	})
}

// register returns the metric of that name and labels. One that is already there
// with another type is the author's mistake, which a panic shows at the open.
func register[M metric](m *Metrics, name, help, unit string, labels []string, make func(*pluginv1.Metric) M) M {
	meta := &pluginv1.Metric{Name: textOf(name), Help: textOf(help), Unit: textOf(unit)}
	if len(labels)%2 != 0 {
		panic(fmt.Sprintf("metric %q: a label without a value", name))
	}
	for i := 0; i < len(labels); i += 2 {
		if meta.Labels == nil {
			meta.Labels = map[string]string{}
		}
		meta.Labels[textOf(labels[i])] = textOf(labels[i+1])
	}
	key := metricKey(meta)
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.all[key]; ok {
		same, ok := have.(M)
		if !ok {
			panic(fmt.Sprintf("metric %q is registered twice, as %T and %T", name, have, same))
		}
		return same
	}
	made := make(meta)
	if m.all == nil {
		m.all = map[string]metric{}
	}
	m.all[key] = made
	m.keys = append(m.keys, key)
	return made
}

func metricKey(meta *pluginv1.Metric) string {
	var b strings.Builder
	b.WriteString(meta.Name)
	for _, name := range slices.Sorted(maps.Keys(meta.Labels)) {
		fmt.Fprintf(&b, "\x00%s\x00%s", name, meta.Labels[name])
	}
	return b.String()
}

// report returns what all metrics say now.
func (m *Metrics) report() []*pluginv1.Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*pluginv1.Metric, 0, len(m.keys))
	for _, key := range m.keys {
		out = append(out, m.all[key].report())
	}
	return out
}

func (c *Counter) report() *pluginv1.Metric {
	return withMeta(c.meta, &pluginv1.Metric{Value: &pluginv1.Metric_Counter{Counter: c.Value()}})
}

func (g *Gauge) report() *pluginv1.Metric {
	return withMeta(g.meta, &pluginv1.Metric{Value: &pluginv1.Metric_Gauge{Gauge: g.Value()}})
}

func (h *Histogram) report() *pluginv1.Metric {
	out := &pluginv1.Histogram{Bounds: h.bounds, Sum: math.Float64frombits(h.sum.Load())}
	for i := range h.counts {
		out.Counts = append(out.Counts, h.counts[i].Load())
	}
	return withMeta(h.meta, &pluginv1.Metric{Value: &pluginv1.Metric_Histogram{Histogram: out}})
}

func withMeta(meta, m *pluginv1.Metric) *pluginv1.Metric {
	m.Name, m.Help, m.Unit, m.Labels = meta.Name, meta.Help, meta.Unit, meta.Labels
	return m
}

func addFloat(bits *atomic.Uint64, v float64) {
	for {
		old := bits.Load()
		if bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

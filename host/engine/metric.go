package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Metric is an author's metric, summed over a node's tasks: counters and gauges
// add up, histograms of equal bounds too.
type Metric struct {
	Name   string            `json:"name"`
	Help   string            `json:"help,omitempty"`
	Unit   string            `json:"unit,omitempty"`
	Kind   string            `json:"kind"` // counter, gauge or histogram
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"` // of a histogram, the sum of what was observed
	// Of a histogram: upper bounds, and counts with one element more.
	Bounds []float64 `json:"bounds,omitempty"`
	Counts []uint64  `json:"counts,omitempty"`
}

// metricSum adds metrics up by name and labels.
type metricSum map[string]*Metric

func (s metricSum) add(ms []*pluginv1.Metric) {
	for _, m := range ms {
		// Maps print in the order of their keys.
		key := fmt.Sprint(m.Name, m.Labels)
		sum := s[key]
		if sum == nil {
			sum = &Metric{Name: m.Name, Help: m.Help, Unit: m.Unit, Labels: m.Labels}
			s[key] = sum
		}
		switch v := m.Value.(type) {
		case *pluginv1.Metric_Counter:
			sum.Kind = "counter"
			sum.Value += v.Counter
		case *pluginv1.Metric_Gauge:
			sum.Kind = "gauge"
			sum.Value += v.Gauge
		case *pluginv1.Metric_Histogram:
			sum.Kind = "histogram"
			sum.histogram(v.Histogram)
		}
	}
}

func (m *Metric) histogram(h *pluginv1.Histogram) {
	m.Value += h.GetSum()
	if m.Counts == nil {
		m.Bounds, m.Counts = h.GetBounds(), slices.Clone(h.GetCounts())
		return
	}
	if !slices.Equal(m.Bounds, h.GetBounds()) || len(m.Counts) != len(h.GetCounts()) {
		return // two versions of a component at once: the first one's bounds stay
	}
	for i, n := range h.GetCounts() {
		m.Counts[i] += n
	}
}

// list returns the metrics sorted by name and labels.
func (s metricSum) list() []Metric {
	var out []Metric
	for _, key := range slices.SortedFunc(maps.Keys(s), cmp.Compare[string]) {
		out = append(out, *s[key])
	}
	return out
}

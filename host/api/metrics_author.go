package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// authorPrefix stands before the metrics that components bring.
const authorPrefix = "weir_component_"

// authors are the metrics of components that a scrape has met. Components do not
// know of each other: where two mean different things by one name the first one
// counts, since Prometheus takes no scrape that contradicts itself.
type authors map[string]authorMetric

type authorMetric struct{ kind, help string }

// author sends a component's own metric.
func (s *scrape) author(pipeline, node string, m Metric) {
	name := authorPrefix + plain(m.Name)
	if unit := plain(m.Unit); unit != "" && !strings.HasSuffix(name, "_"+unit) {
		name += "_" + unit
	}
	if m.Kind == counter && !strings.HasSuffix(name, "_total") {
		name += "_total"
	}
	known, ok := s.authors[name]
	if !ok {
		known = authorMetric{kind: m.Kind, help: cmp.Or(m.Help, "A metric of the component's own.")}
		s.authors[name] = known
	}
	if known.kind != m.Kind {
		return
	}
	labels, values := []string{"pipeline", "node"}, []string{pipeline, node}
	for _, label := range slices.Sorted(maps.Keys(m.Labels)) {
		l := plain(label)
		if l == "" || slices.Contains(labels, l) {
			l = "component_" + l
		}
		if slices.Contains(labels, l) {
			continue
		}
		labels, values = append(labels, l), append(values, m.Labels[label])
	}
	desc := prometheus.NewDesc(name, known.help, labels, nil)
	switch m.Kind {
	case "counter":
		s.send(prometheus.NewConstMetric(desc, prometheus.CounterValue, m.Value, values...))
	case "gauge":
		s.send(prometheus.NewConstMetric(desc, prometheus.GaugeValue, m.Value, values...))
	case "histogram":
		if len(m.Counts) != len(m.Bounds)+1 {
			return
		}
		buckets, sum := map[float64]uint64{}, uint64(0)
		for i, bound := range m.Bounds {
			sum += m.Counts[i]
			buckets[bound] = sum
		}
		sum += m.Counts[len(m.Bounds)]
		s.send(prometheus.NewConstHistogram(desc, sum, m.Value, buckets, values...))
	}
}

// plain makes of a name one that Prometheus takes.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, name)
	return strings.TrimLeft(name, "_")
}

package pipeline

import (
	"fmt"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// guarantees works out what holds for each sink and checks the floor. A sink is
// as strong as the weakest of itself and the sources that lead to it:
//   - a source that cannot be read again loses what was on its way when a task
//     failed, so nothing is promised;
//   - a sink that cannot hold output back until a checkpoint writes records
//     again that followed the last one: at least once;
//   - else exactly once.
func (l *loader) guarantees() {
	for _, d := range l.nodes {
		if d.kind != pluginv1.Kind_KIND_SINK || d.component == nil {
			continue
		}
		sources, known := l.sources(d)
		if !known {
			continue
		}
		row := guaranteeOf(d, sources)
		d.guarantee = row.Guarantee
		l.p.Guarantees = append(l.p.Guarantees, row)
		if row.Guarantee < l.p.Guarantee && !d.capabilities.GetDiscards() {
			l.fault(l.guaranteeAt, CodeGuarantee, fmt.Sprintf("change %q, or ask for %s", row.LoweredBy, row.Guarantee),
				"%s is not reached at sink %q, only %s: %s", l.p.Guarantee, d.name, row.Guarantee, row.Why)
		}
	}
}

// sources are those that lead to a node, in the order of the file; known says
// that the components of all of them are.
func (l *loader) sources(d *draft) (sources []*draft, known bool) {
	seen := make(map[*draft]bool)
	known = true
	var walk func(d *draft)
	walk = func(d *draft) {
		if seen[d] {
			return
		}
		seen[d] = true
		known = known && d.component != nil
		for _, k := range d.in {
			walk(k.from)
		}
	}
	walk(d)
	for _, s := range l.nodes {
		if seen[s] && s.kind == pluginv1.Kind_KIND_SOURCE {
			sources = append(sources, s)
		}
	}
	return sources, known && len(sources) > 0
}

func guaranteeOf(sink *draft, sources []*draft) SinkGuarantee {
	row := SinkGuarantee{Sink: sink.name, Guarantee: GuaranteeExactlyOnce}
	i := slices.IndexFunc(sources, func(s *draft) bool { return !s.capabilities.GetReplayable() })
	switch {
	case sink.capabilities.GetDiscards():
		row.Guarantee, row.LoweredBy = GuaranteeNone, sink.name
		row.Why = fmt.Sprintf("%s keeps no record, so there is nothing to promise", sink.component.fullName())
	case i >= 0:
		row.Guarantee, row.LoweredBy = GuaranteeNone, sources[i].name
		row.Why = fmt.Sprintf("source %q (%s) cannot be read again from a recorded position, so a failure loses what is on its way",
			sources[i].name, sources[i].component.fullName())
	case !sink.capabilities.GetExactlyOnce():
		row.Guarantee, row.LoweredBy = GuaranteeAtLeastOnce, sink.name
		row.Why = fmt.Sprintf("%s shows records before a checkpoint holds them, so a failure writes some of them again", sink.component.fullName())
	default:
		row.Why = "every source can be read again, and the sink shows only what a checkpoint holds"
	}
	return row
}

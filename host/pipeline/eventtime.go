package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// TimesComponent is the first-party operator that passes records on: it stands
// behind a component that does not set event time itself.
const TimesComponent = "event-time"

// eventTimeOf reads event_time, which stands on sources, and on operators whose
// records stem each from one.
func (l *loader) eventTimeOf(d *draft, f *finder) {
	at := d.eventTime
	if !at.present() {
		return
	}
	switch {
	case d.kind == pluginv1.Kind_KIND_SINK:
		l.faultKey(at, CodeEventTime, "", "a sink has no output whose event time could be set")
		return
	case d.kind == pluginv1.Kind_KIND_OPERATOR && !d.capabilities.GetPreservesOrder():
		l.faultKey(at, CodeEventTime, "put it on the source, or on an operator that gives one record for each",
			"%s does not give one record for each that it gets", d.component.fullName())
		return
	}
	d.time = l.eventTime(at)
	if d.capabilities.GetEventTime() {
		return
	}
	if first := f.ask(FirstParty); first.err == nil {
		d.timed = first.component(pluginv1.Kind_KIND_OPERATOR, TimesComponent)
	}
	if d.timed == nil {
		l.faultKey(at, CodeEventTime, "", "%s %s cannot set event time, and there is no first-party operator %s to do it", KindName(d.kind), d.component.fullName(), TimesComponent)
	}
}

// passTimes puts an operator that sets event time behind each output of a component
// that does not.
func (l *loader) passTimes() {
	var nodes []*draft
	for _, d := range l.nodes {
		nodes = append(nodes, d)
		if d.timed == nil {
			continue
		}
		var outputs []string
		for _, k := range d.out {
			if !k.deadLetter() && !slices.Contains(outputs, k.output) {
				outputs = append(outputs, k.output)
			}
		}
		for _, o := range outputs {
			nodes = append(nodes, l.passTime(d, o))
		}
		d.time = nil
	}
	l.nodes = nodes
}

// passTime takes over an output's edges.
func (l *loader) passTime(d *draft, output string) *draft {
	suffix := ".time" // no name of a file has a point
	if output != OutputMain {
		suffix = "." + output + suffix
	}
	p := &draft{
		name: d.name + suffix, id: d.id + suffix, at: d.at, kind: pluginv1.Kind_KIND_OPERATOR,
		parallelism: d.parallelism, isolation: d.isolation, failure: d.failure, eventTime: d.eventTime,
		component: d.timed, capabilities: proto.CloneOf(d.timed.spec.GetCapabilities()), outputsKnown: true,
		json: []byte("{}"), time: d.time,
	}
	d.out = slices.DeleteFunc(d.out, func(k *link) bool {
		if k.output != output {
			return false
		}
		k.from, k.output = p, OutputMain
		p.out = append(p.out, k)
		return true
	})
	l.join(&link{from: d, to: p, output: output, port: PortMain, at: d.eventTime})
	l.byName[p.name] = p
	return p
}

// timePaths sees that an operator with event_time hears of the splits of a source:
// forward edges lead to it, through operators that pass them on.
func (l *loader) timePaths() {
	for _, d := range l.nodes {
		if d.time == nil || d.kind != pluginv1.Kind_KIND_OPERATOR {
			continue
		}
		for at := d; at.kind != pluginv1.Kind_KIND_SOURCE; at = at.in[0].from {
			if len(at.in) == 0 || at.unresolved {
				break // said elsewhere
			}
			why := ""
			switch k := at.in[0]; {
			case len(at.in) > 1:
				why = fmt.Sprintf("several edges lead into %q", at.name)
			case k.deadLetter():
				why = fmt.Sprintf("%q gets dead letters", at.name)
			case k.partition != pluginv1.Partition_PARTITION_FORWARD:
				why = fmt.Sprintf("the edge into %q is by %s", at.name, PartitionName(k.partition))
			case k.from.kind == pluginv1.Kind_KIND_OPERATOR && k.from.component != nil && !k.from.capabilities.GetEventTime():
				why = fmt.Sprintf("%q does not pass on where splits begin and end", k.from.name)
			}
			if why != "" {
				l.faultKey(d.eventTime, CodeEventTime, "put event_time on the source, or join this operator to it by forward edges at equal parallelism",
					"watermarks are made split by split, and the splits of the source are not known here: %s", why)
				break
			}
		}
	}
}

// timesSet sees that records have event time where an operator works by it: its
// windows would never be complete, and nobody would say why.
func (l *loader) timesSet() {
	for _, d := range l.nodes {
		if !d.sound || !d.capabilities.GetByEventTime() {
			continue
		}
		for _, source := range timeless(d) {
			l.faultKey(d.at, CodeNoEventTime, fmt.Sprintf("add event_time: {from: /ts, unit: ms, out_of_orderness: 5s} to %q", source.name),
				"%s works by event time, and the source %q does not set it", d.component.fullName(), source.name)
		}
	}
}

// timeless are the sources from which records come to a node without event time.
func timeless(d *draft) (sources []*draft) {
	seen := map[*draft]bool{}
	var walk func(d *draft)
	walk = func(d *draft) {
		for _, k := range d.in {
			from := k.from
			if seen[from] || from.eventTime.present() {
				continue
			}
			seen[from] = true
			if from.kind == pluginv1.Kind_KIND_SOURCE {
				sources = append(sources, from)
			}
			walk(from)
		}
	}
	walk(d)
	return sources
}

// eventTime reads {from, unit, out_of_orderness, idle}.
func (l *loader) eventTime(f field) *pluginv1.EventTime {
	fs := l.fields(f, "from", "unit", "out_of_orderness", "idle")
	t := &pluginv1.EventTime{}
	from := fs["from"]
	if l.missing(f, fs, "from") {
		l.faultKey(f, CodeRequired, `"record", a JSON pointer such as "/ts", or "header.NAME"`, "`from` is missing: where the time is found")
		return nil
	}
	if !from.present() {
		return nil
	}
	if s, ok := l.text(from); ok {
		header, isHeader := strings.CutPrefix(s, "header.")
		if s != "record" && !strings.HasPrefix(s, "/") && (!isHeader || header == "") {
			l.fault(from, CodeValue, "", `must be "record", a JSON pointer such as "/ts", or "header.NAME", not %s`, shown(from.Value))
		}
		t.From = s
	}
	if unit := fs["unit"]; unit.present() {
		t.Unit, _ = l.oneOf(unit, "rfc3339", "s", "ms", "us", "ns")
	} else if t.From != "record" && l.missing(f, fs, "unit") {
		l.faultKey(f, CodeRequired, "allowed: rfc3339, s, ms, us, ns", "`unit` is missing: how the time is written")
	}
	if d := fs["out_of_orderness"]; d.present() {
		v, _ := l.duration(d, 0, maxDuration)
		t.OutOfOrderness = durationpb.New(v)
	}
	if d := fs["idle"]; d.present() {
		v, _ := l.duration(d, 0, maxDuration)
		t.Idle = durationpb.New(v)
	}
	return t
}

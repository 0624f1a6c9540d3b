package pipeline

import (
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

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

package spec

import (
	"math"
	"strconv"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/yamlfile"
	"github.com/weirstream/weir/proto/wire"
)

// Step is a piece of an operator's input, what event time comes to behind it, and
// what comes of both.
type Step struct {
	Pos  yamlfile.Pos
	Path string

	// Records go in first, by port; the empty name is the first port.
	Records map[string][]exchange.Record
	// Watermark follows them; [wire.NoTime] is none.
	Watermark int64
	// Expect is all that comes of the step, by output; nil where anything may.
	Expect map[string][]exchange.Expected
	// Ordered says that it comes in that order.
	Ordered bool
}

// Forgets is what makes an operator forget a key.
type Forgets string

// The ways to forget.
const (
	// NotSaid: it may keep a key for ever.
	NotSaid Forgets = ""
	// ByEventTime: event time has gone on far enough.
	ByEventTime Forgets = "event_time"
	// ByClock: nothing came of the key for a while.
	ByClock Forgets = "clock"
)

// endOfTime is the word for the last watermark.
const endOfTime = "end"

// steps reads what goes in step by step.
func (r *reader) steps(n node) []Step {
	var out []Step
	last := int64(wire.NoTime)
	for _, item := range r.list(n, "steps") {
		s := Step{Pos: item.pos(), Path: item.path, Watermark: wire.NoTime}
		fs := r.fields(item, "records", "watermark", "expect", "ordered")
		if item.Kind == yamlfile.Map && !fs["records"].present() && !fs["watermark"].present() {
			r.fault(item.pos(), item.path, CodeRequired, "", "must have `records`, `watermark` or both")
		}
		s.Records, s.Expect = r.input(fs["records"]), r.expect(fs["expect"])
		if w := fs["watermark"]; w.present() {
			var ok bool
			if s.Watermark, ok = r.watermark(w); ok && s.Watermark < last {
				r.fault(w.pos(), w.path, CodeValue, "event time never goes back", "is below the watermark of an earlier step")
			} else if ok {
				last = s.Watermark
			}
		}
		if f := fs["ordered"]; f.present() {
			s.Ordered = r.boolean(f)
			if s.Expect == nil {
				r.fault(f.key, f.path, CodeRequired, "", "says in which order `expect` comes, and there is no `expect`")
			}
		}
		out = append(out, s)
	}
	if n.present() && n.Kind == yamlfile.List && len(n.Items) == 0 {
		r.fault(n.pos(), n.path, CodeRequired, "", "must list at least one step")
	}
	return out
}

func (r *reader) watermark(n node) (int64, bool) {
	if n.Kind == yamlfile.String && n.Text == endOfTime {
		return math.MaxInt64, true
	}
	t, err := strconv.ParseInt(n.Text, 10, 64)
	if n.Kind != yamlfile.Int && !n.Resolved || err != nil || t == wire.NoTime {
		r.wrongType(n, "nanoseconds since the Unix epoch, or `end`")
		return wire.NoTime, false
	}
	return t, true
}

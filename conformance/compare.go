package conformance

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/proto/wire"
)

// difference says how what came differs from what should have come, as a bag of
// records: lost, doubled, changed, foreign; or nothing.
func difference(want, got []exchange.Record, f exchange.Fields) string {
	return between(want, want, got, f)
}

// between says how what came differs from a bag that holds every record of must
// and beside them only some of may, each as often as it is there.
func between(must, may, got []exchange.Record, f exchange.Fields) string {
	left := make(map[string]int)
	for _, r := range may {
		left[identity(r, f)]++
	}
	have := make(map[string]int)
	var extra []exchange.Record
	for _, r := range got {
		id := identity(r, f)
		have[id]++
		if left[id] == 0 {
			extra = append(extra, r)
			continue
		}
		left[id]--
	}
	var lost []exchange.Record
	need := make(map[string]int)
	for _, r := range must {
		id := identity(r, f)
		if need[id]++; need[id] > have[id] {
			lost = append(lost, r)
		}
	}
	if len(lost) == 0 && len(extra) == 0 {
		return ""
	}
	return explain(lost, extra, may, f)
}

// explain tells which of the extra records are doubled, changed or foreign.
func explain(lost, extra, may []exchange.Record, f exchange.Fields) string {
	known := make(map[string]bool)
	byValue := make(map[string]exchange.Record)
	for _, r := range may {
		known[identity(r, f)] = true
		byValue[string(r.Value)] = r
	}
	var doubled, changed, foreign []string
	changedValues := make(map[string]bool)
	for _, r := range extra {
		same, ok := byValue[string(r.Value)]
		switch {
		case known[identity(r, f)]:
			doubled = append(doubled, r.Select(f).String())
		case ok:
			changedValues[string(r.Value)] = true
			changed = append(changed, fmt.Sprintf("the %s of %s, which came as %s", exchange.Differ(same, r, f), same.Select(f), r.Select(f)))
		default:
			foreign = append(foreign, r.Select(f).String())
		}
	}
	var missing []string
	for _, r := range lost {
		if !changedValues[string(r.Value)] {
			missing = append(missing, r.Select(f).String())
		}
	}
	var parts []string
	for _, p := range []struct {
		what string
		all  []string
	}{{"lost", missing}, {"more often than they were sent", doubled}, {"changed", changed}, {"never sent, or not to be seen yet", foreign}} {
		if len(p.all) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s: %s", len(p.all), p.what, some(p.all)))
		}
	}
	return strings.Join(parts, "; ")
}

func some(all []string) string {
	const most = 3
	if len(all) > most {
		return strings.Join(all[:most], ", ") + ", ..."
	}
	return strings.Join(all, ", ")
}

// identity is a text that records have in common which are the same in the fields.
func identity(r exchange.Record, f exchange.Fields) string {
	r = r.Select(f)
	var b strings.Builder
	part := func(v []byte) {
		if v == nil {
			b.WriteString("-;")
			return
		}
		fmt.Fprintf(&b, "%d:", len(v))
		b.Write(v)
	}
	part(r.Key)
	part(r.Value)
	if r.Time != wire.NoTime {
		fmt.Fprintf(&b, "t%d", r.Time)
	}
	for _, h := range r.Headers {
		part([]byte(h.Name))
		part(h.Value)
	}
	return b.String()
}

// sequence says at which place two lists of records differ first, or nothing.
func sequence(want, got []exchange.Record, f exchange.Fields) string {
	for i := range min(len(want), len(got)) {
		if d := exchange.Differ(want[i], got[i], f); d != "" {
			return fmt.Sprintf("record %d of %d has another %s: it is %s and should be %s", i, len(want), d, got[i].Select(f), want[i].Select(f))
		}
	}
	if len(want) != len(got) {
		what := "nothing"
		if len(got) > len(want) {
			what = got[len(want)].Select(f).String()
		} else {
			what = "not " + want[len(got)].Select(f).String()
		}
		return fmt.Sprintf("%d records came and %d should have: behind the last that agrees came %s", len(got), len(want), what)
	}
	return ""
}

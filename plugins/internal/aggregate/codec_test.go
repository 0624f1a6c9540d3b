package aggregate

import (
	"testing"

	"github.com/weirstream/weir/sdk"
)

// TestSetsThatDifferDoNotReadEachOther: a checkpoint of other aggregates is refused
// by the codec's name, and not read as something that it is not.
func TestSetsThatDifferDoNotReadEachOther(t *testing.T) {
	compile := func(aggregates map[string]string) *Set {
		expressions := map[string]sdk.Expr{}
		for name, e := range aggregates {
			expressions[name] = sdk.Expr{Source: e}
		}
		s, faults := Compile(expressions, sdk.Expr{})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return s
	}
	base := map[string]string{"n": "count()", "s": "sum(json.x)"}
	for _, c := range []struct {
		name  string
		other map[string]string
		same  bool
	}{
		{"the same", base, true},
		{"another expression", map[string]string{"n": "count()", "s": "sum(json.y)"}, true},
		{"one more", map[string]string{"n": "count()", "s": "sum(json.x)", "m": "max(json.x)"}, false},
		{"one less", map[string]string{"n": "count()"}, false},
		{"another function", map[string]string{"n": "count()", "s": "avg(json.x)"}, false},
		{"another name", map[string]string{"n": "count()", "total": "sum(json.x)"}, false},
	} {
		if a, b := compile(base).Codec().Name(), compile(c.other).Codec().Name(); (a == b) != c.same {
			t.Errorf("%s: %q and %q", c.name, a, b)
		}
	}
}

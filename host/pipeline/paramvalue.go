package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"

	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// value checks a value that is no list, map or object of declared fields, and
// returns it as JSON has it.
func (c *checker) value(f field, rel string, p *pluginv1.Parameter, t pluginv1.Parameter_Type) (any, bool) {
	if f.Failed {
		c.refuse(rel)
		return nil, false
	}
	v, ok := c.typed(f, p, t)
	if !ok {
		c.refuse(rel)
	}
	return v, ok
}

func (c *checker) typed(f field, p *pluginv1.Parameter, t pluginv1.Parameter_Type) (any, bool) {
	switch t {
	case pluginv1.Parameter_TYPE_STRING:
		return c.str(f, p)
	case pluginv1.Parameter_TYPE_INT, pluginv1.Parameter_TYPE_FLOAT:
		return c.number(f, p, t)
	case pluginv1.Parameter_TYPE_BOOL:
		s, ok := scalar(f.Value, yamlfile.Bool)
		if !ok {
			c.wrongType(f, p, "true or false")
		}
		return slices.Contains([]string{"true", "True", "TRUE"}, s), ok
	case pluginv1.Parameter_TYPE_DURATION:
		return unit(c, f, p, parseDuration, aDuration, false)
	case pluginv1.Parameter_TYPE_BYTES:
		return unit(c, f, p, ParseBytes, aSize, true)
	case pluginv1.Parameter_TYPE_EXPRESSION:
		s, ok := scalar(f.Value, yamlfile.String, yamlfile.Int, yamlfile.Float, yamlfile.Bool)
		if !ok {
			c.wrongType(f, p, "an expression")
		}
		return s, ok
	case pluginv1.Parameter_TYPE_CONSTANT_OR_EXPRESSION:
		return c.constantOrExpression(f, p)
	case pluginv1.Parameter_TYPE_OBJECT, pluginv1.Parameter_TYPE_MAP:
		if f.Kind != yamlfile.Map {
			c.wrongType(f, p, "a map")
			return nil, false
		}
	case pluginv1.Parameter_TYPE_LIST:
		if f.Kind != yamlfile.List {
			c.wrongType(f, p, "a list")
			return nil, false
		}
	}
	return c.anything(f)
}

func (c *checker) str(f field, p *pluginv1.Parameter) (any, bool) {
	s, ok := scalar(f.Value, yamlfile.String)
	if !ok {
		hint := ""
		if k := f.Kind; (k == yamlfile.Int || k == yamlfile.Float || k == yamlfile.Bool) && !p.GetSecret() {
			hint = fmt.Sprintf("write %q", f.Written())
		} else if k != yamlfile.List && k != yamlfile.Map && k != yamlfile.Null {
			hint = "put it in quotes"
		}
		c.l.fault(f, CodeType, hint, "must be a string, not %s", c.shown(f, p))
		return nil, false
	}
	if enum := p.GetEnum(); len(enum) > 0 && !slices.Contains(enum, s) {
		hint := ""
		if !p.GetSecret() {
			if best := Nearest(f.Written(), enum); best != "" {
				hint = fmt.Sprintf("did you mean %q?", best)
			}
		}
		c.l.fault(f, CodeValue, hint, "must be one of %s, not %s", enumerate(enum), c.shown(f, p))
		return nil, false
	}
	if pattern := p.GetPattern(); pattern != "" {
		re, err := regexp.Compile(`^(?:` + pattern + `)$`)
		if err == nil && !re.MatchString(s) {
			c.l.fault(f, CodeValue, "", "must match %s, which %s does not", pattern, c.shown(f, p))
			return nil, false
		}
	}
	return s, true
}

func (c *checker) number(f field, p *pluginv1.Parameter, t pluginv1.Parameter_Type) (any, bool) {
	kinds, want := []yamlfile.Kind{yamlfile.Int}, "an integer"
	if t == pluginv1.Parameter_TYPE_FLOAT {
		kinds, want = []yamlfile.Kind{yamlfile.Int, yamlfile.Float}, "a number"
	}
	s, ok := scalar(f.Value, kinds...)
	if !ok {
		c.wrongType(f, p, want)
		return nil, false
	}
	n, r, ok := jsonNumber(s)
	if !ok {
		c.wrongType(f, p, want+" that JSON can hold")
		return nil, false
	}
	bound := func(s string) *big.Rat {
		_, b, ok := jsonNumber(s)
		if s == "" || !ok {
			return nil
		}
		return b
	}
	low, high := bound(p.GetMin()), bound(p.GetMax())
	if low != nil && r.Cmp(low) < 0 || high != nil && r.Cmp(high) > 0 {
		c.outOfRange(f, p)
		return nil, false
	}
	if t == pluginv1.Parameter_TYPE_INT && !r.Num().IsInt64() && !r.Num().IsUint64() {
		c.l.fault(f, CodeRange, "", "must be an integer of 64 bits")
		return nil, false
	}
	return n, true
}

func (c *checker) outOfRange(f field, p *pluginv1.Parameter) {
	var want string
	switch low, high := p.GetMin(), p.GetMax(); {
	case low != "" && high != "":
		want = "between " + low + " and " + high
	case low != "":
		want = "at least " + low
	default:
		want = "at most " + high
	}
	c.l.fault(f, CodeRange, "", "must be %s, not %s", want, c.shown(f, p))
}

// jsonNumber is a number of YAML's core schema as JSON writes it.
func jsonNumber(s string) (json.Number, *big.Rat, bool) {
	if n, ok := parseInt(s); ok {
		return json.Number(n.String()), new(big.Rat).SetInt(n), true
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return "", nil, false
	}
	b, err := json.Marshal(x)
	if err != nil {
		return "", nil, false
	}
	return json.Number(b), new(big.Rat).SetFloat64(x), true
}

// unit checks a duration or a size. It stays as it is written, but for a bare
// zero duration, since a duration in JSON is a string.
func unit[T ~int64](c *checker, f field, p *pluginv1.Parameter, parse func(string) (T, error), want string, numbers bool) (any, bool) {
	s, ok := scalar(f.Value, yamlfile.String, yamlfile.Int)
	var v T
	if ok {
		var err error
		v, err = parse(s)
		ok = err == nil
	}
	if !ok {
		hint := ""
		if !p.GetSecret() {
			hint = unitHint(f, want)
		}
		c.l.fault(f, CodeType, hint, "must be %s, not %s", want, c.shown(f, p))
		return nil, false
	}
	low, lowErr := parse(p.GetMin())
	high, highErr := parse(p.GetMax())
	if lowErr == nil && v < low || highErr == nil && v > high {
		c.outOfRange(f, p)
		return nil, false
	}
	if numbers && scalarIsInt(f.Value) {
		return json.Number(strconv.FormatInt(int64(v), 10)), true
	}
	if s == "0" {
		s = "0s"
	}
	return s, true
}

func scalarIsInt(v *yamlfile.Value) bool {
	_, ok := scalar(v, yamlfile.Int)
	return ok
}

// constantOrExpression takes a plain scalar as a constant and {expr: ...} as an
// expression.
func (c *checker) constantOrExpression(f field, p *pluginv1.Parameter) (any, bool) {
	const want = "a constant or {expr: EXPRESSION}"
	switch f.Kind {
	case yamlfile.Null, yamlfile.List:
		c.wrongType(f, p, want)
		return nil, false
	case yamlfile.Map:
		e := f.Get("expr")
		if e == nil || len(f.Entries) != 1 {
			c.l.fault(f, CodeType, "", "must be %s", want)
			return nil, false
		}
		s, ok := scalar(e, yamlfile.String, yamlfile.Int, yamlfile.Float, yamlfile.Bool)
		if !ok || e.Failed {
			if !e.Failed {
				c.wrongType(field{path: yamlfile.Key(f.path, "expr"), Value: e}, p, "an expression")
			}
			return nil, false
		}
		return map[string]any{"expr": s}, true
	}
	return c.anything(f)
}

// anything turns a value into JSON as it is.
func (c *checker) anything(f field) (any, bool) {
	switch f.Kind {
	case yamlfile.Null:
		return nil, true
	case yamlfile.Bool:
		return f.Text[0] == 't' || f.Text[0] == 'T', true
	case yamlfile.Int, yamlfile.Float:
		n, _, ok := jsonNumber(f.Text)
		if !ok {
			c.l.fault(f, CodeType, "", "is a number that JSON cannot hold")
		}
		return n, ok
	case yamlfile.List:
		list := make([]any, 0, len(f.Items))
		sound := true
		for i := range f.Items {
			v, ok := c.anythingBelow(f.item(i))
			sound = sound && ok
			list = append(list, v)
		}
		return list, sound
	case yamlfile.Map:
		out := make(map[string]any, len(f.Entries))
		sound := true
		for _, e := range f.Entries {
			v, ok := c.anythingBelow(field{path: yamlfile.Key(f.path, e.Key), name: e.Key, key: e.KeyPos, Value: e.Value})
			sound = sound && ok
			out[e.Key] = v
		}
		return out, sound
	}
	return f.Text, true
}

func (c *checker) anythingBelow(f field) (any, bool) {
	if f.Failed {
		return nil, false
	}
	return c.anything(f)
}

package aggregate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
)

// function is what an aggregate does with its values.
type function uint8

const (
	count function = iota
	sum
	avg
	least
	most
	first
	last
	distinct
	approxDistinct
	collect
	quantile
)

var functions = map[string]function{
	"count": count, "sum": sum, "avg": avg, "min": least, "max": most, "first": first, "last": last,
	"distinct": distinct, "approx_distinct": approxDistinct, "collect": collect, "quantile": quantile,
}

func (f function) String() string {
	for name, g := range functions {
		if f == g {
			return name
		}
	}
	return "unknown"
}

// Set is a compiled set of aggregates, in the order of their names. One goroutine
// at a time uses it.
type Set struct {
	items  []item
	uses   expression.Uses
	having *condition
	env    expression.Env
	in     Inputs
}

type item struct {
	name string
	does function
	arg  *expression.Program // nil for count()
	q    float64             // quantile
}

// Compile compiles aggregates by name, and the condition over their results, which
// may be empty. The faults say where in each they are.
func Compile(aggregates map[string]sdk.Expr, having sdk.Expr) (*Set, []sdk.FieldError) {
	s := &Set{}
	var faults []sdk.FieldError
	names := slices.Sorted(maps.Keys(aggregates))
	for _, name := range names {
		if slices.Contains(Reserved, name) {
			faults = append(faults, sdk.Faultf("aggregates."+name, "the result has a field of this name already"))
			continue
		}
		it, f := compileItem(name, aggregates[name])
		faults = append(faults, f...)
		if it.arg != nil {
			s.uses = s.uses.And(it.arg.Uses())
		}
		s.items = append(s.items, it)
	}
	if !having.IsZero() {
		var f []sdk.FieldError
		s.having, f = compileCondition(having, names)
		faults = append(faults, f...)
	}
	s.in.values = make([]any, len(s.items))
	return s, faults
}

// Reserved are names that a result has beside its aggregates.
var Reserved = []string{"key", "start", "end"}

// compileItem reads FUNCTION(EXPRESSION), or quantile(EXPRESSION, Q).
func compileItem(name string, e sdk.Expr) (item, []sdk.FieldError) {
	it := item{name: name}
	fail := func(at int, format string, args ...any) (item, []sdk.FieldError) {
		return it, []sdk.FieldError{e.Faultf(at+1, format, args...)}
	}
	text := strings.TrimRightFunc(e.Source, unicode.IsSpace)
	begin := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	open := strings.IndexByte(text, '(')
	known := "an aggregate is FUNCTION(EXPRESSION) with one of " + strings.Join(slices.Sorted(maps.Keys(functions)), ", ")
	if open < 0 || !strings.HasSuffix(text, ")") {
		return fail(begin, "%s", known)
	}
	word := strings.TrimSpace(text[begin:open])
	var ok bool
	if it.does, ok = functions[word]; !ok {
		hint := expression.Nearest(word, slices.Sorted(maps.Keys(functions)))
		if hint == "" {
			hint = "; " + known
		}
		return fail(begin, "there is no aggregate %q%s", word, hint)
	}
	args, ok := arguments(text, open+1, len(text)-1)
	if !ok {
		return fail(open, "the bracket is not closed at the end: only one call may stand here")
	}
	want := 1
	if it.does == quantile {
		want = 2
	}
	switch {
	case it.does == count && len(args) == 0:
		return it, nil
	case len(args) != want && it.does == quantile:
		return fail(open, "quantile takes an expression and a number from 0 to 1: quantile(json.ms, 0.99)")
	case len(args) != want:
		return fail(open, "%s takes one expression", word)
	}
	if it.does == quantile {
		q, err := strconv.ParseFloat(strings.TrimSpace(text[args[1].from:args[1].to]), 64)
		if err != nil || q < 0 || q > 1 {
			return fail(args[1].from, "the second argument of quantile is a number from 0 to 1")
		}
		it.q = q
	}
	// Blanks in front keep the places of faults.
	source := strings.Repeat(" ", args[0].from) + text[args[0].from:args[0].to]
	arg := e
	arg.Source = source
	program, faults := expression.Compile(arg, "")
	it.arg = program
	if program != nil && program.Uses().Item {
		faults = append(faults, e.Faultf(args[0].from+1, "item is known beside each alone"))
	}
	if program != nil {
		if gives := it.does.refuses(program.Gives()); gives != "" {
			faults = append(faults, e.Faultf(args[0].from+1, "%s", gives))
		}
	}
	return it, faults
}

// refuses says what is wrong with an argument of which that much is known; gives is
// empty where it may be a number.
func (f function) refuses(gives string) string {
	switch f {
	case sum, avg, quantile:
		if gives != "" {
			return fmt.Sprintf("%v takes a number, and this gives %s: convert it, by float(...) or len(...), or count it", f, gives)
		}
	case least, most:
		if gives == "a list" || gives == "an object" {
			return fmt.Sprintf("%v takes a number, a text or a boolean, and this gives %s", f, gives)
		}
	}
	return ""
}

type span struct{ from, to int }

// arguments splits text[from:to] at the commas that stand in no bracket and no
// quote; not ok where a bracket is closed that was opened before from.
func arguments(text string, from, to int) ([]span, bool) {
	if strings.TrimSpace(text[from:to]) == "" {
		return nil, true
	}
	var all []span
	depth, begin := 0, from
	for i := from; i < to; i++ {
		switch c := text[i]; c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return nil, false
			}
		case '\'', '"', '`':
			for i++; i < to && text[i] != c; i++ {
				if text[i] == '\\' && c != '`' {
					i++
				}
			}
		case ',':
			if depth == 0 {
				all = append(all, span{begin, i})
				begin = i + 1
			}
		}
	}
	return append(all, span{begin, to}), depth == 0
}

// Inputs are what one record gives to each aggregate.
type Inputs struct {
	values []any // nil where the aggregate has none
	order  int64 // the record's time
}

// Inputs evaluates the expressions on a record. An error concerns the record:
// nothing of it may be added then. What it returns serves until the next call.
func (s *Set) Inputs(r sdk.Record, at sdk.Time) (*Inputs, error) {
	if err := s.env.Fill(r, s.uses); err != nil {
		return nil, err
	}
	s.in.order = at.UnixNano()
	for i := range s.items {
		it := &s.items[i]
		s.in.values[i] = nil
		if it.arg == nil {
			continue
		}
		v, err := it.arg.Run(&s.env)
		if err != nil {
			return nil, fmt.Errorf("aggregate %s: %w", it.name, err)
		}
		if s.in.values[i], err = it.check(v); err != nil {
			return nil, fmt.Errorf("aggregate %s: %w", it.name, err)
		}
	}
	return &s.in, nil
}

// check refuses values that the aggregate cannot take, and returns them in the
// form that State.Add wants. Nil is no value.
func (it *item) check(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch it.does {
	case sum, avg, quantile:
		n, ok := numberOf(v)
		if !ok {
			return nil, fmt.Errorf("a number is needed, not %s", describe(v))
		}
		return n, nil
	case least, most:
		c, ok := scalarOf(v)
		if !ok {
			return nil, fmt.Errorf("a number, a text or a boolean is needed, not %s", describe(v))
		}
		return c, nil
	case count:
		return true, nil
	}
	return expression.AppendJSON(nil, v)
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(cut(v))
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return cut(fmt.Sprint(v))
}

func cut(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}

package aggregate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
)

// Field is a field of a result that stands in front of its aggregates.
type Field struct {
	Name  string
	Value any
}

// AppendResult appends the result as a JSON object: the given fields, then the
// aggregates by name. ok is false where the condition does not hold: there is no
// result then.
func (s *Set) AppendResult(b []byte, fields []Field, st *State, bag Bag) (out []byte, ok bool, err error) {
	var values map[string]any // for the condition
	if s.having != nil {
		values = make(map[string]any, len(fields)+len(s.items))
	}
	begin := len(b)
	b = append(b, '{')
	add := func(name string, v any) error {
		if len(b) > begin+1 {
			b = append(b, ',')
		}
		if b, err = expression.AppendJSON(b, name); err != nil {
			return err
		}
		b = append(b, ':')
		if values != nil {
			values[name] = v
		}
		b, err = expression.AppendJSON(b, v)
		return err
	}
	for _, f := range fields {
		if err := add(f.Name, f.Value); err != nil {
			return b, false, err
		}
	}
	for i := range s.items {
		v, err := s.items[i].result(&st.cells[i], i, bag)
		if err == nil {
			err = add(s.items[i].name, v)
		}
		if err != nil {
			return b, false, fmt.Errorf("aggregate %s: %w", s.items[i].name, err)
		}
	}
	if s.having != nil {
		if ok, err := s.having.holds(values); err != nil || !ok {
			return b, false, err
		}
	}
	return append(b, '}'), true, nil
}

// result is the aggregate's value; nil of no values, where it is no number of
// them.
func (it *item) result(c *cell, i int, bag Bag) (any, error) {
	switch it.does {
	case count:
		return int(c.n), nil
	case distinct:
		n := 0
		bag.Each(i, func([]byte, uint64) { n++ })
		return n, nil
	case approxDistinct:
		return c.approx.result(), nil
	case collect:
		return collected(i, bag), nil
	}
	if c.n == 0 {
		return nil, nil
	}
	switch it.does {
	case sum:
		return c.total.result(), nil
	case avg:
		return c.total.mean(c.n), nil
	case least, most:
		return c.best.value(), nil
	case first, last:
		return expression.ReadJSON(c.value)
	}
	q, err := c.sketch.GetValueAtQuantile(it.q)
	return q, err
}

// collected are the collected values by time.
func collected(i int, bag Bag) []any {
	type element struct {
		bytes []byte
		n     uint64
	}
	var all []element
	bag.Each(i, func(e []byte, n uint64) { all = append(all, element{bytes.Clone(e), n}) })
	slices.SortFunc(all, func(a, b element) int { return bytes.Compare(a.bytes, b.bytes) })
	list := []any{}
	for _, e := range all {
		for range e.n {
			list = append(list, json.RawMessage(e.bytes[8:]))
		}
	}
	return list
}

// condition is an expression over results.
type condition struct {
	program *vm.Program
	source  string
}

func compileCondition(e sdk.Expr, names []string) (*condition, []sdk.FieldError) {
	env := types.Map{}
	for _, name := range slices.Concat(Reserved, names) {
		env[name] = types.Any
	}
	program, err := expr.Compile(e.Source, expr.Env(env), expr.AsAny())
	if err == nil {
		return &condition{program, e.Source}, nil
	}
	var at *file.Error
	if !errors.As(err, &at) {
		return nil, []sdk.FieldError{e.Faultf(0, "%v", err)}
	}
	offset := 0
	for n := 0; n < at.From && offset < len(e.Source); n++ {
		_, size := utf8.DecodeRuneInString(e.Source[offset:])
		offset += size
	}
	return nil, []sdk.FieldError{e.Faultf(offset+1, "%s", expression.Plain(at.Message, slices.Concat(Reserved, names)))}
}

func (c *condition) holds(values map[string]any) (bool, error) {
	for name, v := range values {
		if n, ok := v.(*big.Int); ok {
			f, _ := new(big.Float).SetInt(n).Float64()
			values[name] = f
		}
	}
	out, err := expr.Run(c.program, values)
	if err != nil {
		return false, fmt.Errorf("having %q: %w", c.source, err)
	}
	switch out := out.(type) {
	case bool:
		return out, nil
	case nil:
		return false, nil
	}
	return false, fmt.Errorf("having %q gave %T instead of true or false", c.source, out)
}

// Package expression compiles and runs the expressions of first-party operators:
// the language is that of expr-lang/expr, over one record.
//
// # Variables
//
//	value      the record's value as a string, nil for a tombstone
//	key        the record's key as a string, nil where there is none
//	timestamp  milliseconds since the Unix epoch, nil where there is none
//	headers    a map from name to value; of a name that repeats, the last
//	json       the value read as JSON; nil for a tombstone
//	item       inside what follows an `each`: the current element
//
// A member of json, headers or item that is not there is nil, and so is every
// member of nil. Integers of JSON are exact: an int where it fits 64 bits.
package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"github.com/tidwall/gjson"

	"github.com/weirstream/weir/sdk"
)

// Env is what an expression sees. Its fields are the variables.
type Env struct {
	Value     any            `expr:"value"`
	Key       any            `expr:"key"`
	Timestamp any            `expr:"timestamp"`
	Headers   map[string]any `expr:"headers"`
	JSON      any            `expr:"json"`
	Item      any            `expr:"item"`
}

// Uses says which variables an expression, or a set of them, reads: the others
// need not be made.
type Uses struct{ Value, Key, Timestamp, Headers, JSON, Item bool }

// And joins two sets.
func (u Uses) And(v Uses) Uses {
	return Uses{
		u.Value || v.Value, u.Key || v.Key, u.Timestamp || v.Timestamp,
		u.Headers || v.Headers, u.JSON || v.JSON, u.Item || v.Item,
	}
}

// Program is a compiled expression. It is not safe for concurrent use.
type Program struct {
	program *vm.Program
	machine vm.VM
	uses    Uses
	source  string

	unsteady []Unsteady
}

// variables are the names that Env has.
var variables = []string{"value", "key", "timestamp", "headers", "json", "item"}

// Compile compiles an expression. want is "bool" where it is a condition, empty
// otherwise. The fault says where in the expression it is.
func Compile(e sdk.Expr, want string) (*Program, []sdk.FieldError) {
	v := &visitor{}
	options := append(caseFunctions(), expr.Env(Env{}), expr.Patch(v))
	if want == "bool" {
		options = append(options, expr.AsBool())
	}
	program, err := expr.Compile(e.Source, options...)
	if err != nil {
		return nil, []sdk.FieldError{fault(e, err)}
	}
	for i := range v.unsteady {
		v.unsteady[i].Offset = inBytes(e.Source, v.unsteady[i].Offset)
	}
	return &Program{program: program, uses: v.uses, source: e.Source, unsteady: v.unsteady}, nil
}

// fault places an error of the compiler.
func fault(e sdk.Expr, err error) sdk.FieldError {
	var at *file.Error
	if !errors.As(err, &at) {
		return e.Faultf(0, "%s", Plain(err.Error(), variables))
	}
	return e.Faultf(inBytes(e.Source, at.From)+1, "%s", Plain(at.Message, variables))
}

// cast is how the machine says that a condition gave something else.
var cast = regexp.MustCompile(`^invalid operation: bool\((.*)\)$`)

// Uses returns the variables that the expression reads.
func (p *Program) Uses() Uses { return p.uses }

// Run evaluates the expression. The error is short and names it.
func (p *Program) Run(env *Env) (any, error) {
	out, err := p.machine.Run(p.program, env)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return nil, fmt.Errorf("expression %q: %s", p.source, cast.ReplaceAllString(at.Message, "a condition gave $1 instead of true or false"))
		}
		return nil, fmt.Errorf("expression %q: %w", p.source, err)
	}
	return out, nil
}

// Bool evaluates a condition. A nil counts as false.
func (p *Program) Bool(env *Env) (bool, error) {
	out, err := p.Run(env)
	if err != nil {
		return false, err
	}
	switch v := out.(type) {
	case bool:
		return v, nil
	case nil:
		return false, nil
	}
	return false, fmt.Errorf("expression %q: a condition gave %T instead of true or false", p.source, out)
}

// visitor notes which variables are read and what is unsteady, and makes members of
// what is not there nil.
type visitor struct {
	uses     Uses
	unsteady []Unsteady
}

// Visit implements [ast.Visitor].
func (v *visitor) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "value":
			v.uses.Value = true
		case "key":
			v.uses.Key = true
		case "timestamp":
			v.uses.Timestamp = true
		case "headers":
			v.uses.Headers = true
		case "json":
			v.uses.JSON = true
		case "item":
			v.uses.Item = true
		}
	case *ast.BuiltinNode:
		v.note(n)
	case *ast.MemberNode:
		if !n.Optional && open(n.Node) {
			n.Optional = true
			ast.Patch(node, &ast.ChainNode{Node: n})
		}
	}
}

// open says whether a node is json, headers or item, or a member of them.
func open(n ast.Node) bool {
	for {
		switch m := n.(type) {
		case *ast.IdentifierNode:
			return m.Value == "json" || m.Value == "headers" || m.Value == "item"
		case *ast.MemberNode:
			n = m.Node
		case *ast.ChainNode:
			n = m.Node
		default:
			return false
		}
	}
}

// ErrNotJSON says that a value could not be read as JSON.
var ErrNotJSON = errors.New("the value is not valid JSON")

// Fill sets the variables that are used from a record. It fails where json is
// used and the value is not JSON.
func (env *Env) Fill(r sdk.Record, u Uses) error {
	value := r.Value()
	if u.Value {
		env.Value = text(value)
	}
	if u.Key {
		env.Key = text(r.Key())
	}
	if u.Timestamp {
		env.Timestamp = nil
		if t := r.Time(); !t.IsZero() {
			env.Timestamp = int(t.UnixMilli())
		}
	}
	if u.Headers {
		env.Headers = map[string]any{}
		for name, value := range r.Headers().All() {
			env.Headers[name] = text(value)
		}
	}
	if u.JSON {
		env.JSON = nil
		if value != nil {
			v, err := ReadJSON(value)
			if err != nil {
				return err
			}
			env.JSON = v
		}
	}
	return nil
}

func text(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// ReadJSON reads a JSON value as expressions see it.
func ReadJSON(b []byte) (any, error) {
	if !gjson.ValidBytes(b) {
		return nil, ErrNotJSON
	}
	return native(gjson.ParseBytes(b)), nil
}

func native(r gjson.Result) any {
	switch r.Type {
	case gjson.True:
		return true
	case gjson.False:
		return false
	case gjson.String:
		return r.Str
	case gjson.Number:
		return number(r)
	case gjson.JSON:
		if r.IsArray() {
			list := []any{}
			r.ForEach(func(_, v gjson.Result) bool {
				list = append(list, native(v))
				return true
			})
			return list
		}
		object := map[string]any{}
		r.ForEach(func(k, v gjson.Result) bool {
			object[k.Str] = native(v)
			return true
		})
		return object
	}
	return nil
}

// number keeps integers of up to 64 bits exact.
func number(r gjson.Result) any {
	if bytes.ContainsAny([]byte(r.Raw), ".eE") {
		return r.Num
	}
	var i int
	if err := json.Unmarshal([]byte(r.Raw), &i); err == nil {
		return i
	}
	var u uint64
	if err := json.Unmarshal([]byte(r.Raw), &u); err == nil {
		return u
	}
	return r.Num
}

// AppendBytes appends the result of an expression as a record's bytes: text as it
// is, everything else as JSON. A nil result is null, told by ok.
func AppendBytes(b []byte, v any) (out []byte, ok bool, err error) {
	if b == nil {
		b = []byte{} // else empty text would be null
	}
	switch v := v.(type) {
	case nil:
		return b, false, nil
	case string:
		return append(b, v...), true, nil
	case []byte:
		return append(b, v...), true, nil
	}
	out, err = AppendJSON(b, v)
	return out, true, err
}

// AppendJSON appends the result of an expression as JSON; keys are sorted.
func AppendJSON(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return b, fmt.Errorf("a result that JSON cannot hold: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

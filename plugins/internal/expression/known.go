package expression

import (
	"reflect"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
)

// Unsteady is a part of an expression that may give something else for the same
// record when it comes again.
type Unsteady struct {
	// Call is what does it: now().
	Call string
	// Offset is where it stands, in bytes.
	Offset int

	node ast.Node
}

// Unsteady returns the parts that depend on more than the record: the clock, or an
// order that is not there.
func (p *Program) Unsteady() []Unsteady { return p.unsteady }

// note notes what is unsteady. A node is visited behind its arguments.
func (v *visitor) note(n *ast.BuiltinNode) {
	switch n.Name {
	case "now", "keys", "values", "toPairs":
		v.unsteady = append(v.unsteady, Unsteady{Call: n.Name + "()", Offset: n.Location().From, node: n})
	case "sort", "len":
		// The order of what is in there makes no difference.
		for i, u := range v.unsteady {
			if len(n.Arguments) > 0 && u.node == n.Arguments[0] && u.Call != "now()" {
				v.unsteady = append(v.unsteady[:i:i], v.unsteady[i+1:]...)
				return
			}
		}
	}
}

// inBytes turns an offset in characters, as the compiler counts, into one in bytes.
func inBytes(source string, characters int) int {
	offset := 0
	for n := 0; n < characters && offset < len(source); n++ {
		_, size := utf8.DecodeRuneInString(source[offset:])
		offset += size
	}
	return offset
}

// Gives says in words what the expression gives, where that is known before it sees
// a record and is no number; else nothing.
func (p *Program) Gives() string {
	t := p.program.Node().Type()
	if t == nil {
		return ""
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "a boolean"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "an object"
	}
	return ""
}

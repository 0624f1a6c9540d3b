package format

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/twmb/avro"
)

// avroKind is what a value of a schema is on the wire.
type avroKind uint8

const (
	avroNull avroKind = iota
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroRecord
	avroEnum
	avroArray
	avroMap
	avroUnion
	avroFixed
)

var avroKinds = map[string]avroKind{
	"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat, "double": avroDouble,
	"bytes": avroBytes, "string": avroString, "record": avroRecord, "error": avroRecord, "enum": avroEnum, "array": avroArray,
	"map": avroMap, "union": avroUnion, "fixed": avroFixed,
}

// avroLogical is what a value means beyond its kind.
type avroLogical uint8

const (
	logicalNone avroLogical = iota
	logicalDecimal
	logicalUUID
	logicalDate
	logicalTime      // of day
	logicalTimestamp // in UTC
	logicalLocal     // a timestamp of no zone
	logicalDuration
)

// avroNode is a schema's part, made for decoding and encoding. Recursive types are
// cycles of nodes.
type avroNode struct {
	kind    avroKind
	logical avroLogical
	unit    int64 // of a time: how many are a second
	// Of a decimal.
	precision, scale int

	name     string // of record, enum, fixed
	fields   []avroField
	index    map[string]int // of fields, or symbols
	symbols  []string
	element  *avroNode // of array and map
	branches []*avroNode
	null     int // the union's branch that is null, or -1
	size     int // of fixed
}

type avroField struct {
	name   string
	before []byte // `"name":`
	node   *avroNode
	// absent is what stands for the field where a value does not have it; nil where
	// it must.
	absent []byte
}

// String names the type in errors.
func (n *avroNode) String() string {
	for name, kind := range avroKinds {
		if kind == n.kind && name != "error" {
			switch {
			case n.name != "":
				return name + " " + n.name
			case n.logical == logicalDecimal:
				return fmt.Sprintf("decimal(%d,%d)", n.precision, n.scale)
			}
			return name
		}
	}
	return "?"
}

type avroCompiler struct {
	named map[string]*avroNode
	// defaults are filled in when all types are known.
	defaults []func() error
}

func compileAvro(schema *avro.Schema) (*avroNode, error) {
	tree := schema.Root()
	root, err := compileTree(tree)
	if errors.Is(err, errUnknownType) {
		// It is of a schema that this one refers to.
		return compileTree(tree.ExpandReferences())
	}
	return root, err
}

func compileTree(tree *avro.SchemaNode) (*avroNode, error) {
	c := &avroCompiler{named: map[string]*avroNode{}}
	root, err := c.node(tree, "")
	if err != nil {
		return nil, err
	}
	for _, fill := range c.defaults {
		if err := fill(); err != nil {
			return nil, err
		}
	}
	return root, nil
}

var errUnknownType = errors.New("unknown type")

// node compiles a part that stands in a namespace.
func (c *avroCompiler) node(s *avro.SchemaNode, space string) (*avroNode, error) {
	kind, ok := avroKinds[s.Type]
	if !ok {
		for _, name := range []string{space + "." + s.Type, s.Type} {
			if n := c.named[name]; n != nil {
				return n, nil
			}
		}
		return nil, fmt.Errorf("%w %q", errUnknownType, s.Type)
	}
	n := &avroNode{kind: kind}
	var err error
	switch kind {
	case avroRecord, avroEnum, avroFixed:
		space = c.define(n, s)
	}
	switch kind {
	case avroRecord:
		err = c.record(n, s, space)
	case avroEnum:
		n.symbols, n.index = s.Symbols, map[string]int{}
		for i, symbol := range s.Symbols {
			n.index[symbol] = i
		}
	case avroFixed:
		n.size = s.Size
	case avroArray:
		n.element, err = c.node(s.Items, space)
	case avroMap:
		n.element, err = c.node(s.Values, space)
	case avroUnion:
		n.null = -1
		for i := range s.Branches {
			branch, err := c.node(&s.Branches[i], space)
			if err != nil {
				return nil, err
			}
			if branch.kind == avroNull {
				n.null = i
			}
			n.branches = append(n.branches, branch)
		}
	}
	if err == nil {
		err = n.meaning(s)
	}
	return n, err
}

// define makes a named type known, and returns the namespace of what it holds.
func (c *avroCompiler) define(n *avroNode, s *avro.SchemaNode) (space string) {
	n.name, space = s.Name, s.Namespace
	if i := strings.LastIndexByte(s.Name, '.'); i >= 0 {
		space = s.Name[:i]
	} else if space != "" {
		n.name = space + "." + s.Name
	}
	c.named[n.name] = n
	return space
}

func (c *avroCompiler) record(n *avroNode, s *avro.SchemaNode, space string) error {
	n.index = map[string]int{}
	for i := range s.Fields {
		f := &s.Fields[i]
		before, err := appendString(nil, []byte(f.Name))
		if err != nil {
			return err
		}
		node, err := c.node(&f.Type, space)
		if err != nil {
			return err
		}
		n.index[f.Name] = i
		n.fields = append(n.fields, avroField{name: f.Name, before: append(before, ':'), node: node})
		c.defaults = append(c.defaults, func() error { return n.fields[i].useDefault(f) })
	}
	return nil
}

// useDefault prepares what stands for a field that a value does not have: its
// default, or null where it may be null.
func (f *avroField) useDefault(s *avro.SchemaField) error {
	if !s.HasDefault {
		if f.node.kind == avroUnion && f.node.null >= 0 {
			f.absent = appendLong(nil, int64(f.node.null))
		}
		return nil
	}
	schema, err := s.Type.Schema()
	if err != nil {
		return fmt.Errorf("the default of %q: %w", s.Name, err)
	}
	if f.absent, err = schema.Encode(s.Default); err != nil {
		return fmt.Errorf("the default of %q: %w", s.Name, err)
	}
	if f.absent == nil {
		f.absent = []byte{}
	}
	return nil
}

// The seconds of units.
var avroUnits = map[string]int64{"millis": 1e3, "micros": 1e6, "nanos": 1e9}

// meaning sets the logical type. As the specification asks, one that does not fit
// its type, or is not known, means nothing.
func (n *avroNode) meaning(s *avro.SchemaNode) error {
	name, unit := s.LogicalType, int64(0)
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		if unit = avroUnits[name[i+1:]]; unit != 0 {
			name = name[:i]
		}
	}
	set := func(l avroLogical, fits bool) {
		if fits {
			n.logical, n.unit = l, unit
		}
	}
	switch name {
	case "decimal":
		if n.kind != avroBytes && n.kind != avroFixed {
			return nil
		}
		n.logical, n.precision, n.scale = logicalDecimal, s.Precision, s.Scale
		return n.checkDecimal()
	case "uuid":
		set(logicalUUID, n.kind == avroString || n.kind == avroFixed && n.size == 16)
	case "date":
		set(logicalDate, n.kind == avroInt)
	case "duration":
		set(logicalDuration, n.kind == avroFixed && n.size == 12)
	case "time":
		set(logicalTime, n.kind == avroInt && unit == 1e3 || n.kind == avroLong && unit == 1e6)
	case "timestamp":
		set(logicalTimestamp, n.kind == avroLong && unit != 0)
	case "local-timestamp":
		set(logicalLocal, n.kind == avroLong && unit != 0)
	}
	return nil
}

// maxPrecision bounds the digits of a decimal, whose conversion takes time in
// square.
const maxPrecision = 1000

func (n *avroNode) checkDecimal() error {
	switch {
	case n.precision < 1:
		return errors.New("a decimal needs a precision of at least 1")
	case n.precision > maxPrecision:
		return fmt.Errorf("decimals of more than %d digits are not supported", maxPrecision)
	case n.scale < 0 || n.scale > n.precision:
		return fmt.Errorf("the scale %d of a decimal is not between 0 and its precision %d", n.scale, n.precision)
	case n.kind == avroFixed:
		most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.precision)), nil)
		if bits := most.Sub(most, big.NewInt(1)).BitLen() + 1; bits > 8*n.size {
			return fmt.Errorf("%d digits do not fit %d bytes", n.precision, n.size)
		}
	}
	return nil
}

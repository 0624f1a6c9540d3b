package yamlfile

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// converter turns the parser's tree into ours.
type converter struct {
	src      *source
	anchors  map[string]*Value // nil while the anchored value is being read
	problems []Problem
	fatal    bool
}

func (c *converter) problem(pos Pos, path string, class Class, hint, format string, args ...any) {
	c.problems = append(c.problems, Problem{Pos: pos, Path: path, Class: class, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// failed stands for a value that could not be read; its problem is recorded.
func (c *converter) failed(pos Pos) *Value {
	return &Value{Kind: Null, Pos: pos, Failed: true, size: 1, text: c.src}
}

func (c *converter) null(pos Pos) *Value { return &Value{Kind: Null, Pos: pos, size: 1, text: c.src} }

func (c *converter) convert(n ast.Node, path string, depth int) *Value {
	pos := c.src.clamp(nodePos(n))
	if c.fatal {
		return c.failed(pos)
	}
	if depth > maxDepth {
		c.problems = append(c.problems, *tooDeep(pos, path))
		c.fatal = true
		return c.failed(pos)
	}
	var v *Value
	switch n := n.(type) {
	case *ast.AnchorNode:
		return c.anchor(n, path, depth)
	case *ast.AliasNode:
		v = c.alias(n, path)
	case *ast.TagNode:
		return c.tagged(n, path, depth)
	case *ast.MappingNode:
		v = c.mapping(n.Values, pos, path, depth)
	case *ast.MappingValueNode:
		v = c.mapping([]*ast.MappingValueNode{n}, pos, path, depth)
	case *ast.SequenceNode:
		v = &Value{Kind: List, Pos: pos, size: 1}
		for i, item := range n.Values {
			iv := c.convert(item, Index(path, i), depth+1)
			v.Items = append(v.Items, iv)
			v.size += iv.size
		}
	case *ast.LiteralNode:
		v = c.block(n, pos)
	case *ast.StringNode:
		v = c.scalar(n.Value, pos, styleOf(n.GetToken()))
	case *ast.NullNode:
		v = c.null(pos)
	case ast.ScalarNode:
		v = c.scalar(n.GetToken().Value, pos, stylePlain)
	default:
		c.problem(pos, path, Syntax, "", "this YAML has no place here")
		return c.failed(pos)
	}
	if v.size > maxValues && !c.fatal {
		c.problem(pos, path, TooLarge, "", "the file holds more than %d values, those of aliases counted each time", maxValues)
		c.fatal = true
	}
	return v
}

func (c *converter) scalar(text string, pos Pos, s style) *Value {
	v := &Value{Kind: String, Pos: pos, Text: text, raw: text, style: s, Quoted: s != stylePlain, size: 1, text: c.src}
	if s == stylePlain {
		v.Kind = scalarKind(text)
	}
	return v
}

func (c *converter) block(n *ast.LiteralNode, pos Pos) *Value {
	text := ""
	if n.Value != nil {
		text = n.Value.Value
	}
	return c.scalar(text, pos, styleBlock)
}

func (c *converter) anchor(n *ast.AnchorNode, path string, depth int) *Value {
	name := ""
	if n.Name != nil {
		name = n.Name.GetToken().Value
	}
	c.anchors[name] = nil
	if n.Value == nil {
		c.anchors[name] = c.null(c.src.clamp(nodePos(n)))
		return c.anchors[name]
	}
	v := c.convert(n.Value, path, depth+1)
	c.anchors[name] = v
	return v
}

func (c *converter) alias(n *ast.AliasNode, path string) *Value {
	pos := c.src.clamp(nodePos(n))
	name := ""
	if n.Value != nil {
		name = n.Value.GetToken().Value
	}
	v, ok := c.anchors[name]
	switch {
	case !ok:
		c.problem(pos, path, Alias, "an anchor is written &NAME, before its aliases", "there is no anchor %q before this alias", name)
	case v == nil:
		c.problem(pos, path, Alias, "", "the anchor %q would contain itself", name)
	default:
		return v
	}
	return c.failed(pos)
}

// tagged knows the tags of YAML's core schema.
func (c *converter) tagged(n *ast.TagNode, path string, depth int) *Value {
	pos := c.src.clamp(nodePos(n))
	tag := ""
	if n.Start != nil {
		tag = n.Start.Value
	}
	if n.Value == nil {
		return c.null(pos)
	}
	v := c.convert(n.Value, path, depth+1)
	kinds := map[string]Kind{"null": Null, "bool": Bool, "int": Int, "float": Float, "str": String, "seq": List, "map": Map}
	want, ok := kinds[trimTag(tag)]
	if !ok {
		c.problem(pos, path, Syntax, "", "the tag %q has no meaning here", tag)
		return c.failed(pos)
	}
	scalar := v.Kind != List && v.Kind != Map
	switch {
	case want == String && scalar:
		s := *v
		s.Kind, s.Quoted = String, true
		return &s
	case scalar && scalarKind(v.Text) == want, v.Kind == want, want == Float && scalar && scalarKind(v.Text) == Int:
		s := *v
		s.Kind = want
		return &s
	}
	c.problem(pos, path, Syntax, "", "the value is not what its tag %q says", tag)
	return c.failed(pos)
}

func (c *converter) mapping(pairs []*ast.MappingValueNode, pos Pos, path string, depth int) *Value {
	v := &Value{Kind: Map, Pos: pos, size: 1}
	own := make(map[string]Pos)
	var merges []*Value
	for _, pair := range pairs {
		keyPos := c.src.clamp(nodePos(pair.Key))
		if _, ok := pair.Key.(*ast.MergeKeyNode); ok {
			merges = append(merges, c.mergeSources(c.convert(pair.Value, path, depth+1), keyPos, path)...)
			continue
		}
		key, ok := keyText(pair.Key)
		if !ok {
			c.problem(keyPos, path, Syntax, "", "a key must be a plain word or a quoted string")
			continue
		}
		if len(key) > maxKey {
			c.problem(keyPos, path, TooLarge, "", "a key has at most %d bytes, this has %d", maxKey, len(key))
			continue
		}
		keyPath := Key(path, key)
		value := c.convert(pair.Value, keyPath, depth+1)
		if first, ok := own[key]; ok {
			c.problem(keyPos, keyPath, Duplicate, fmt.Sprintf("it stands at %d:%d already", first.Line, first.Column), "%q is set twice", key)
			continue
		}
		own[key] = keyPos
		v.Entries = append(v.Entries, Entry{Key: key, KeyPos: keyPos, Value: value})
		v.size += value.size
	}
	for _, m := range merges {
		for _, e := range m.Entries {
			if _, ok := own[e.Key]; ok {
				continue
			}
			own[e.Key] = e.KeyPos
			e.Merged = true
			v.Entries = append(v.Entries, e)
			v.size += e.Value.size
		}
	}
	return v
}

// mergeSources returns the maps that a merge key names.
func (c *converter) mergeSources(v *Value, pos Pos, path string) []*Value {
	list := []*Value{v}
	if v.Kind == List {
		list = v.Items
	}
	for _, m := range list {
		if m.Kind != Map {
			if !m.Failed {
				c.problem(pos, path, Alias, "write <<: *ANCHOR", "a merge key takes a map or a list of maps")
			}
			return nil
		}
	}
	return list
}

func keyText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.MappingKeyNode:
		return keyText(n.Value)
	case *ast.AnchorNode:
		return keyText(n.Value)
	case *ast.StringNode:
		return n.Value, true
	case *ast.NullNode:
		return "", false
	case ast.ScalarNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

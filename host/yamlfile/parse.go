package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. A pipeline of a thousand nodes is far below all of them.
const (
	MaxSize   = 1 << 20
	maxLine   = 64 << 10
	maxTokens = 40_000
	maxDepth  = 32
	maxKey    = 200
	maxValues = 20_000
)

// Class says what a Problem is about.
type Class int

// The classes of a problem.
const (
	// Syntax: the text is not YAML, or YAML that has no place here.
	Syntax Class = iota
	// NotText: the file is not text at all.
	NotText
	// Empty: the file holds no value.
	Empty
	// TooLarge: the file passes a bound.
	TooLarge
	// Documents: the file holds several documents.
	Documents
	// Duplicate: a key stands twice in a map.
	Duplicate
	// Alias: an alias or a merge key that cannot be followed.
	Alias
	// Reference: a ${...} that is malformed or stands where none may.
	Reference
	// Unset: a variable without a value and without a default.
	Unset
	// File: the file of a ${file:...} cannot be read.
	File
)

// Problem is one thing wrong with the file.
type Problem struct {
	Pos           Pos
	Path          string
	Class         Class
	Message, Hint string
}

// Parse reads one document. The value is nil where a problem keeps it from
// being read at all.
func Parse(data []byte) (*Value, []Problem) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	src := newSource(data)
	if p := checkText(src, data); p != nil {
		return nil, []Problem{*p}
	}
	file, p := parseAST(src)
	if p != nil {
		return nil, []Problem{*p}
	}
	body, p := onlyDocument(file)
	if p != nil {
		return nil, []Problem{*p}
	}
	c := &converter{src: src, anchors: make(map[string]*Value)}
	v := c.convert(body, "", 0)
	if c.fatal {
		v = nil
	}
	return v, c.problems
}

// checkText refuses what no YAML parser needs to see.
func checkText(src *source, data []byte) *Problem {
	if len(data) > MaxSize {
		return &Problem{Pos: Pos{1, 1}, Class: TooLarge,
			Message: fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), MaxSize)}
	}
	for line := range src.lines {
		if n := src.lineEnd(line+1) - src.lines[line]; n > maxLine {
			return &Problem{Pos: Pos{line + 1, 1}, Class: TooLarge, Message: fmt.Sprintf("the line has %d bytes; at most %d are read", n, maxLine)}
		}
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return &Problem{Pos: src.pos(i), Class: NotText,
				Message: fmt.Sprintf("this is not a text file: byte 0x%02x has no place in UTF-8 text", data[i])}
		}
		i += n
	}
	return nil
}

// parseAST runs the YAML parser between two fences: bounds that keep its
// recursion and its run time small, and a recover that turns a defect of it
// into a message.
func parseAST(src *source) (file *ast.File, problem *Problem) {
	defer func() {
		if r := recover(); r != nil {
			file, problem = nil, &Problem{Pos: Pos{1, 1}, Class: Syntax, Message: fmt.Sprintf("the YAML parser gave up on this file: %v", r)}
		}
	}()
	tokens := lexer.Tokenize(string(src.data))
	if p := checkTokens(tokens); p != nil {
		return nil, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, nil
	}
	p := Problem{Pos: Pos{1, 1}, Class: Syntax, Message: "not valid YAML: " + err.Error()}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		p.Message = "not valid YAML: " + syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			p.Pos = src.clamp(Pos{syntax.Token.Position.Line, syntax.Token.Position.Column})
			if src.inReference(p.Pos) {
				p.Hint = `inside { } and [ ] a reference needs quotes: "${NAME}"`
			}
		}
	}
	return nil, &p
}

// checkTokens bounds the depth to which the parser will go.
func checkTokens(tokens token.Tokens) *Problem {
	if len(tokens) > maxTokens {
		return &Problem{Pos: tokenPos(tokens[maxTokens]), Class: TooLarge,
			Message: fmt.Sprintf("the file is too long: it has %d YAML tokens, at most %d are read", len(tokens), maxTokens)}
	}
	flow, line, onLine := 0, 0, 0
	for _, t := range tokens {
		if p := tokenPos(t); p.Line != line {
			line, onLine = p.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
			if flow <= 0 {
				onLine++
			}
		}
		if t.Type == token.MappingValueType && t.Prev != nil && len(t.Prev.Value) > maxKey {
			return &Problem{Pos: tokenPos(t.Prev), Class: TooLarge, Message: fmt.Sprintf("a key has at most %d bytes, this has %d", maxKey, len(t.Prev.Value))}
		}
		if flow > maxDepth || onLine > maxDepth {
			return tooDeep(tokenPos(t), "")
		}
	}
	return nil
}

func tooDeep(pos Pos, path string) *Problem {
	return &Problem{Pos: pos, Path: path, Class: TooLarge, Message: fmt.Sprintf("nested more than %d deep", maxDepth)}
}

// onlyDocument returns the body of the one document of a file.
func onlyDocument(file *ast.File) (ast.Node, *Problem) {
	var body ast.Node
	for _, d := range file.Docs {
		if d == nil || d.Body == nil {
			continue
		}
		switch d.Body.Type() {
		case ast.DirectiveType, ast.CommentType:
			continue
		case ast.NullType:
			if body != nil || d.Body.GetToken() == nil || d.Body.GetToken().Value == "" {
				continue
			}
		}
		if body != nil {
			pos := nodePos(d.Body)
			if d.Start != nil {
				pos = tokenPos(d.Start)
			}
			return nil, &Problem{Pos: pos, Class: Documents, Message: "a second YAML document begins here"}
		}
		body = d.Body
	}
	if body == nil || body.Type() == ast.NullType {
		return nil, &Problem{Pos: Pos{1, 1}, Class: Empty, Message: "the file is empty"}
	}
	return body, nil
}

// tokenPos is the position of a token; the parser makes up tokens without one.
func tokenPos(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{1, 1}
	}
	return Pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// nodePos is where a node begins, which for a block mapping is its first key.
func nodePos(n ast.Node) Pos {
	switch n := n.(type) {
	case nil:
		return Pos{1, 1}
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return nodePos(n.Values[0])
		}
	case *ast.MappingValueNode:
		if n.Key != nil {
			return nodePos(n.Key)
		}
	}
	return tokenPos(n.GetToken())
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }

func trimTag(s string) string { return strings.TrimPrefix(s, "!!") }

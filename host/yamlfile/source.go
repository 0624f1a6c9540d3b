package yamlfile

import (
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// source is the file's text with an index of its lines.
type source struct {
	data  []byte
	lines []int // offset of each line
}

func newSource(data []byte) *source {
	s := &source{data: data, lines: []int{0}}
	for i, b := range data {
		if b == '\n' || b == '\r' && (i+1 == len(data) || data[i+1] != '\n') {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// pos is the position of a byte.
func (s *source) pos(offset int) Pos {
	line := sort.SearchInts(s.lines, offset+1) - 1
	return Pos{line + 1, utf8.RuneCount(s.data[s.lines[line]:offset]) + 1}
}

// offset is the byte at a position.
func (s *source) offset(p Pos) int {
	i, end := s.lines[p.Line-1], s.lineEnd(p.Line)
	for c := 1; c < p.Column && i < end; c++ {
		_, n := utf8.DecodeRune(s.data[i:])
		i += n
	}
	return i
}

// lineEnd is the offset just behind a line's last character.
func (s *source) lineEnd(line int) int {
	end := len(s.data)
	if line < len(s.lines) {
		end = s.lines[line]
	}
	for end > s.lines[line-1] && (s.data[end-1] == '\n' || s.data[end-1] == '\r') {
		end--
	}
	return end
}

// clamp moves a position that the parser made up onto the file.
func (s *source) clamp(p Pos) Pos {
	p.Line = min(max(p.Line, 1), len(s.lines))
	width := utf8.RuneCount(s.data[s.lines[p.Line-1]:s.lineEnd(p.Line)])
	p.Column = min(max(p.Column, 1), width+1)
	return p
}

// inReference says whether a ${ begins just before or around a position.
func (s *source) inReference(p Pos) bool {
	i := s.offset(p)
	line := string(s.data[s.lines[p.Line-1]:min(i+2, s.lineEnd(p.Line))])
	open := strings.LastIndex(line, "${")
	return open >= 0 && !strings.Contains(line[open:], "}")
}

// style is how a scalar is written.
type style int

const (
	stylePlain style = iota
	styleSingle
	styleDouble
	styleBlock
)

func styleOf(t *token.Token) style {
	switch {
	case t == nil:
		return stylePlain
	case t.Type == token.SingleQuoteType:
		return styleSingle
	case t.Type == token.DoubleQuoteType:
		return styleDouble
	}
	return stylePlain
}

// At is the place in the file of a byte of a scalar's Text. A place inside what
// a reference stood for is that of the reference.
func (v *Value) At(offset int) Pos {
	if v.text == nil || offset <= 0 && v.style == stylePlain {
		return v.Pos
	}
	offset = min(max(offset, 0), len(v.Text))
	at := offset
	for _, s := range v.spans {
		if offset < s.end || s.end == len(v.Text) {
			at = s.raw
			if s.literal {
				at += offset - s.start
			}
			break
		}
	}
	if i, ok := v.locate(min(at, len(v.raw))); ok {
		return v.text.pos(i)
	}
	return v.Pos
}

// locate walks a scalar's text and the file side by side up to a byte of the
// text: quotes, escapes, indentation and folded lines are in the file only.
func (v *Value) locate(target int) (int, bool) {
	data := v.text.data
	j := v.text.offset(v.Pos)
	switch v.style {
	case styleSingle, styleDouble:
		j++
	case styleBlock:
		if v.Pos.Line >= len(v.text.lines) {
			return 0, false
		}
		j = v.text.lines[v.Pos.Line]
	}
	for i := 0; ; {
		if i == len(v.raw) {
			return j, j <= len(data)
		}
		r, n := utf8.DecodeRuneInString(v.raw[i:])
		start, width, ok := v.match(j, r)
		if !ok {
			return 0, false
		}
		if i+n > target {
			return start, true
		}
		i, j = i+n, start+width
	}
}

// match finds the character r of the text at or after the file's byte j: where
// it begins and how many bytes it takes.
func (v *Value) match(j int, r rune) (start, width int, ok bool) {
	data := v.text.data
	for j < len(data) {
		c, n := utf8.DecodeRune(data[j:])
		switch {
		case v.style == styleDouble && c == '\\':
			n = escapeLen(data[j:])
			if n == 0 { // a line continuation stands for nothing
				j += 2
				continue
			}
			return j, n, j+n <= len(data)
		case v.style == styleSingle && c == '\'' && r == '\'':
			return j, 2, j+2 <= len(data)
		case c == r:
			return j, n, true
		case r == ' ' && c == '\n':
			return j, n, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			j += n
		default:
			return 0, 0, false
		}
	}
	return 0, 0, false
}

// escapeLen is the length of the escape that b begins with, 0 for an escaped
// line break.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch b[1] {
	case '\n', '\r':
		return 0
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}

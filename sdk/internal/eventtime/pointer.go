package eventtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// pointer is a JSON pointer (RFC 6901), its steps unescaped.
type pointer [][]byte

func parsePointer(s string) pointer {
	var p pointer
	for step := range strings.SplitSeq(strings.TrimPrefix(s, "/"), "/") {
		p = append(p, []byte(strings.NewReplacer("~1", "/", "~0", "~").Replace(step)))
	}
	return p
}

var (
	errNotJSON = errors.New("the value is not JSON")
	errNoField = errors.New("there is no such field")
)

// find returns the scalar that p points to as it is written, strings with their
// quotes. It reads no further than that, and no deeper than it must: what follows
// is not checked to be JSON. Of a key that is there twice the first counts.
func (p pointer) find(doc []byte) ([]byte, error) {
	s := scanner{doc: doc}
	for _, step := range p {
		s.space()
		var err error
		switch s.peek() {
		case '{':
			err = s.enterObject(step)
		case '[':
			err = s.enterArray(step)
		case 0:
			err = errNotJSON
		default:
			err = errNoField
		}
		if err != nil {
			return nil, err
		}
	}
	s.space()
	start := s.at
	if c := s.peek(); c == '{' || c == '[' {
		return nil, errors.New("it is an object or an array")
	}
	if !s.skip() {
		return nil, errNotJSON
	}
	return doc[start:s.at], nil
}

// scanner goes through a document.
type scanner struct {
	doc []byte
	at  int
}

// peek is the byte at hand, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.doc) {
		return s.doc[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.doc) {
		switch s.doc[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// next takes c, behind blanks.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// enterObject goes to the value under a key.
func (s *scanner) enterObject(key []byte) error {
	s.at++
	if s.next('}') {
		return errNoField
	}
	for {
		s.space()
		start := s.at
		if s.peek() != '"' || !s.skip() {
			return errNotJSON
		}
		name := s.doc[start+1 : s.at-1]
		if !s.next(':') {
			return errNotJSON
		}
		if sameString(name, key) {
			return nil
		}
		s.space()
		if !s.skip() {
			return errNotJSON
		}
		if s.next('}') {
			return errNoField
		}
		if !s.next(',') {
			return errNotJSON
		}
	}
}

// sameString compares what stands between quotes with a text.
func sameString(quoted, text []byte) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return bytes.Equal(quoted, text)
	}
	var s string
	err := json.Unmarshal(append(append([]byte{'"'}, quoted...), '"'), &s)
	return err == nil && s == string(text)
}

// enterArray goes to an element.
func (s *scanner) enterArray(step []byte) error {
	index, err := strconv.ParseUint(string(step), 10, 31)
	if err != nil || len(step) > 1 && step[0] == '0' {
		return errNoField
	}
	s.at++
	if s.next(']') {
		return errNoField
	}
	for ; ; index-- {
		if index == 0 {
			return nil
		}
		s.space()
		if !s.skip() {
			return errNotJSON
		}
		if s.next(']') {
			return errNoField
		}
		if !s.next(',') {
			return errNotJSON
		}
	}
}

// skip goes behind the value at hand. Of objects and arrays it looks at brackets
// and strings alone.
func (s *scanner) skip() bool {
	switch s.peek() {
	case '"':
		return s.skipString()
	case '{', '[':
		depth := 0
		for s.at < len(s.doc) {
			switch s.doc[s.at] {
			case '"':
				if !s.skipString() {
					return false
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					s.at++
					return true
				}
			}
			s.at++
		}
		return false
	}
	start := s.at
	for s.at < len(s.doc) {
		switch s.doc[s.at] {
		case ',', '}', ']', ' ', '\t', '\n', '\r', ':', '"', '{', '[':
			return s.at > start
		}
		s.at++
	}
	return s.at > start
}

func (s *scanner) skipString() bool {
	for from := s.at + 1; ; {
		i := bytes.IndexByte(s.doc[from:], '"')
		if i < 0 {
			return false
		}
		end := from + i
		// Escaped where an odd number of backslashes stands before it.
		slashes := 0
		for b := end - 1; b > s.at && s.doc[b] == '\\'; b-- {
			slashes++
		}
		from = end + 1
		if slashes%2 == 0 {
			s.at = from
			return true
		}
	}
}

package coordination

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckPath returns ErrInvalid, with the reason, unless path can name a record:
// one or more parts joined by single slashes, valid UTF-8, at most MaxPath bytes,
// no part "." or "..", and no character that ZooKeeper refuses: control and
// private-use characters and those above U+FFEF, emoji among them.
func CheckPath(path string) error {
	if path == "" {
		return fmt.Errorf("%w: empty path", ErrInvalid)
	}
	if len(path) > MaxPath {
		return fmt.Errorf("%w: path of %d bytes, at most %d are allowed", ErrInvalid, len(path), MaxPath)
	}
	if !utf8.ValidString(path) {
		return fmt.Errorf("%w: path %q is not valid UTF-8", ErrInvalid, path)
	}
	for _, r := range path {
		if unicode.In(r, unicode.Cc, unicode.Co) || r >= 0xFFF0 {
			return fmt.Errorf("%w: path %q holds the character %U", ErrInvalid, path, r)
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "":
			return fmt.Errorf("%w: path %q has an empty part", ErrInvalid, path)
		case ".", "..":
			return fmt.Errorf("%w: path %q has a part %q", ErrInvalid, path, part)
		}
	}
	return nil
}

// Split parts a path into its parent ("" for the root) and its last name.
func Split(path string) (parent, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

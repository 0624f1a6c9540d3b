// Package secret keeps the secrets of pipelines out of what the host says and
// writes: a plugin that was given one may repeat it in an error, a log line or a
// panic.
package secret

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Redacted stands where a secret was.
const Redacted = "[secret]"

const (
	// Shortest is the length from which a secret is looked for: a shorter one would
	// be found in ordinary words.
	Shortest = 4
	// shortestLine is that for one line of a secret of several.
	shortestLine = 8
)

// Mask hides the secrets that were added to it. The zero value hides none yet, and nil
// never does. All methods may be called concurrently.
type Mask struct {
	mu     sync.Mutex
	values []string
	all    atomic.Pointer[strings.Replacer] // nil while there are none
}

// Add makes the mask hide these values too, as they are and as they look in quotes;
// of one with several lines also each line, since a log is written line by line.
func (m *Mask) Add(values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.values)
	add := func(s string, least int) {
		if len(s) >= least && !slices.Contains(m.values, s) {
			m.values = append(m.values, s)
		}
	}
	for _, v := range values {
		v = strings.TrimSpace(v)
		add(v, Shortest)
		quoted := strconv.Quote(v)
		add(quoted[1:len(quoted)-1], Shortest)
		if !strings.Contains(v, "\n") {
			continue
		}
		for line := range strings.Lines(v) {
			// The frame of a PEM block tells nothing.
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				add(line, shortestLine)
			}
		}
	}
	if len(m.values) == before {
		return
	}
	// A replacer takes the first that fits: long ones come first.
	slices.SortFunc(m.values, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, v := range m.values {
		pairs = append(pairs, v, Redacted)
	}
	m.all.Store(strings.NewReplacer(pairs...))
}

// String tells nothing, for a mask that is printed by accident.
func (m *Mask) String() string { return Redacted }

// GoString tells nothing either.
func (m *Mask) GoString() string { return Redacted }

// Text returns a text without the secrets.
func (m *Mask) Text(s string) string {
	if m == nil {
		return s
	}
	if r := m.all.Load(); r != nil {
		return r.Replace(s)
	}
	return s
}

// Bytes is Text for bytes; nil stays nil.
func (m *Mask) Bytes(b []byte) []byte {
	if m == nil || m.all.Load() == nil || b == nil {
		return b
	}
	return []byte(m.Text(string(b)))
}

// Error returns an error that says the same without the secrets, and wraps err; err
// itself where it tells none.
func (m *Mask) Error(err error) error {
	if err == nil {
		return nil
	}
	if said := err.Error(); m.Text(said) != said {
		return &masked{err, m}
	}
	return err
}

// masked is an error that told a secret.
type masked struct {
	err  error
	mask *Mask
}

func (e *masked) Error() string { return e.mask.Text(e.err.Error()) }
func (e *masked) Unwrap() error { return e.err }

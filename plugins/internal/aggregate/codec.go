package aggregate

import (
	"strings"

	"github.com/weirstream/weir/sdk"
)

// Encoding says how the set's states are encoded: sets of which it differs cannot
// read each other's.
func (s *Set) Encoding() string {
	var b strings.Builder
	for i, it := range s.items {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(it.name + "=" + it.does.String())
	}
	return b.String()
}

// Codec returns the codec of states of the set. What it decodes is one state, made
// anew by each call.
func (s *Set) Codec() sdk.Codec[*State] { return &codec{set: s} }

type codec struct {
	set   *Set
	state State
}

func (c *codec) Name() string { return "aggregates " + c.set.Encoding() }

func (c *codec) Append(b []byte, st *State) ([]byte, error) { return c.set.Append(b, st), nil }

func (c *codec) Decode(b []byte) (*State, error) { return &c.state, c.set.Read(&c.state, b) }

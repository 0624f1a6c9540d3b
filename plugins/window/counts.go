package window

import (
	"encoding/binary"
	"slices"

	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
)

// counts are windows of so many records of a key, in the order in which they come.
type counts struct {
	*operator
	size  uint64
	state *sdk.ValueState[counted]
}

// counted is the window that is being filled. first and last are the least and the
// greatest of its records' times.
type counted struct {
	n           uint64
	first, last int64
	state       []byte
}

func countCodec(set *aggregate.Set) sdk.Codec[counted] {
	return codec[counted]{
		name: "counted " + set.Encoding(),
		append: func(b []byte, c counted) []byte {
			for _, v := range [...]uint64{c.n, uint64(c.first), uint64(c.last)} {
				b = binary.LittleEndian.AppendUint64(b, v)
			}
			return append(b, c.state...)
		},
		decode: func(b []byte) (counted, error) {
			if len(b) < 24 {
				return counted{}, errShort
			}
			u := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
			return counted{u(0), int64(u(8)), int64(u(16)), slices.Clone(b[24:])}, nil
		},
	}
}

// add implements [windows].
func (c *counts) add(at int64, in *aggregate.Inputs, out *sdk.Collector) (late bool, err error) {
	w, known := c.state.Get()
	if known {
		err = c.set.Read(&c.scratch, w.state)
	} else {
		c.set.Reset(&c.scratch)
		w.first, w.last = at, at
		// What is left at the end of input is a window too.
		c.task.SetTimer(sdk.EventTime, sdk.EndOfTime(), tagFire)
	}
	if err != nil {
		return false, err
	}
	c.set.Add(&c.scratch, in, c.into(0))
	w.n, w.first, w.last = w.n+1, min(w.first, at), max(w.last, at)
	if w.n < c.size {
		c.buf = c.set.Append(c.buf[:0], &c.scratch)
		w.state = c.buf
		c.state.Set(w)
		return false, nil
	}
	c.task.DeleteTimer(sdk.EventTime, sdk.EndOfTime(), tagFire)
	return false, c.done(w, out)
}

// done sends the window, whose aggregates are in scratch, and begins anew.
func (c *counts) done(w counted, out *sdk.Collector) error {
	err := c.send(c.result(w), nil, out)
	c.state.Clear()
	if c.set.Bags() {
		c.bag(0).move(nil)
	}
	return err
}

func (c *counts) result(w counted) *result {
	r := &result{time: sdk.UnixNano(w.last), state: &c.scratch, bag: c.bag(0)}
	if !sdk.UnixNano(w.first).IsZero() {
		r.start, r.end = w.first, w.last
	}
	return r
}

// fire implements [windows].
func (c *counts) fire(_ sdk.Timer, out *sdk.Collector) error {
	w, known := c.state.Get()
	if !known {
		return nil
	}
	if err := c.set.Read(&c.scratch, w.state); err != nil {
		return err
	}
	return c.done(w, out)
}

// open implements [windows].
func (c *counts) open(yield func(*result) error) error {
	w, known := c.state.Get()
	if !known {
		return nil
	}
	if err := c.set.Read(&c.scratch, w.state); err != nil {
		return err
	}
	return yield(c.result(w))
}

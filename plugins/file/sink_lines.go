package file

import (
	"bytes"
	"context"
	"errors"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/format"
)

var (
	errNewline = errors.New("the value contains a newline, which a line cannot hold")
	errNull    = errors.New("the value is null, which a line cannot hold")
)

// lineBuffer gathers values as lines, for few and large writes. It is made when
// the first come.
type lineBuffer struct {
	b       []byte
	encoder format.Encoder // nil: values are lines
	encoded []byte         // scratch
}

// bufferSize is how much is written at once.
const bufferSize = 1 << 20

// add puts all values of a column of n records behind each other, one a line.
// write takes what is gathered whenever that is much; it must not keep it. What a
// line cannot hold goes to fail instead.
func (l *lineBuffer) add(c sdk.Column, n int, write func([]byte) error, fail func(i int, err error)) error {
	if l.b == nil {
		l.b = make([]byte, 0, bufferSize)
	}
	if l.encoder != nil {
		return l.addEncoded(c, n, write, fail)
	}
	if c.Ends == nil {
		return l.addConstant(c, n, write, fail)
	}
	clean := c.Nulls == nil && bytes.IndexByte(c.Data, '\n') < 0
	b, start := l.b, 0
	for i, end := range c.Ends {
		v := c.Data[start:end]
		start = int(end)
		if !clean {
			if err := unfit(c, i, v); err != nil {
				fail(i, err)
				continue
			}
		}
		if len(v) < cap(b)-len(b) {
			b = append(append(b, v...), '\n')
			continue
		}
		l.b = b
		if err := l.put(v, write); err != nil {
			return err
		}
		b = l.b
	}
	l.b = b
	return nil
}

// addConstant adds n times the same value.
func (l *lineBuffer) addConstant(c sdk.Column, n int, write func([]byte) error, fail func(i int, err error)) error {
	bad := unfit(c, 0, c.Data)
	for i := range n {
		if bad != nil {
			fail(i, bad)
		} else if err := l.put(c.Data, write); err != nil {
			return err
		}
	}
	return nil
}

// addEncoded adds what the encoder makes of values.
func (l *lineBuffer) addEncoded(c sdk.Column, n int, write func([]byte) error, fail func(i int, err error)) error {
	v, start := c.Data, uint32(0)
	for i := range n {
		if c.Ends != nil {
			v, start = c.Data[start:c.Ends[i]], c.Ends[i]
		}
		if null(c, i) {
			fail(i, errNull)
			continue
		}
		// The formats of files ask nobody, so that there is nothing to wait for.
		encoded, err := l.encoder.Encode(context.Background(), l.encoded[:0], v)
		if err != nil {
			fail(i, err)
			continue
		}
		l.encoded = encoded
		if err := l.put(encoded, write); err != nil {
			return err
		}
	}
	return nil
}

// prefix puts something in front of the first line.
func (l *lineBuffer) prefix(p []byte) {
	if len(p) > 0 {
		l.b = append(make([]byte, 0, bufferSize), p...)
	}
}

// put adds one line, whatever its length.
func (l *lineBuffer) put(v []byte, write func([]byte) error) error {
	if len(v) >= cap(l.b)-len(l.b) {
		if err := l.flush(write); err != nil {
			return err
		}
	}
	if len(v) >= cap(l.b) {
		if err := write(v); err != nil {
			return err
		}
		v = nil
	}
	l.b = append(append(l.b, v...), '\n')
	return nil
}

// flush writes what is gathered.
func (l *lineBuffer) flush(write func([]byte) error) error {
	if len(l.b) == 0 {
		return nil
	}
	err := write(l.b)
	l.b = l.b[:0]
	return err
}

// null says whether value i is null.
func null(c sdk.Column, i int) bool {
	return c.Ends == nil && c.Data == nil || c.Nulls != nil && c.Nulls[i/8]&(1<<(i%8)) != 0
}

// unfit says why a value cannot be a line.
func unfit(c sdk.Column, i int, v []byte) error {
	switch {
	case null(c, i):
		return errNull
	case bytes.IndexByte(v, '\n') >= 0:
		return errNewline
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"slices"
	"unicode/utf8"

	"github.com/weirstream/weir/sdk"
)

func upperComponent() sdk.Component {
	return sdk.NewOperator("upper", "Turns the letters of values into capitals.",
		func(context.Context, *struct{}, *sdk.Task) (upper, error) { return upper{}, nil },
		sdk.PreservesOrder(), sdk.PreservesKey())
}

type upper struct{}

// Process writes each value straight into the column that leaves, so that it
// neither allocates nor copies.
func (upper) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		value := r.Value()
		if value == nil {
			out.Forward(r)
			continue
		}
		buf := slices.Grow(out.AvailableBuffer(), len(value))[:len(value)]
		if upperASCII(buf, value) {
			out.Emit(r, buf)
		} else {
			out.Emit(r, bytes.ToUpper(value))
		}
	}
	return nil
}

func (upper) Close() error { return nil }

// upperASCII writes value to dst, which is as long, and reports whether it was
// ASCII throughout.
func upperASCII(dst, value []byte) bool {
	for i, c := range value {
		if c >= utf8.RuneSelf {
			return false
		}
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst[i] = c
	}
	return true
}

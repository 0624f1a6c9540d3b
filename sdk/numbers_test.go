package sdk_test

import (
	"context"
	"io"
	"strconv"

	"github.com/weirstream/weir/sdk"
)

// numbers is a source of the numbers from 0 to n-1.
type numbers struct{ n int }

func (s *numbers) Splits(context.Context) ([]sdk.Split[string], bool, error) {
	return []sdk.Split[string]{{ID: "all"}}, false, nil
}

func (s *numbers) Open(_ context.Context, _ sdk.Split[string], from *int) (sdk.Reader[int], error) {
	r := &numberReader{n: s.n}
	if from != nil {
		r.next = *from
	}
	return r, nil
}

func (s *numbers) Close() error { return nil }

type numberReader struct{ next, n int }

func (r *numberReader) Read(_ context.Context, out *sdk.Collector) (int, error) {
	for ; r.next < r.n && !out.Full(); r.next++ {
		out.Append(sdk.Row{Value: strconv.AppendInt(out.AvailableBuffer(), int64(r.next), 10), Origin: int64(r.next)})
	}
	if r.next == r.n {
		return r.next, io.EOF
	}
	return r.next, nil
}

func (r *numberReader) Close() error { return nil }

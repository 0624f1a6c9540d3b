// Package testio holds the two components that stand in for sources and sinks
// while a pipeline is tested: one reads the records of a test case from a file,
// the other writes what reaches it to a file. Both have records as JSON lines (see
// package exchange), so that keys, times, headers and nulls are kept.
package testio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/sdk"
)

// Names of the plugin and of its components.
const (
	Plugin = "weir-test"
	Input  = "input"
	Output = "output"
)

type config struct {
	Path string `weir:"path,required" doc:"The file, records as JSON lines."`
}

// Serve serves the components as a plugin.
func Serve(version string) {
	sdk.Serve(sdk.Plugin{Name: Plugin, Version: version}, Components()...)
}

// Components are the source and the sink.
func Components() []sdk.Component {
	return []sdk.Component{
		sdk.NewSource(Input, "Reads the records of a test case.",
			func(_ context.Context, cfg *config, _ *sdk.Task) (*source, error) { return &source{cfg.Path}, nil },
			sdk.Bounded()),
		sdk.NewSink(Output, "Keeps what reaches it, for a test to look at.",
			func(_ context.Context, cfg *config, _ *sdk.Task) (*sink, error) { return create(cfg.Path) },
			sdk.SingleTask(), sdk.Local()),
	}
}

type source struct{ path string }

// position is the number of records that have been read.
type position int

// Splits implements [sdk.Source]: the file is the one split.
func (s *source) Splits(context.Context) ([]sdk.Split[struct{}], bool, error) {
	return []sdk.Split[struct{}]{{ID: "case"}}, false, nil
}

// Open implements [sdk.Source].
func (s *source) Open(_ context.Context, _ sdk.Split[struct{}], from *position) (sdk.Reader[position], error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	records, err := exchange.Read(f, exchange.JSONLines)
	if err != nil {
		return nil, sdk.Fatal(fmt.Errorf("%s: %w", s.path, err))
	}
	r := &reader{records: records}
	if from != nil {
		r.next = min(int(*from), len(records))
	}
	return r, nil
}

// Close implements [sdk.Source].
func (s *source) Close() error { return nil }

type reader struct {
	records []exchange.Record
	next    int
}

// Read implements [sdk.Reader].
func (r *reader) Read(_ context.Context, out *sdk.Collector) (position, error) {
	for ; r.next < len(r.records) && !out.Full(); r.next++ {
		rec := r.records[r.next]
		row := sdk.Row{Key: rec.Key, Value: rec.Value, Time: sdk.UnixNano(rec.Time), Origin: int64(r.next)}
		for _, h := range rec.Headers {
			row.Headers = row.Headers.Add(h.Name, h.Value)
		}
		out.Append(row)
	}
	if r.next == len(r.records) {
		return position(r.next), io.EOF
	}
	return position(r.next), nil
}

// Close implements [sdk.Reader].
func (r *reader) Close() error { return nil }

type sink struct {
	file *os.File
	out  *bufio.Writer
	line []byte
}

// create begins the file anew: a test that fails is not resumed.
func create(path string) (*sink, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	return &sink{file: f, out: bufio.NewWriter(f)}, nil
}

// Write implements [sdk.Sink].
func (s *sink) Write(_ context.Context, in *sdk.Batch, _ *sdk.Collector) error {
	for r := range in.All() {
		rec := exchange.Record{Key: r.Key(), Value: r.Value(), Time: r.Time().UnixNano()}
		for name, value := range r.Headers().All() {
			rec.Headers = append(rec.Headers, exchange.Header{Name: name, Value: value})
		}
		s.line = append(exchange.Append(s.line[:0], rec), '\n')
		if _, err := s.out.Write(s.line); err != nil {
			return err
		}
	}
	return nil
}

// Flush implements [sdk.Sink].
func (s *sink) Flush(context.Context) error { return s.out.Flush() }

// Close implements [sdk.Sink].
func (s *sink) Close() error { return errors.Join(s.out.Flush(), s.file.Close()) }

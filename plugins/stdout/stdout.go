// Package stdout is a sink that writes records to the standard output of the
// host that runs the pipeline: for looking at what comes out.
package stdout

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"unicode/utf8"

	"github.com/weirstream/weir/sdk"
)

// Config is the sink's configuration.
type Config struct {
	Format string `weir:"format" default:"lines" enum:"lines,json" doc:"lines: the value and a newline. json: an object with key, value, time and headers."`
}

// Sink returns the component.
func Sink() sdk.Component {
	return sdk.NewSink("stdout", "Writes records to the standard output of weir.",
		func(_ context.Context, cfg *Config, _ *sdk.Task) (*sink, error) { return open(cfg) },
		sdk.SingleTask(), sdk.Local(),
		sdk.Example("Records as JSON", "format: json\n"))
}

// envStdout names the file that the host lends: the plugin's own standard output
// belongs to the host's conversation with it.
const envStdout = "WEIR_STDOUT_FD"

func open(cfg *Config) (*sink, error) {
	fd, err := strconv.Atoi(os.Getenv(envStdout))
	if err != nil {
		return nil, sdk.Fatal(errors.New("the host lends its standard output to no plugin here (it does in `weir run`, except on Windows)"))
	}
	// Each instance has a file of its own over the number that all share, and never
	// closes it.
	return newSink(cfg, unclosed{fd}), nil
}

// unclosed writes to a file number without owning it.
type unclosed struct{ fd int }

type sink struct {
	cfg *Config
	w   *bufio.Writer
	row []byte
}

func newSink(cfg *Config, w io.Writer) *sink {
	return &sink{cfg: cfg, w: bufio.NewWriterSize(w, 64<<10)}
}

// Write implements [sdk.Sink].
func (s *sink) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	for r := range in.All() {
		var err error
		if s.row, err = s.append(s.row[:0], r); err != nil {
			failed.Fail(r, err)
			continue
		}
		if _, err := s.w.Write(s.row); err != nil {
			return writeError(err)
		}
	}
	// Somebody is looking: what there is must show.
	return s.Flush(context.Background())
}

// Flush implements [sdk.Sink].
func (s *sink) Flush(context.Context) error {
	if err := s.w.Flush(); err != nil {
		return writeError(err)
	}
	return nil
}

// writeError says that no restart helps where the reader has gone.
func writeError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return sdk.Fatal(errors.New("whoever read weir's standard output has closed it"))
	}
	return fmt.Errorf("write to standard output: %w", err)
}

// Close implements [sdk.Sink].
func (s *sink) Close() error { return nil }

// append appends one record as a line.
func (s *sink) append(b []byte, r sdk.Record) ([]byte, error) {
	if s.cfg.Format == "lines" {
		return append(append(b, r.Value()...), '\n'), nil
	}
	out := line{Key: text(r.Key()), Value: value(r.Value())}
	if t := r.Time(); !t.IsZero() {
		ms := t.UnixMilli()
		out.Time = &ms
	}
	for name, v := range r.Headers().All() {
		out.Headers = append(out.Headers, [2]any{name, text(v)})
	}
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return b, err
	}
	return buf.Bytes(), nil
}

// line is a record as JSON.
type line struct {
	Key     any      `json:"key"`
	Value   any      `json:"value"`
	Time    *int64   `json:"time,omitempty"` // ms
	Headers [][2]any `json:"headers,omitempty"`
}

// text is a string where it can be one, {"base64": ...} otherwise.
func text(b []byte) any {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return string(b)
	}
	return map[string][]byte{"base64": b}
}

// value keeps JSON as JSON.
func value(b []byte) any {
	if json.Valid(b) {
		return json.RawMessage(b)
	}
	return text(b)
}

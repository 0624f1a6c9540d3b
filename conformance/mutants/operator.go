package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/weirstream/weir/sdk"
)

// MarkConfig is the operator's configuration.
type MarkConfig struct {
	Mark string `weir:"mark" default:"+" doc:"Stands behind each value."`
}

func markOperator() sdk.Component {
	return sdk.NewOperator("mark", "Puts a mark behind each value.",
		func(_ context.Context, cfg *MarkConfig, t *sdk.Task) (*mark, error) {
			return &mark{cfg: cfg, task: t}, nil
		}, sdk.PreservesOrder(), sdk.PreservesKey())
}

var (
	errBad = errors.New("begins with BAD")
	// shared is what a broken operator has in common with its like.
	shared []byte
	count  int
)

type mark struct {
	cfg  *MarkConfig
	task *sdk.Task
	kept []sdk.Row
	held []sdk.Record
	seen int
}

func (m *mark) Process(ctx context.Context, in *sdk.Batch, out *sdk.Collector) error {
	if is("operator-ignores-ctx") {
		time.Sleep(20 * time.Second)
	}
	failed := false
	for r := range in.All() {
		failed = failed || strings.HasPrefix(string(r.Value()), "BAD")
	}
	if failed && is("operator-fails-the-whole-batch") {
		for r := range in.All() {
			out.Fail(r, errBad)
		}
		return nil
	}
	for i := range in.Len() {
		r := in.At(i)
		if strings.HasPrefix(string(r.Value()), "BAD") {
			switch {
			case is("operator-wrong-error-index"):
				out.Fail(in.At((i+1)%in.Len()), errBad)
			case is("operator-drops-the-bad"):
			case is("operator-fails-the-task"):
				return errBad
			case is("operator-passes-the-bad"):
				out.Forward(r)
			default:
				out.Fail(r, errBad)
			}
			continue
		}
		if err := m.one(i, r, in, out); err != nil {
			return err
		}
	}
	return nil
}

// one handles a record as the fault has it.
func (m *mark) one(i int, r sdk.Record, in *sdk.Batch, out *sdk.Collector) error {
	value := append(clone(r.Value()), m.cfg.Mark...)
	m.seen++
	switch fault {
	case "operator-drops-the-first-of-a-batch":
		if i == 0 && in.Len() > 1 {
			return nil
		}
	case "operator-doubles-the-last-of-a-batch":
		if i == in.Len()-1 {
			out.Emit(r, value)
		}
	case "operator-keeps-a-view":
		// Without a copy: the memory is another's by the time it is used.
		row := r.Row()
		m.kept = append(m.kept, row)
		if len(m.kept) < 3 {
			return nil
		}
		return m.Flush(context.Background(), false, out)
	case "operator-lags-by-one":
		m.hold(in, r)
		if len(m.held) > 1 {
			m.emit(out, 1)
		}
		return nil
	case "operator-loses-the-end":
		m.hold(in, r)
		if len(m.held) == 5 {
			m.emit(out, 5)
		}
		return nil
	case "operator-reorders":
		if i%2 == 0 && i+1 < in.Len() && !strings.HasPrefix(string(in.At(i+1).Value()), "BAD") {
			next := in.At(i + 1)
			out.Emit(next, append(clone(next.Value()), m.cfg.Mark...))
			out.Emit(r, value)
			return nil
		}
		if i%2 == 1 {
			return nil
		}
	case "operator-changes-the-key":
		row := r.Row()
		row.Key, row.Value = []byte("fixed"), value
		out.EmitRow(r, row)
		return nil
	case "operator-null-key-is-empty":
		row := r.Row()
		row.Value = value
		if row.Key == nil {
			row.Key = []byte{}
		}
		out.EmitRow(r, row)
		return nil
	case "operator-drops-headers":
		row := r.Row()
		row.Headers, row.Value = nil, value
		out.EmitRow(r, row)
		return nil
	case "operator-shares-state":
		value = append(value, shared...)
		shared = append([]byte{}, r.Value()[:min(4, len(r.Value()))]...)
	case "operator-counts-in-the-process":
		count++
		value = append(value, byte('0'+count%10))
	case "operator-counts-in-memory":
		value = append(value, byte('0'+m.seen%10))
	case "operator-panics-on-empty":
		if r.Value() != nil && len(r.Value()) == 0 {
			panic("no value")
		}
	case "operator-fails-on-null":
		if r.Value() == nil {
			return errors.New("no value")
		}
	}
	out.Emit(r, value)
	return nil
}

// hold keeps a record back, with its batch.
func (m *mark) hold(in *sdk.Batch, r sdk.Record) {
	in.Hold()
	m.held = append(m.held, r)
}

// emit sends the first n of those.
func (m *mark) emit(out *sdk.Collector, n int) {
	for _, r := range m.held[:n] {
		out.Emit(r, append(clone(r.Value()), m.cfg.Mark...))
	}
	m.held = m.held[n:]
}

func (m *mark) marked(row sdk.Row) sdk.Row {
	row.Value = append(clone(row.Value), m.cfg.Mark...)
	return row
}

// Flush implements [sdk.Flusher].
func (m *mark) Flush(_ context.Context, _ bool, out *sdk.Collector) error {
	if is("operator-keeps-a-view") {
		for _, row := range m.kept {
			out.Append(m.marked(row))
		}
		m.kept = nil
	}
	return nil
}

func (m *mark) Close() error { return nil }

package expr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
)

type edit struct {
	path    expression.Path
	program *expression.Program
}

type header struct {
	name    string
	program *expression.Program
}

// operator is one task's instance.
type operator struct {
	filter, value, each, key, timestamp *expression.Program

	set     []edit
	unset   []expression.Path
	headers []header

	uses expression.Uses
	env  expression.Env
	// Memory that serves record after record.
	keyBuf, setBuf []byte
	headerBuf      sdk.Headers
}

// Process implements [sdk.Operator].
func (o *operator) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		if err := o.record(r, out); err != nil {
			out.Fail(r, err)
		}
	}
	return nil
}

// Close implements [sdk.Operator].
func (o *operator) Close() error { return nil }

// record handles one record: all or nothing.
func (o *operator) record(r sdk.Record, out *sdk.Collector) error {
	if err := o.env.Fill(r, o.uses); err != nil {
		return err
	}
	if o.filter != nil {
		keep, err := o.filter.Bool(&o.env)
		if err != nil {
			return err
		}
		if !keep {
			return nil
		}
	}
	if o.each != nil {
		return o.elements(r, out)
	}
	value, err := o.newValue(r, out)
	if err != nil {
		return err
	}
	if o.key == nil && o.timestamp == nil && len(o.headers) == 0 {
		out.Emit(r, value)
		return nil
	}
	row, err := o.row(r)
	if err != nil {
		return err
	}
	row.Value = value
	out.EmitRow(r, row)
	return nil
}

// newValue makes the record's value.
func (o *operator) newValue(r sdk.Record, out *sdk.Collector) ([]byte, error) {
	switch {
	case o.value != nil:
		result, err := o.value.Run(&o.env)
		if err != nil {
			return nil, err
		}
		b, ok, err := expression.AppendBytes(out.AvailableBuffer(), result)
		if err != nil || !ok {
			return nil, err
		}
		return b, nil
	case r.Value() != nil && (len(o.set) > 0 || len(o.unset) > 0):
		return o.edited(r.Value())
	}
	return r.Value(), nil
}

var errNotObject = errors.New("set and unset need a JSON object as the value")

// edited sets and removes fields and leaves the others as they were written.
func (o *operator) edited(value []byte) ([]byte, error) {
	if !gjson.ValidBytes(value) || !gjson.ParseBytes(value).IsObject() {
		return nil, errNotObject
	}
	doc := value
	for _, s := range o.set {
		result, err := s.program.Run(&o.env)
		if err != nil {
			return nil, err
		}
		if o.setBuf, err = expression.AppendJSON(o.setBuf[:0], result); err != nil {
			return nil, err
		}
		if doc, err = sjson.SetRawBytes(doc, string(s.path), o.setBuf); err != nil {
			return nil, fmt.Errorf("set %s: %w", s.path, err)
		}
	}
	for _, path := range o.unset {
		var err error
		if doc, err = sjson.DeleteBytes(doc, string(path)); err != nil {
			return nil, fmt.Errorf("unset %s: %w", path, err)
		}
	}
	return doc, nil
}

// elements sends a record for each element of a list.
func (o *operator) elements(r sdk.Record, out *sdk.Collector) error {
	result, err := o.each.Run(&o.env)
	if err != nil {
		return err
	}
	list, ok := result.([]any)
	if !ok {
		return fmt.Errorf("each: expected a list, got %T", result)
	}
	rows := make([]sdk.Row, len(list))
	for i, item := range list {
		o.env.Item = item
		row, err := o.row(r)
		if err != nil {
			return fmt.Errorf("each, element %d: %w", i, err)
		}
		b, ok, err := expression.AppendBytes(nil, item)
		if err != nil {
			return fmt.Errorf("each, element %d: %w", i, err)
		}
		if ok {
			row.Value = b
		}
		// The buffers of row serve the next element.
		row.Key, row.Headers = bytes.Clone(row.Key), slices.Clone(row.Headers)
		rows[i] = row
	}
	for _, row := range rows {
		out.EmitRow(r, row)
	}
	return nil
}

// row makes key, time and headers.
func (o *operator) row(r sdk.Record) (sdk.Row, error) {
	row := sdk.Row{Key: r.Key(), Time: r.Time(), Headers: r.Headers()}
	if o.key != nil {
		result, err := o.key.Run(&o.env)
		if err != nil {
			return row, err
		}
		b, ok, err := expression.AppendBytes(o.keyBuf[:0], result)
		if err != nil {
			return row, err
		}
		o.keyBuf, row.Key = b, nil
		if ok {
			row.Key = b
		}
	}
	if o.timestamp != nil {
		result, err := o.timestamp.Run(&o.env)
		if err != nil {
			return row, err
		}
		if row.Time, err = timeOf(result); err != nil {
			return row, err
		}
	}
	if len(o.headers) > 0 {
		if err := o.setHeaders(&row); err != nil {
			return row, err
		}
	}
	return row, nil
}

// setHeaders replaces the headers that are set and keeps the others in order.
func (o *operator) setHeaders(row *sdk.Row) error {
	h := o.headerBuf[:0]
	for name, value := range row.Headers.All() {
		if !o.sets(name) {
			h = h.Add(name, value)
		}
	}
	for _, s := range o.headers {
		result, err := s.program.Run(&o.env)
		if err != nil {
			return err
		}
		b, ok, err := expression.AppendBytes(o.setBuf[:0], result)
		if err != nil {
			return err
		}
		if o.setBuf = b; ok {
			h = h.Add(s.name, b)
		}
	}
	o.headerBuf, row.Headers = h, h
	return nil
}

func (o *operator) sets(name string) bool {
	for _, s := range o.headers {
		if s.name == name {
			return true
		}
	}
	return false
}

func timeOf(v any) (sdk.Time, error) {
	switch v := v.(type) {
	case nil:
		return sdk.Time{}, nil
	case int:
		return sdk.UnixMilli(int64(v)), nil
	case int64:
		return sdk.UnixMilli(v), nil
	case float64:
		return sdk.UnixMilli(int64(v)), nil
	case time.Time:
		return sdk.TimeOf(v), nil
	}
	return sdk.Time{}, fmt.Errorf("timestamp: expected milliseconds or a time, got %T", v)
}

package main

import (
	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/sdk"
)

// rowOf is a record of the exchange as the SDK takes it.
func rowOf(r exchange.Record, origin int64) sdk.Row {
	row := sdk.Row{Key: r.Key, Value: r.Value, Time: sdk.UnixNano(r.Time), Origin: origin}
	for _, h := range r.Headers {
		row.Headers = row.Headers.Add(h.Name, h.Value)
	}
	return row
}

// recordOf copies a record out of a batch.
func recordOf(r sdk.Record) exchange.Record {
	out := exchange.Record{Key: clone(r.Key()), Value: clone(r.Value()), Time: r.Time().UnixNano()}
	for name, value := range r.Headers().All() {
		out.Headers = append(out.Headers, exchange.Header{Name: name, Value: clone(value)})
	}
	return out
}

// clone keeps null and empty apart.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

package view

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/proto/wire"
)

// shownBytes is how much of a key, a value or a header a tap shows.
const shownBytes = 16 << 10

// Tapped yields records that pass; an [engine.Tap] does.
type Tapped interface {
	Next(ctx context.Context) ([]engine.Passed, uint64, error)
}

// Tap yields what passes a tap, masked, until ctx ends or yield has enough.
func Tap(ctx context.Context, tap Tapped, m *Mask, yield func(api.TapRecord, error) bool) {
	var dropped uint64
	for {
		records, missed, err := tap.Next(ctx)
		if err != nil {
			return
		}
		dropped += missed
		for _, p := range records {
			r := m.record(p)
			r.Dropped, dropped = dropped, 0
			if !yield(r, nil) {
				return
			}
		}
	}
}

// record is a record for people to see.
func (m *Mask) record(p engine.Passed) api.TapRecord {
	r := api.TapRecord{Node: p.Node, Output: p.Output, Task: p.Task, Key: m.data(p.Key), Value: m.data(p.Value)}
	if p.Time != wire.NoTime {
		at := time.Unix(0, p.Time).UTC()
		r.Time = &at
	}
	for _, h := range p.Headers {
		value := m.data(h.Value)
		if m.names(h.Name) && value != nil {
			value = &api.TapData{Text: api.Masked}
		}
		r.Headers = append(r.Headers, api.TapHeader{Name: h.Name, Value: value})
	}
	if p.Split != "" {
		r.Split, r.Ordinal = p.Split, &p.Ordinal
	}
	return r
}

// data is bytes of a record, masked and cut.
func (m *Mask) data(b []byte) *api.TapData {
	if b == nil {
		return nil
	}
	text := m.text(b)
	d := &api.TapData{}
	cut := text
	if len(text) > shownBytes {
		cut, d.Bytes = text[:shownBytes], len(text)
		if utf8.ValidString(text) {
			cut = strings.ToValidUTF8(cut, "") // a rune that was cut in two
		}
	}
	if utf8.ValidString(cut) {
		d.Text = cut
	} else {
		d.Base64 = []byte(cut)
	}
	return d
}

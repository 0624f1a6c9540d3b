package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// maxText bounds the message and each attribute of a kept record, in bytes.
const maxText = 8 << 10

// Handler keeps records in its journal and hands them on.
type Handler struct {
	journal *Journal
	next    slog.Handler
	at      place  // by the attributes so far
	group   string // with a dot behind it
	attrs   []slog.Attr
}

// Handler returns a handler that keeps records and hands them to next. The journal
// alone says which are logged: next should take every level.
func (j *Journal) Handler(next slog.Handler) *Handler { return &Handler{journal: j, next: next} }

// place is what a record is about, as far as that is known.
type place struct{ pipeline, node string }

// note notes an attribute that is in no group.
func (p *place) note(a slog.Attr) {
	switch a.Key {
	case "pipeline":
		p.pipeline = a.Value.Resolve().String()
	case "node":
		p.node = a.Value.Resolve().String()
	}
}

// Enabled implements [slog.Handler]. What the record itself will say is not known here
// yet.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.journal.levels.lowest(h.at.pipeline, h.at.node)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.next = h.next.WithAttrs(attrs)
	next.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		next.attrs = flatten(next.attrs, h.group, a)
		if h.group == "" {
			next.at.note(a)
		}
	}
	return &next
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	next := *h
	next.next = h.next.WithGroup(name)
	if name != "" {
		next.group += name + "."
	}
	return &next
}

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	at := h.at
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs, h.group, a)
		if h.group == "" {
			at.note(a)
		}
		return true
	})
	if r.Level < h.journal.levels.of(at.pipeline, at.node) {
		return nil
	}
	kept := Record{Time: r.Time, Level: r.Level, Message: short(r.Message)}
	for _, a := range attrs {
		switch a.Key {
		case "node":
			kept.Node = a.Value.String()
		case "task":
			kept.Task = a.Value.String()
		case "plugin":
			kept.Plugin = a.Value.String()
		default:
			if kept.Attributes == nil {
				kept.Attributes = map[string]any{}
			}
			kept.Attributes[a.Key] = plain(a.Value)
		}
	}
	h.journal.add(kept)
	return h.next.Handle(ctx, r)
}

// flatten adds an attribute, those of a group one by one.
func flatten(to []slog.Attr, group string, a slog.Attr) []slog.Attr {
	v := a.Value.Resolve()
	switch {
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, g := range v.Group() {
			to = flatten(to, group, g)
		}
		return to
	case a.Equal(slog.Attr{}):
		return to
	}
	return append(to, slog.Attr{Key: group + a.Key, Value: v})
}

// plain makes of a value one that JSON has and that nobody changes any more.
func plain(v slog.Value) any {
	switch v.Kind() {
	case slog.KindBool:
		return v.Bool()
	case slog.KindInt64:
		return v.Int64()
	case slog.KindUint64:
		return v.Uint64()
	case slog.KindFloat64:
		// NaN and infinities have no number in JSON.
		if _, err := json.Marshal(v.Float64()); err != nil {
			return v.String()
		}
		return v.Float64()
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	}
	switch v := v.Any().(type) {
	case nil:
		return nil
	case error:
		return short(v.Error())
	case fmt.Stringer:
		return short(v.String())
	}
	return short(v.String())
}

func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}

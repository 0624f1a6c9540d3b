package secret

import (
	"context"
	"fmt"
	"log/slog"
)

// Handler returns a handler that hides the secrets in each record, before next sees
// it.
func (m *Mask) Handler(next slog.Handler) slog.Handler { return &handler{m, next} }

type handler struct {
	mask *Mask
	next slog.Handler
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.mask, h.next.WithGroup(name)}
}

// WithAttrs hides what is known by now. What a logger carries names nodes, tasks and
// plugins.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.mask, h.next.WithAttrs(h.mask.attrs(attrs))}
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if h.mask == nil || h.mask.all.Load() == nil {
		return h.next.Handle(ctx, r)
	}
	clean := slog.NewRecord(r.Time, r.Level, h.mask.Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.mask.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (m *Mask) attrs(attrs []slog.Attr) []slog.Attr {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = m.attr(a)
	}
	return out
}

func (m *Mask) attr(a slog.Attr) slog.Attr {
	a.Key = m.Text(a.Key)
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(m.Text(v.String()))
	case slog.KindGroup:
		a.Value = slog.GroupValue(m.attrs(v.Group())...)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case error:
			a.Value = slog.AnyValue(m.Error(x))
		default:
			// Kept as it is, for a handler that knows the type, unless it tells one.
			if said := fmt.Sprint(x); m.Text(said) != said {
				a.Value = slog.StringValue(m.Text(said))
			}
		}
	}
	return a
}

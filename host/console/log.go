package console

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// LogHandler writes log records for a person who watches them come: the time of
// day, the level, the message, then the attributes. A value of several lines, such
// as the last output of a plugin, goes below, indented. It is safe for concurrent
// use.
type LogHandler struct {
	w     io.Writer
	mu    *sync.Mutex
	level slog.Leveler
	group string // prefix of keys, with a dot at its end
	attrs []field
}

type field struct{ key, value string }

// NewLogHandler returns a handler that writes one Write a record.
func NewLogHandler(w io.Writer, level slog.Leveler) *LogHandler {
	return &LogHandler{w: w, mu: new(sync.Mutex), level: level}
}

// Enabled implements [slog.Handler].
func (h *LogHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs implements [slog.Handler].
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		next.attrs = appendAttr(next.attrs, h.group, a)
	}
	return &next
}

// WithGroup implements [slog.Handler].
func (h *LogHandler) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.group += name + "."
	}
	return &next
}

// Handle implements [slog.Handler].
func (h *LogHandler) Handle(_ context.Context, r slog.Record) error {
	fields := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, h.group, a)
		return true
	})
	var b, below strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", r.Time.Format(time.TimeOnly), r.Level, r.Message)
	for _, f := range fields {
		if strings.Contains(f.value, "\n") || utf8.RuneCountInString(f.value) > longValue {
			below.WriteString("    " + f.key + ": " + strings.ReplaceAll(strings.TrimRight(f.value, "\n"), "\n", "\n    ") + "\n")
			continue
		}
		b.WriteString("  " + f.key + "=" + quoted(f.value))
	}
	b.WriteString("\n" + below.String())
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

// longValue is the length from which a value has a line of its own.
const longValue = 60

// quoted quotes what would not be read as one value.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \"=\t") {
		return strconv.Quote(s)
	}
	return s
}

func appendAttr(to []field, group string, a slog.Attr) []field {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, g := range v.Group() {
			to = appendAttr(to, group, g)
		}
		return to
	}
	if a.Equal(slog.Attr{}) {
		return to
	}
	return append(to, field{group + a.Key, v.String()})
}

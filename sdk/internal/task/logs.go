package task

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// logHandler turns slog records into LogRecords for the host. Their level can be
// changed while the task runs.
type logHandler struct {
	out    *outbox
	level  *slog.LevelVar
	member uint32
	// attrs renders attributes as a JSON object; with derives it.
	with func(slog.Handler) slog.Handler
}

func newLogger(out *outbox, level *slog.LevelVar, member int) *slog.Logger {
	return slog.New(&logHandler{
		out:    out,
		level:  level,
		member: uint32(member),
		with:   func(h slog.Handler) slog.Handler { return h },
	})
}

// Enabled implements [slog.Handler].
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements [slog.Handler].
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	var b bytes.Buffer
	var drop dropFirst
	json := h.with(slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: drop.replace}))
	drop = 2 // level and message; a time that is zero is not written
	at := r.Time
	r.Time = time.Time{}
	if err := json.Handle(ctx, r); err != nil {
		return err
	}
	h.out.log(&pluginv1.LogRecord{
		TimeUnixNano: at.UnixNano(),
		Level:        levelName(r.Level),
		Message:      textOf(r.Message),
		Attributes:   bytes.TrimSpace(b.Bytes()),
		Component:    h.member,
	})
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.derive(func(j slog.Handler) slog.Handler { return j.WithAttrs(attrs) })
}

// WithGroup implements [slog.Handler].
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.derive(func(j slog.Handler) slog.Handler { return j.WithGroup(name) })
}

func (h *logHandler) derive(step func(slog.Handler) slog.Handler) slog.Handler {
	d, before := *h, h.with
	d.with = func(j slog.Handler) slog.Handler { return step(before(j)) }
	return &d
}

// dropFirst leaves out as many attributes as it says: those that have a field of
// their own in a LogRecord.
type dropFirst int

func (d *dropFirst) replace(groups []string, a slog.Attr) slog.Attr {
	if *d > 0 && len(groups) == 0 {
		*d--
		return slog.Attr{}
	}
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

// setLevel changes the level to the one of that name; an unknown name changes
// nothing.
func setLevel(level *slog.LevelVar, name string) bool {
	var l slog.Level
	if l.UnmarshalText([]byte(name)) != nil {
		return false
	}
	level.Set(l)
	return true
}

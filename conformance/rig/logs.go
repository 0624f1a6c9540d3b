package rig

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// Logs gathers what a process and its tasks have logged, and what was printed.
type Logs struct {
	mu    sync.Mutex
	lines []Line
}

// Line is one record of a log as text: level, message and attributes.
type Line struct {
	Text string
	// Stdout says that it was printed to standard output.
	Stdout bool
}

// Lines are those so far.
func (l *Logs) Lines() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Line(nil), l.lines...)
}

// Find returns the first line that holds the text.
func (l *Logs) Find(text string) (Line, bool) {
	for _, line := range l.Lines() {
		if strings.Contains(line.Text, text) {
			return line, true
		}
	}
	return Line{}, false
}

// most bounds the lines that are kept; a plugin may flood.
const most = 20_000

// Enabled implements [slog.Handler]: everything is kept.
func (l *Logs) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (l *Logs) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Level, r.Message)
	line := Line{}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stream" && a.Value.String() == "stdout" {
			line.Stdout = true
			return true
		}
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	line.Text = b.String()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < most {
		l.lines = append(l.lines, line)
	}
	return nil
}

// WithAttrs implements [slog.Handler]; what the host adds is of no interest.
func (l *Logs) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements [slog.Handler].
func (l *Logs) WithGroup(string) slog.Handler { return l }

package console

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLogIsForPeople(t *testing.T) {
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"plain", func(l *slog.Logger) { l.Info("restoring", "checkpoint", 7, "of", "2026-03-02 12:00:00") },
			"TIME INFO  restoring  checkpoint=7  of=\"2026-03-02 12:00:00\"\n"},
		{"below the level", func(l *slog.Logger) { l.Debug("nothing") }, ""},
		{"attributes and groups", func(l *slog.Logger) {
			l.With("epoch", 2).WithGroup("task").With("index", 1).Warn("slow", slog.Group("took", "ms", 12), "", "", slog.Attr{})
		}, "TIME WARN  slow  epoch=2  task.index=1  task.took.ms=12  task.=\"\"\n"},
		{"an empty group's name changes nothing", func(l *slog.Logger) { l.WithGroup("").Info("a", "b", time.Second) },
			"TIME INFO  a  b=1s\n"},
		{"lines of a value go below", func(l *slog.Logger) {
			l.Error("rolling back", "in", 2*time.Second, "cause", errors.New("plugin acme exited with status 2; its last output:\n    panic: boom\n"), "restart", 1)
		}, "TIME ERROR rolling back  in=2s  restart=1\n    cause: plugin acme exited with status 2; its last output:\n        panic: boom\n"},
		{"and so does a long one", func(l *slog.Logger) { l.Info("a", "why", strings.Repeat("long ", 20)) },
			"TIME INFO  a\n    why: " + strings.Repeat("long ", 20) + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			c.log(slog.New(NewLogHandler(&b, slog.LevelInfo)))
			got := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `).ReplaceAllString(b.String(), "TIME ")
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// Two loggers made from one do not write into each other's attributes.
func TestLoggersDoNotShareAttributes(t *testing.T) {
	var b bytes.Buffer
	base := slog.New(NewLogHandler(&b, slog.LevelInfo)).With("a", 1).With("b", 2)
	one, two := base.With("c", 3), base.With("c", 4)
	one.Info("one")
	two.Info("two")
	if !strings.Contains(b.String(), "one  a=1  b=2  c=3\n") || !strings.Contains(b.String(), "two  a=1  b=2  c=4\n") {
		t.Errorf("got %q", b.String())
	}
}

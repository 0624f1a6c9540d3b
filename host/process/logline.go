package process

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Keys of a log line in JSON: hclog's, which other go-plugin programs write, and
// those of slog's own handler.
var (
	messageKeys = []string{"@message", "msg"}
	levelKeys   = []string{"@level", "level"}
	timeKeys    = []string{"@timestamp", "time"}
)

var levels = map[string]slog.Level{
	"TRACE": slog.LevelDebug - 4,
	"DEBUG": slog.LevelDebug,
	"INFO":  slog.LevelInfo,
	"WARN":  slog.LevelWarn,
	"ERROR": slog.LevelError,
}

// parseLine makes a log record of a line: of its JSON fields, or of the text with
// the level that it begins with ("[WARN] ..."), else at level info. Nothing that
// a plugin writes is an error here.
func parseLine(text []byte, now time.Time) slog.Record {
	if len(text) > 0 && text[0] == '{' {
		if r, ok := parseJSON(text, now); ok {
			return r
		}
	}
	level := slog.LevelInfo
	message := strings.ToValidUTF8(string(text), "\uFFFD")
	switch name, rest, found := strings.Cut(message, "]"); {
	case isDumpStart(text):
		level = slog.LevelError
	case found && strings.HasPrefix(name, "["):
		if l, ok := levels[strings.TrimSpace(name[1:])]; ok {
			level, message = l, strings.TrimSpace(rest)
		}
	}
	return slog.NewRecord(now, level, message, 0)
}

func parseJSON(text []byte, now time.Time) (slog.Record, bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // keeps integers exact
	var fields map[string]any
	if dec.Decode(&fields) != nil || dec.More() {
		return slog.Record{}, false
	}
	message, ok := take(fields, messageKeys)
	if !ok {
		return slog.Record{}, false
	}
	level := slog.LevelInfo
	if name, ok := take(fields, levelKeys); ok {
		level = parseLevel(name)
	}
	at := now
	if stamp, ok := take(fields, timeKeys); ok {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999Z0700"} {
			if t, err := time.Parse(layout, stamp); err == nil {
				at = t
				break
			}
		}
	}
	r := slog.NewRecord(at, level, message, 0)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		r.AddAttrs(slog.Any(name, fields[name]))
	}
	return r, true
}

// take removes the first of the keys that holds a string.
func take(fields map[string]any, keys []string) (string, bool) {
	for _, k := range keys {
		if s, ok := fields[k].(string); ok {
			delete(fields, k)
			return s, true
		}
	}
	return "", false
}

// parseLevel knows the names of both libraries, slog's "INFO+2" included.
func parseLevel(name string) slog.Level {
	name = strings.ToUpper(name)
	if l, ok := levels[name]; ok {
		return l
	}
	var l slog.Level
	if l.UnmarshalText([]byte(name)) == nil {
		return l
	}
	return slog.LevelInfo
}

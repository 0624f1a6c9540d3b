//go:build linux

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinesReachTheLogWithTheirLevelAndAttributes(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, c := range []struct{ line, want string }{
		{`plain text`, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":"plain text"}`},
		{`[WARN]  low on space`, `{"time":"2026-03-04T05:06:07Z","level":"WARN","msg":"low on space"}`},
		{`[1] a list`, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":"[1] a list"}`},
		{`panic: no`, `{"time":"2026-03-04T05:06:07Z","level":"ERROR","msg":"panic: no"}`},
		{`{"@level":"debug","@message":"read","@module":"acme","@timestamp":"2026-01-02T03:04:05.000006Z","rows":12345678901234567}`,
			`{"time":"2026-01-02T03:04:05.000006Z","level":"DEBUG","msg":"read","@module":"acme","rows":12345678901234567}`},
		{`{"time":"2026-01-02T03:04:05+01:00","level":"ERROR+1","msg":"slog","task":{"index":3}}`,
			`{"time":"2026-01-02T03:04:05+01:00","level":"ERROR+1","msg":"slog","task":{"index":3}}`},
		{`{"@level":"trace","@message":"deep"}`, `{"time":"2026-03-04T05:06:07Z","level":"DEBUG-4","msg":"deep"}`},
		{`{"@level":7,"@message":"odd level","@timestamp":"noon"}`, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":"odd level","@level":7}`},
		{`{"@message":5}`, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":"{\"@message\":5}"}`}, // go-plugin's own reader panics here
		{`{"msg":"a"} {"msg":"b"}`, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":"{\"msg\":\"a\"} {\"msg\":\"b\"}"}`},
		{`{"msg":"cut o`, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":"{\"msg\":\"cut o"}`},
		{"\xff\xfe", "{\"time\":\"2026-03-04T05:06:07Z\",\"level\":\"INFO\",\"msg\":\"\uFFFD\"}"},
		{``, `{"time":"2026-03-04T05:06:07Z","level":"INFO","msg":""}`},
	} {
		var got bytes.Buffer
		h := slog.NewJSONHandler(&got, &slog.HandlerOptions{Level: slog.LevelDebug - 4})
		if err := h.Handle(context.Background(), parseLine([]byte(c.line), now)); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(got.String()) != c.want {
			t.Errorf("line %q\n got %s\nwant %s", c.line, got.String(), c.want)
		}
	}
}

func TestLongLinesAreCutAndTheLastNeedsNoEnd(t *testing.T) {
	var got []string
	in := "one\r\n\n" + strings.Repeat("y", 2*lineBytes+7) + "\nlast"
	readLines(strings.NewReader(in), func(b []byte) { got = append(got, string(b)) })
	want := []string{"one", "", strings.Repeat("y", lineBytes) + fmt.Sprintf("... (%d bytes more)", lineBytes+7), "last"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
}

func TestAFloodIsCutAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		o := newOutput(slog.New(slog.NewJSONHandler(&log, nil)), nil, 10)
		for i := range 100 {
			o.add(fmt.Appendf(nil, "line %d", i), false)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		o.tick()
		o.add([]byte("after"), false)
		o.close()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 12 || !strings.Contains(lines[9], `"line 9"`) || !strings.Contains(lines[10], `"lines":90`) || !strings.Contains(lines[11], `"after"`) {
			t.Errorf("log of %d lines:\n%s", len(lines), log.String())
		}
		if last := o.lastLines(); len(last) != tailLines || last[tailLines-1] != "after" || last[0] != "line 81" {
			t.Errorf("last lines %q", last)
		}
	})
}

func TestALogThatBlocksDoesNotBlockThePlugin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		o := newOutput(slog.New(blockingHandler{release}), nil, 1<<20)
		for range 10 * queueLen {
			o.add([]byte("line"), false)
		}
		o.close() // gives up waiting
		close(release)
		<-o.drained
	})
}

type blockingHandler struct{ release chan struct{} }

func (h blockingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h blockingHandler) Handle(context.Context, slog.Record) error {
	<-h.release
	return nil
}
func (h blockingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h blockingHandler) WithGroup(string) slog.Handler      { return h }

func TestADumpIsBoundedAndKeptFromTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		o := newOutput(slog.New(slog.NewJSONHandler(&log, nil)), nil, 1000)
		o.add([]byte("before"), false)
		o.add([]byte("fatal error: all goroutines are asleep - deadlock!"), false)
		for i := range 20000 {
			o.add(fmt.Appendf(nil, "goroutine %d [select]:", i), false)
		}
		o.add([]byte(`{"@level":"info","@message":"another thread"}`), false)
		o.close()
		dump := string(o.dumped())
		if len(dump) > dumpBytes || len(dump) < dumpBytes-100 || !strings.HasPrefix(dump, "fatal error: all") || strings.Contains(dump, "another thread") {
			t.Errorf("dump of %d bytes: %.100s", len(dump), dump)
		}
		if strings.Contains(log.String(), "goroutine") || !strings.Contains(log.String(), "another thread") || !strings.Contains(log.String(), "before") {
			t.Errorf("log %.500s", log.String())
		}
	})
}

func TestAPanicThatTheProgramSurvivedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutput(slog.New(slog.DiscardHandler), nil, 1000)
		o.add([]byte("panic: caught and printed"), false)
		time.Sleep(2 * time.Second)
		o.add([]byte(`{"@level":"info","@message":"still here"}`), false)
		o.add([]byte("the end"), false)
		o.close()
		if last := o.lastLines(); len(last) != 2 || last[1] != "the end" || len(o.dumped()) != 0 {
			t.Errorf("last lines %q, dump %q", last, o.dumped())
		}
	})
}

func TestAFloodingPluginGoesOn(t *testing.T) {
	opts, log := options(t)
	p := started(t, role("good"), opts)
	const lines = 200_000
	do(t, p, fmt.Sprint("flood ", lines))
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	var passed, left int
	for l := range strings.Lines(log.String()) {
		var rec struct {
			Msg, Plugin string
			PID, Lines  int
		}
		if err := json.Unmarshal([]byte(l), &rec); err != nil {
			t.Fatal(err)
		}
		left += rec.Lines
		if strings.HasPrefix(rec.Msg, "flood") {
			if passed++; rec.Plugin != "test" || rec.PID != p.PID() {
				t.Errorf("record %s", l)
			}
		}
	}
	if passed == 0 || left == 0 || passed+left != lines {
		t.Errorf("%d lines passed, %d left out, of %d", passed, left, lines)
	}
}

func TestWhatGoPluginCarriesOfTheOutputIsLogged(t *testing.T) {
	opts, log := options(t)
	p := started(t, role("good"), opts)
	do(t, p, "print "+strings.Repeat("x", 200<<10)) // more than a pipe holds
	do(t, p, "print  to be continued\nand the end\n")
	eventually(t, time.Minute, "both streams are in the log", func() bool {
		return strings.Count(log.String(), `"msg":"and the end"`) == 2
	})
	if strings.Count(log.String(), `"stream":"stdout"`) != 2 {
		t.Errorf("log:\n%.2000s", log)
	}
}

func TestOldDumpsAreRemoved(t *testing.T) {
	dir := t.TempDir() + "/dumps"
	for i := range keptDumps + 3 {
		path, err := writeDump(dir, "test", i, []byte("goroutine 1"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "goroutine 1" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
		time.Sleep(2 * time.Millisecond) // the name has the time
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != keptDumps {
		t.Errorf("%d dumps, error %v", len(left), err)
	}
	if path, err := writeDump("", "test", 1, []byte("x")); path != "" || err != nil {
		t.Errorf("%q, %v", path, err)
	}
}

func TestParseStdioNeverPanics(t *testing.T) {
	good := []byte{0x08, 1, 0x12, 2, 'h', 'i'}
	if data, stdout := parseStdio(good); string(data) != "hi" || !stdout {
		t.Errorf("%q %v", data, stdout)
	}
	for i := range good {
		parseStdio(good[:i])
		parseStdio(append([]byte{0xff}, good[i:]...))
	}
}

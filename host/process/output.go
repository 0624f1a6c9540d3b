package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/host/secret"
)

const (
	tailLines = 20        // lines kept for ExitError
	lineBytes = 4 << 10   // of a line; the rest is cut off and counted
	dumpBytes = 256 << 10 // of a goroutine dump
	queueLen  = 256       // lines on their way to the log
)

// output takes a process's lines: it keeps the last ones, catches a goroutine
// dump, and passes a bounded number a second to the log. It never makes the
// process wait: what the log does not take in time is left out and counted.
type output struct {
	log       *slog.Logger
	mask      *secret.Mask
	perSecond int

	mu        sync.Mutex
	tail      []string // the newest at the end
	dump      []byte
	capturing bool
	caught    time.Time // when the newest line of the dump came
	second    int64     // the running second, and the lines passed and left out in it
	passed    int
	left      int
	closed    bool

	queue   chan line
	drained chan struct{}
}

// line is one line on its way to the log, or a number of lines left out.
type line struct {
	text   []byte
	stdout bool
	left   int
}

func newOutput(log *slog.Logger, mask *secret.Mask, perSecond int) *output {
	o := &output{log: log, mask: mask, perSecond: perSecond, queue: make(chan line, queueLen), drained: make(chan struct{})}
	go o.write()
	return o
}

// readFrom takes lines until r ends.
func (o *output) readFrom(r io.Reader, stdout bool) {
	readLines(r, func(text []byte) { o.add(text, stdout) })
}

// add takes one line, without its end.
func (o *output) add(text []byte, stdout bool) {
	text = []byte(o.mask.Text(string(text)))
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.closed || !stdout && o.catch(text, now) {
		return
	}
	if len(o.tail) == tailLines {
		o.tail = slices.Delete(o.tail, 0, 1)
	}
	kept := strings.ToValidUTF8(string(text), "\uFFFD")
	if stdout {
		kept = "(stdout) " + kept
	}
	o.tail = append(o.tail, kept)

	o.turn(now)
	if o.passed >= o.perSecond || !o.enqueue(line{text: text, stdout: stdout}) {
		o.left++
		return
	}
	o.passed++
}

// turn begins a new second and tells what was left out of the last.
func (o *output) turn(now time.Time) {
	if s := now.Unix(); s != o.second {
		o.second, o.passed = s, 0
		o.tellLeft()
	}
}

func (o *output) tellLeft() {
	if o.left > 0 && o.enqueue(line{left: o.left}) {
		o.left = 0
	}
}

func (o *output) enqueue(l line) bool {
	select {
	case o.queue <- l:
		return true
	default:
		return false
	}
}

// tick tells what was left out although no line follows.
func (o *output) tick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(time.Now())
}

// dumpStarts begin the lines with which the Go runtime starts to say why it ends
// the program.
var dumpStarts = [][]byte{
	[]byte("panic: "), []byte("fatal error: "), dumpAsked, []byte("SIGABRT: "),
	[]byte("unexpected fault address "), []byte("runtime: goroutine stack exceeds "),
}

// dumpAsked begins a dump that says nothing but where the program stands.
var dumpAsked = []byte("SIGQUIT: ")

func isDumpStart(text []byte) bool {
	return slices.ContainsFunc(dumpStarts, func(p []byte) bool { return bytes.HasPrefix(text, p) })
}

// catch keeps a line that belongs to a goroutine dump, and keeps it from tail and
// log. A log line in JSON never does; one that comes later than a dump takes says
// that the program printed such a line and went on.
func (o *output) catch(text []byte, now time.Time) bool {
	isJSON := len(text) > 0 && text[0] == '{'
	switch {
	case isJSON && o.capturing && now.Sub(o.caught) > time.Second:
		o.capturing, o.dump = false, nil
	case !isJSON && !o.capturing && isDumpStart(text):
		o.capturing, o.dump = true, nil
	}
	if !o.capturing || isJSON {
		return false
	}
	o.caught = now
	if room := dumpBytes - len(o.dump) - 1; room > 0 {
		o.dump = append(o.dump, text[:min(len(text), room)]...)
		o.dump = append(o.dump, '\n')
	}
	return true
}

// lastLines are the lines for ExitError: the newest, or the first of a dump that
// says why the program ended.
func (o *output) lastLines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.dump) == 0 || bytes.HasPrefix(o.dump, dumpAsked) {
		return slices.Clone(o.tail)
	}
	var first []string
	for l := range bytes.Lines(o.dump) {
		if l = bytes.TrimRight(l, "\n"); len(l) > 0 {
			first = append(first, strings.ToValidUTF8(string(l), "\uFFFD"))
		}
		if len(first) == tailLines {
			break
		}
	}
	return first
}

// dumped is the goroutine dump, if there was one.
func (o *output) dumped() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dump
}

// close ends the log's writer. A log that blocks is left behind after a moment.
func (o *output) close() {
	o.mu.Lock()
	o.tellLeft()
	o.closed = true
	close(o.queue)
	o.mu.Unlock()
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-o.drained:
	case <-grace.C:
	}
}

// write passes lines to the log until close.
func (o *output) write() {
	defer close(o.drained)
	ctx := context.Background()
	for l := range o.queue {
		if l.left > 0 {
			o.log.LogAttrs(ctx, slog.LevelWarn, "lines of the plugin's output were left out", slog.Int("lines", l.left))
			continue
		}
		r := parseLine(l.text, time.Now())
		if l.stdout {
			r.AddAttrs(slog.String("stream", "stdout"))
		}
		if h := o.log.Handler(); h.Enabled(ctx, r.Level) {
			_ = h.Handle(ctx, r)
		}
	}
}

// readLines calls f with each line of r until r ends. A line beyond lineBytes is
// cut and says by how much. f must not keep its argument.
func readLines(r io.Reader, f func([]byte)) {
	in := bufio.NewReaderSize(r, lineBytes)
	for {
		text, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			text = bytes.Clone(text)
			var more int
			for errors.Is(err, bufio.ErrBufferFull) {
				var rest []byte
				rest, err = in.ReadSlice('\n')
				more += len(bytes.TrimRight(rest, "\r\n"))
			}
			text = fmt.Appendf(text, "... (%d bytes more)", more)
		}
		text = bytes.TrimRight(text, "\r\n")
		if len(text) > 0 || err == nil {
			f(text)
		}
		if err != nil {
			return
		}
	}
}

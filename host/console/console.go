// Package console shows a person what a running pipeline does: a table that is
// redrawn in place on a terminal, plain log lines elsewhere, and a summary at the
// end.
package console

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/weirstream/weir/host/engine"
)

const (
	redrawEvery = 500 * time.Millisecond
	plainEvery  = 10 * time.Second
)

// Console writes log lines and progress to one place without mixing them up.
// It is safe for concurrent use.
type Console struct {
	mu    sync.Mutex
	w     io.Writer
	fd    int // of the terminal
	mode  mode
	drawn int // lines of the table on the screen
}

type mode int

const (
	modeNone  mode = iota
	modePlain      // a line now and then
	modeTable      // redrawn in place
)

// New returns a console on w. progress is "auto" (a table on a terminal, a line
// now and then elsewhere), "plain" (always lines) or "none".
func New(w io.Writer, progress string) (*Console, error) {
	c := &Console{w: w}
	switch progress {
	case "none":
	case "plain":
		c.mode = modePlain
	case "auto":
		c.mode = modePlain
		if IsTerminal(w) && os.Getenv("TERM") != "dumb" {
			c.mode, c.fd = modeTable, int(w.(*os.File).Fd())
		}
	default:
		return nil, fmt.Errorf("--progress: %q is none of auto, plain, none", progress)
	}
	return c, nil
}

// IsTerminal says whether a person sees what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width is the width of the terminal that w is, or otherwise where it is none.
func Width(w io.Writer, otherwise int) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return otherwise
}

// Plain keeps a table off a screen that something else writes to.
func (c *Console) Plain() {
	if c.mode == modeTable {
		c.mode = modePlain
	}
}

// Write writes log lines, above the table where there is one.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	return c.w.Write(p)
}

// Show shows progress until stop is called: a table on the screen, or lines in the
// log.
func (c *Console) Show(status func() engine.Status, log *slog.Logger) (stop func()) {
	if c.mode == modeNone {
		return func() {}
	}
	every := map[mode]time.Duration{modePlain: plainEvery, modeTable: redrawEvery}[c.mode]
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		var rates rates
		for {
			select {
			case <-quit:
				c.mu.Lock()
				c.erase()
				c.mu.Unlock()
				return
			case now := <-ticker.C:
				s := status()
				v := view{Status: s, rates: rates.update(s, now), now: now}
				if c.mode == modeTable {
					c.draw(v)
				} else {
					log.Info(v.oneLine(0))
				}
			}
		}
	}()
	return func() { close(quit); <-done }
}

// erase removes the table from the screen.
func (c *Console) erase() {
	if c.drawn > 0 {
		// Up, and clear to the end of the screen.
		fmt.Fprintf(c.w, "\x1b[%dA\x1b[J", c.drawn)
		c.drawn = 0
	}
}

func (c *Console) draw(v view) {
	width, height, err := term.GetSize(c.fd)
	if err != nil || width < 20 {
		width, height = 80, 24
	}
	text := v.table(width)
	lines := bytes.Count(text, []byte("\n"))
	if lines >= height {
		// A table that does not fit would scroll and could not be taken back.
		text = []byte(v.oneLine(width) + "\n")
		lines = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	if _, err := c.w.Write(text); err == nil {
		c.drawn = lines
	}
}

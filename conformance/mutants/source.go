package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/sdk"
)

// PagesConfig is the source's configuration.
type PagesConfig struct {
	Folder string     `weir:"folder,required" doc:"Files of JSON lines, each a split."`
	Follow bool       `weir:"follow" default:"false" doc:"Goes on to look for files."`
	Page   int        `weir:"page" default:"50" min:"1" max:"1000" doc:"Records of a read."`
	Order  string     `weir:"order" default:"name" enum:"name,age" doc:"The order of the files."`
	Token  sdk.Secret `weir:"token" doc:"Not used."`
	Label  string     `weir:"label" pattern:"[a-z]*" doc:"Not used."`
	Retry  *Retry     `weir:"retry" doc:"Not used."`
}

// Retry is an object in a configuration.
type Retry struct {
	Attempts int           `weir:"attempts" default:"3" min:"0" max:"10" doc:"Tries."`
	Wait     time.Duration `weir:"wait" default:"1s" min:"1ms" max:"1m" doc:"Between them."`
}

// Capabilities implements [sdk.Claimer].
func (c *PagesConfig) Capabilities(caps *sdk.Capabilities) {
	if c.Follow {
		caps.Bounded = false
	}
}

func pagesSource() sdk.Component {
	return sdk.NewSource("pages", "Reads files of JSON lines.",
		func(_ context.Context, cfg *PagesConfig, t *sdk.Task) (*pages, error) {
			if is("source-secret-in-log") {
				t.Log.Debug("opened with " + cfg.Token.Reveal())
			}
			if is("source-secret-in-error") && !cfg.Token.IsZero() {
				return nil, fmt.Errorf("token %q is refused", cfg.Token.Reveal())
			}
			return &pages{cfg: cfg, task: t}, nil
		}, sdk.Bounded())
}

// inMemory is what a broken source keeps of positions.
var inMemory sync.Map

type file struct {
	Path string `json:"path"`
}

type pages struct {
	cfg    *PagesConfig
	task   *sdk.Task
	listed []sdk.Split[file]
}

func (s *pages) SplitInterval() time.Duration { return 20 * time.Millisecond }

func (s *pages) Splits(context.Context) ([]sdk.Split[file], bool, error) {
	if is("source-lists-once") && s.listed != nil {
		return s.listed, s.cfg.Follow, nil
	}
	names, err := filepath.Glob(filepath.Join(s.cfg.Folder, "[^.]*.jsonl"))
	if err != nil {
		return nil, false, err
	}
	slices.Sort(names)
	all := []sdk.Split[file]{}
	for _, n := range names {
		id := filepath.Base(n)
		if is("source-random-split-ids") {
			id += fmt.Sprint(rand.Uint32())
		}
		all = append(all, sdk.Split[file]{ID: id, Data: file{n}})
	}
	s.listed = all
	return all, s.cfg.Follow || is("source-never-ends"), nil
}

func (s *pages) Open(_ context.Context, split sdk.Split[file], from *int64) (sdk.Reader[int64], error) {
	f, err := os.Open(split.Data.Path)
	if err != nil {
		return nil, err
	}
	r := &page{source: s, id: split.ID, f: f, lines: bufio.NewReader(f)}
	at := int64(0)
	if from != nil {
		at = *from
		switch {
		case is("source-repeats-a-record") && at > 0:
			at--
		case is("source-skips-a-record"):
			at++
		case is("source-counts-positions-anew"):
			at *= 2 // as if the older version had counted by twos
		case is("source-starts-over"):
			at = 0
		}
	}
	if is("source-positions-in-memory") && from != nil {
		known, _ := inMemory.LoadOrStore(split.ID, int64(0))
		at = known.(int64)
	}
	for r.at < at {
		if _, err := r.lines.ReadBytes('\n'); err != nil {
			break
		}
		r.at++
	}
	return r, nil
}

func (s *pages) Close() error { return nil }

type page struct {
	source *pages
	id     string
	f      *os.File
	lines  *bufio.Reader
	at     int64
}

func (p *page) Read(ctx context.Context, out *sdk.Collector) (int64, error) {
	if is("source-ignores-ctx") {
		time.Sleep(20 * time.Second)
	}
	var read []sdk.Row
	var end error
	for n := 0; n < p.source.cfg.Page; n++ {
		text, err := p.lines.ReadBytes('\n')
		if len(text) == 0 && err != nil {
			end = err
			break
		}
		e, err := exchange.Parse([]byte(strings.TrimSpace(string(text))))
		if err != nil {
			return 0, sdk.Fatal(fmt.Errorf("%s, line %d: %w", p.f.Name(), p.at+1, err))
		}
		if row, ok := p.broken(rowOf(e.Record, p.at)); ok {
			read = append(read, row)
		}
		p.at++
	}
	if is("source-shuffles") {
		rand.Shuffle(len(read), func(i, j int) { read[i], read[j] = read[j], read[i] })
	}
	if is("source-loses-the-last") && errors.Is(end, io.EOF) && len(read) > 0 {
		read = read[:len(read)-1]
	}
	for _, row := range read {
		out.Append(row)
	}
	inMemory.Store(p.id, p.at)
	next := p.at
	if is("source-position-one-read-late") && end == nil {
		next -= int64(len(read))
	}
	if end != nil && p.source.cfg.Follow && is("source-waits-without-ctx") {
		time.Sleep(time.Hour)
	}
	return next, end
}

// broken changes a record as the fault has it; not ok drops it.
func (p *page) broken(r sdk.Row) (sdk.Row, bool) {
	switch fault {
	case "source-drops-empty":
		return r, len(r.Value) > 0
	case "source-null-is-empty":
		if r.Value == nil {
			r.Value = []byte{}
		}
	case "source-mangles-bytes":
		if r.Value != nil {
			r.Value = []byte(strings.ToValidUTF8(string(r.Value), "?"))
		}
	case "source-drops-headers":
		r.Headers = nil
	case "source-drops-repeated-headers":
		seen := map[string][]byte{}
		for name, value := range r.Headers.All() {
			seen[name] = value
		}
		r.Headers = nil
		for name, value := range seen {
			r.Headers = r.Headers.Add(name, value)
		}
	case "source-truncates-huge":
		r.Value = r.Value[:min(len(r.Value), 1<<20)]
	case "source-stamps-now":
		r.Time = sdk.UnixNano(time.Now().UnixNano())
	case "source-drops-huge":
		return r, len(r.Value) < 20<<10
	}
	return r, true
}

func (p *page) Close() error { return p.f.Close() }

package sdktest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/internal/task"
)

// Source runs a source: it lists splits, and reads them in tasks of their own.
type Source struct {
	t         testing.TB
	component sdk.Component
	options   []Option
	h         *host
	watch     *sourceWatch
	lists     task.Source // an instance in the enumerator's role
	// cursor and more are what the source returned with the last listing.
	cursor []byte
	more   bool
}

// Split is a split as it is kept in a checkpoint.
type Split struct {
	ID string
	// Data is the author's description, JSON.
	Data  json.RawMessage
	After []string
}

// NewSource makes a source ready. A fault in component or configuration, and an
// error from opening, end the test.
func NewSource(t testing.TB, c sdk.Component, config any, options ...Option) *Source {
	t.Helper()
	s, err := openSource(t, c, config, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSource(t testing.TB, c sdk.Component, config any, options []Option) (*Source, error) {
	t.Helper()
	s := &Source{t: t, component: c, options: options, watch: &sourceWatch{}}
	var open func(context.Context, []byte, *task.Env) (task.Source, error)
	h, err := newHost(t, c, pluginv1.Kind_KIND_SOURCE, config, func(c *task.Component) {
		open = c.OpenSource
		s.watch.over(c)
	}, options)
	if err != nil {
		return nil, err
	}
	s.h = h
	ctx, cancel := h.context()
	defer cancel()
	s.lists, err = open(ctx, h.config, h.env(pluginv1.Role_ROLE_ENUMERATOR))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := s.lists.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, nil
}

// SplitsError is Splits for a listing that is to fail; it returns the error.
func (s *Source) SplitsError() error {
	s.t.Helper()
	_, err := s.list()
	if err == nil {
		s.t.Fatal("Splits returned no error")
	}
	return err
}

// Restart opens the source anew, as a pipeline is that was restarted with another
// configuration: its cursor goes over to the new one, and so do splits that the test
// has kept, with their positions.
func (s *Source) Restart(config any) *Source {
	s.t.Helper()
	next := NewSource(s.t, s.component, config, s.options...)
	next.cursor = s.cursor
	return next
}

// Splits lists the splits that exist now, or, of a source with a cursor, those
// behind the last listing.
func (s *Source) Splits() []Split {
	s.t.Helper()
	splits, err := s.list()
	if err != nil {
		s.t.Fatalf("Splits: %v", err)
	}
	return splits
}

// More reports whether the source said, with the last listing, that there may be
// more splits later.
func (s *Source) More() bool { return s.more }

func (s *Source) list() ([]Split, error) {
	ctx, cancel := s.h.context()
	defer cancel()
	found, next, more, err := s.lists.Splits(ctx, s.cursor)
	if err != nil {
		return nil, err
	}
	s.cursor, s.more = next, more
	var splits []Split
	seen := map[string]bool{}
	for _, f := range found {
		if f.ID == "" || seen[f.ID] {
			return nil, fmt.Errorf("the split id %q is empty or there twice", f.ID)
		}
		seen[f.ID] = true
		splits = append(splits, Split{f.ID, f.Data, f.After})
	}
	return splits, nil
}

// ReadAll lists the splits and reads them all to their ends: in order, each after
// those that it names. It is for bounded splits.
func (s *Source) ReadAll() []Record {
	s.t.Helper()
	var all []Record
	var ended []string
	for rest := s.Splits(); len(rest) > 0; {
		i := slices.IndexFunc(rest, func(split Split) bool {
			return !slices.ContainsFunc(split.After, func(id string) bool { return !slices.Contains(ended, id) })
		})
		if i < 0 {
			s.t.Fatalf("split %q waits for %q, which never end", rest[0].ID, rest[0].After)
		}
		all = append(all, s.Read(rest[i])...)
		ended = append(ended, rest[i].ID)
		rest = slices.Delete(rest, i, i+1)
	}
	return all
}

// Read reads a split from its beginning to its end.
func (s *Source) Read(split Split) []Record {
	s.t.Helper()
	return s.Open(split).Rest()
}

// Open opens a split for reading from its beginning.
func (s *Source) Open(split Split) *Reader {
	s.t.Helper()
	return s.OpenAt(split, nil)
}

// OpenAt opens a split for reading from a position, JSON, or from its beginning
// where position is nil.
func (s *Source) OpenAt(split Split, position json.RawMessage) *Reader {
	s.t.Helper()
	return s.reader(split, position, false)
}

func (s *Source) reader(split Split, position json.RawMessage, stepped bool) *Reader {
	s.t.Helper()
	s.watch.step(stepped)
	h := *s.h
	run, err := h.open(0, nil)
	s.h.owner.Epoch++ // each opening is a restart
	if err != nil {
		s.t.Fatal(err)
	}
	r := &Reader{t: s.t, source: s, run: run, split: split, position: position}
	err = run.send(&pluginv1.Frame{Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{
		Splits: []*pluginv1.Split{{Id: split.ID, Data: split.Data, Position: position}},
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// CheckResume reads each split once, and then from every position that a Read of
// it has returned: what follows must be the same records. It is for bounded
// splits of few Reads, since each position costs another reading.
func (s *Source) CheckResume() {
	s.t.Helper()
	for _, split := range s.Splits() {
		all := s.Read(split)
		read, marks := s.marks(split)
		if d := difference(read, all); d != "" {
			s.t.Errorf("split %q read twice: %s", split.ID, d)
		}
		for _, m := range marks {
			rest := s.OpenAt(split, m.position).Rest()
			if d := difference(rest, all[min(m.records, len(all)):]); d != "" {
				s.t.Errorf("split %q resumed at %s, behind %d records: %s", split.ID, m.position, m.records, d)
			}
		}
	}
}

// mark is a position and the number of records before it.
type mark struct {
	position json.RawMessage
	records  int
}

// marks reads a split Read by Read and returns the position after each.
func (s *Source) marks(split Split) (read []Record, marks []mark) {
	s.t.Helper()
	r := s.reader(split, nil, true)
	ctx, cancel := s.h.context()
	defer cancel()
	at := map[string]int{}
	for reads := 1; !r.Ended(); reads++ {
		s.watch.permit(ctx)
		// A barrier may overtake what a Read has just returned.
		for s.watch.counted() < reads && !r.Ended() && ctx.Err() == nil {
			if position, records := r.Position(); position != nil {
				at[string(position)] = records
			}
		}
		if ctx.Err() != nil {
			s.t.Fatalf("split %q: Read %d did not return within %v", split.ID, reads, s.h.timeout)
		}
	}
	for position, records := range at {
		marks = append(marks, mark{json.RawMessage(position), records})
	}
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(a.records, b.records) })
	return r.Rest(), marks
}

// difference says where two readings differ, "" where they do not.
func difference(got, want []Record) string {
	for i := range min(len(got), len(want)) {
		if g, w := got[i].String(), want[i].String(); g != w {
			return fmt.Sprintf("record %d is %s, not %s", i, g, w)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d records, not %d", len(got), len(want))
	}
	return ""
}

// env is what an instance outside of a task is given.
func (h *host) env(role pluginv1.Role) *task.Env {
	return &task.Env{
		Owner:          h.protoOwner(),
		Index:          h.index,
		Parallelism:    h.parallelism,
		MaxParallelism: maxParallelism,
		Role:           role,
		MaxRecord:      h.maxRecord,
		Log:            newLogger(h.t),
		Metrics:        &task.Metrics{},
	}
}

package diskstate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk/internal/state"
)

// store is the back end of one task. Its methods belong to the task's loop; a
// goroutine, the flusher, writes overlays to Pebble in their order.
type store struct {
	root, dir string
	groups    state.Groups
	db        *pebble.DB
	name      string
	tables    []*table
	held      []description // restored, not taken by a table
	numbers   [maxStates + 1]bool

	// at hand is written; aside are those that were laid aside, oldest first, and
	// that the flusher has not reported.
	atHand *overlay
	aside  []*job
	writes int    // bytes, since its size was looked at
	most   int    // of its size
	reaped uint64 // grows when an overlay is let go

	jobs    chan *job
	flusher chan struct{} // closed when it has ended
	files   files
	*failure
}

// overlay is what was written last, and has not reached Pebble: by table, a byte that
// says what was done and, where it was put, the value.
type overlay struct {
	memory *state.Memory
	tables []layer
}

// layer is the part of an overlay that is a table's.
type layer struct {
	state.Walker
	number byte
}

// What was done.
const (
	deleted byte = iota
	put
)

// job is an overlay that was laid aside.
type job struct {
	overlay *overlay
	// checkpoint is that of the snapshot to be made behind it; 0 for none.
	checkpoint uint64
	dir        string
	done       chan struct{} // closed when err is set
	err        error
}

func newStore(c state.DiskConfig, db *pebble.DB, f *failure, name string, overlay int) *store {
	s := &store{
		root: c.Root, dir: c.Dir, groups: c.Groups, db: db, failure: f, name: name, most: overlay,
		jobs: make(chan *job, maxOverlays), flusher: make(chan struct{}),
	}
	s.files.pending = map[uint64]map[string]bool{}
	s.atHand = s.newOverlay()
	go s.flush()
	return s
}

func (s *store) newOverlay() *overlay {
	o := &overlay{memory: state.NewMemory(s.groups)}
	for _, t := range s.tables {
		o.add(t.spec, t.number)
	}
	return o
}

func (o *overlay) add(s state.Spec, number byte) {
	t, _, _ := o.memory.Table(state.Spec{Name: s.Name, Shape: s.Shape}, keygroup.Header{})
	o.tables = append(o.tables, layer{t.(state.Walker), number})
}

// table returns the overlay's part of a table; nil where it is older than the table.
func (o *overlay) table(i int) state.Walker {
	if i >= len(o.tables) {
		return nil
	}
	return o.tables[i].Walker
}

// Table implements [state.Backend].
func (s *store) Table(spec state.Spec, h keygroup.Header) (state.Table, bool, error) {
	h.Version = keygroup.FormatVersion
	t := &table{store: s, index: len(s.tables), spec: spec}
	i := slices.IndexFunc(s.held, func(d description) bool { return d.Name == spec.Name && d.same(h) })
	if i >= 0 {
		t.number = s.held[i].number
		s.numbers[t.number] = true
		s.held = slices.Delete(s.held, i, i+1)
		s.add(t)
		return t, true, nil
	}
	for _, d := range s.held {
		s.numbers[d.number] = true
	}
	n := slices.Index(s.numbers[1:], false) + 1
	if n == 0 {
		return nil, false, fmt.Errorf("more than %d states", maxStates)
	}
	t.number = byte(n)
	s.numbers[n] = true
	s.add(t)
	return t, false, describe(s.db, description{spec.Name, h, t.number})
}

func (s *store) add(t *table) {
	s.tables = append(s.tables, t)
	s.atHand.add(t.spec, t.number)
}

// wrote is called behind each write, of so many bytes.
func (s *store) wrote(n int) {
	if s.writes += n; s.writes < s.most/32 {
		return
	}
	s.writes = 0
	if s.atHand.memory.Bytes() >= s.most {
		s.layAside(0, "")
	}
}

// layAside begins a new overlay. Where too many wait to be flushed it waits for the
// oldest: that is how a disk that is too slow holds the task back.
func (s *store) layAside(checkpoint uint64, dir string) *job {
	s.reap()
	if len(s.aside) >= maxOverlays-1 {
		<-s.aside[0].done
		s.reap()
	}
	j := &job{overlay: s.atHand, checkpoint: checkpoint, dir: dir, done: make(chan struct{})}
	s.aside = append(s.aside, j)
	s.atHand = s.newOverlay()
	s.jobs <- j
	return j
}

// reap lets go of overlays that have reached Pebble.
func (s *store) reap() {
	for len(s.aside) > 0 {
		select {
		case <-s.aside[0].done:
			s.aside = s.aside[1:]
			s.reaped++
		default:
			return
		}
	}
}

// flush is the flusher.
func (s *store) flush() {
	defer close(s.flusher)
	var rows sorted
	for j := range s.jobs {
		if j.err = s.room(); j.err == nil {
			if j.err = s.write(j, &rows); j.err != nil {
				s.fail(j.err)
			}
		}
		close(j.done)
	}
}

func (s *store) write(j *job, rows *sorted) error {
	for _, t := range j.overlay.tables {
		rows.read(t, s.groups.Of)
		if err := rows.write(s.db); err != nil {
			return err
		}
	}
	if j.checkpoint == 0 {
		return nil
	}
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
		return s.db.Checkpoint(j.dir)
	case <-s.set:
		return s.Err()
	}
}

// room waits until Pebble has kept up, or the store has failed. Pebble would wait for
// itself, but tries again without end where it cannot write.
func (s *store) room() error {
	for {
		m := s.db.Metrics()
		if m.MemTable.Size < maxUnflushed && m.Levels[0].Sublevels < maxSublevels {
			return s.Err()
		}
		select {
		case <-s.set:
			return s.Err()
		case <-time.After(roomInterval):
		}
	}
}

// Capture implements [state.Backend].
func (s *store) Capture(checkpoint uint64, _ int64) (state.Capture, error) {
	dir := filepath.Join(s.dir, strconv.FormatUint(checkpoint, 10))
	j := s.layAside(checkpoint, dir)
	s.files.made = append(s.files.made, j)
	return &capture{store: s, job: j, released: make(chan struct{})}, nil
}

var errClosed = errors.New("closed")

// Close implements [state.Backend].
func (s *store) Close() error {
	s.fail(errClosed) // so that what waits is not written
	close(s.jobs)
	<-s.flusher
	return closeStore(s.db)
}

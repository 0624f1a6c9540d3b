package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
)

// Whatever crashes, whenever: a single file begins with what was there before the
// pipeline, and then holds every record that the newest checkpoint covers, once.
func TestSingleFileHoldsEachRecordOnceThroughCrashes(t *testing.T) {
	seeds(t, *schedules, func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		disk := newMemDisk()
		cfg := &SinkConfig{Path: "/dir/out.txt", Compression: []string{packNone, packGzip, packZstd}[max(0, r.IntN(16)-13)]}
		name := "out.txt" + compressedExtensions[cfg.Compression]
		cfg.Path = "/dir/" + name
		before := ""
		if cfg.Compression == packNone && r.IntN(2) == 0 {
			before = []string{"old\n", "old\nunended"}[r.IntN(2)]
			disk.folders["/dir"] = &memDir{names: map[string]*memFile{}, durable: map[string]*memFile{}}
			f := &memFile{data: []byte(before), synced: len(before)}
			disk.folders["/dir"].names[name], disk.folders["/dir"].durable[name] = f, f
		}
		m := &fileModel{t: t, r: r, disk: disk, cfg: cfg}
		for !m.live(120) {
			if r.IntN(2) == 0 {
				disk.losePower(r)
			}
			m.check(name, before)
		}
		m.check(name, before)
		if left := disk.files("/dir"); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	})
}

type fileModel struct {
	t    *testing.T
	r    *rand.Rand
	disk *memDisk
	cfg  *SinkConfig

	epoch, checkpoint uint64
	restored          uint64 // the newest record's checkpoint, and what it holds
	input             int
	committing        []committable
	state             []unfinished
}

func (m *fileModel) crashed(err error) bool {
	m.t.Helper()
	if err != nil && !errors.Is(err, errCrashed) {
		m.t.Fatal(err)
	}
	return err != nil
}

// live is one run, from a restore to a crash or, once the input is read, to the
// end.
func (m *fileModel) live(until int) (finished bool) {
	ctx := context.Background()
	m.epoch++
	p := m.disk.process()
	left := m.r.IntN(100)
	p.before = func(string) error {
		if left--; left < 0 {
			return errCrashed
		}
		return nil
	}
	owner := sdk.Owner{UID: "u", Node: "out", Epoch: m.epoch}
	log := slog.New(slog.DiscardHandler)
	c, err := newCommitter(p, m.cfg, &sdk.Node{Owner: owner, Log: log})
	if err != nil {
		m.t.Fatal(err)
	}
	if m.crashed(c.Commit(ctx, m.committing)) {
		return false
	}
	m.committing = nil
	s, err := openFileSink(p, m.cfg.Path, m.cfg, &sdk.Task{Owner: owner, Parallelism: 1, RestoredCheckpoint: m.restored, Log: log}, m.state)
	if m.crashed(err) {
		return false
	}
	defer func() { _ = s.Close() }()
	input, pending := m.input, []committable(nil)
	for {
		n := 1 + m.r.IntN(9)
		values, count, _ := columnOf(m.r, input, n)
		if m.crashed(s.add(values, count, func(int, error) {})) {
			return false
		}
		input += n
		if m.r.IntN(3) > 0 && input < until {
			continue
		}
		m.checkpoint++
		if m.crashed(s.Flush(ctx)) {
			return false
		}
		prepared, err := s.Prepare(ctx, sdk.Checkpoint{Number: m.checkpoint})
		if m.crashed(err) {
			return false
		}
		state, err := s.WriterState(ctx)
		if m.crashed(err) {
			return false
		}
		pending = append(pending, prepared...)
		if m.r.IntN(4) == 0 {
			continue // no record of it is ever written
		}
		m.restored, m.input, m.state = m.checkpoint, input, state
		m.committing = append(m.committing, pending...)
		pending = nil
		if m.r.IntN(3) > 0 || input >= until {
			if m.crashed(c.Commit(ctx, m.committing)) {
				return false
			}
			m.committing = nil
		}
		if input >= until {
			return true
		}
	}
}

// check compares the file, as far as the newest record counts on it.
func (m *fileModel) check(name, before string) {
	m.t.Helper()
	want := before
	if m.input > 0 && before != "" && !strings.HasSuffix(before, "\n") {
		want += "\n"
	}
	data := m.disk.files("/dir")[name]
	if len(m.state) > 0 {
		if int64(len(data)) < m.state[0].Size {
			m.t.Fatalf("%d bytes, and the checkpoint counts on %d", len(data), m.state[0].Size)
		}
		data = data[:m.state[0].Size]
	} else if len(data) >= len(before) {
		data = data[:len(before)]
	}
	text, err := unpack(name, data)
	if err != nil {
		m.t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(string(text), want)
	if !ok && m.input > 0 {
		m.t.Fatalf("%q does not begin with %q", text, want)
	}
	lines := strings.Split(rest, "\n")
	for i := range m.input {
		if recordOf(lines[i]) != i {
			m.t.Fatalf("line %d is %q", i, lines[i])
		}
	}
	if len(lines) != m.input+1 {
		m.t.Fatal(fmt.Sprint(len(lines)-1, " lines, not ", m.input))
	}
}

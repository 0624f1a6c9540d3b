package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/sdk"
)

var schedules = flag.Int("schedules", 600, "how many random schedules the model tests run")

// seeds runs a test for many seeds, or for the one in WEIR_SEED.
func seeds(t *testing.T, n int, run func(t *testing.T, seed uint64)) {
	if text := os.Getenv("WEIR_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		run(t, seed)
		return
	}
	base := rand.Uint64()
	for i := range n {
		seed := base + uint64(i)
		ok := t.Run("", func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("again with WEIR_SEED=%d", seed)
				}
			}()
			run(t, seed)
		})
		if !ok {
			return
		}
	}
}

// world is a pipeline whose sink is the folder sink: the model plays input, engine,
// consumer and faults. Records are numbers, in order. The model knows which are
// covered by a checkpoint's record, and checks that the disk holds exactly these,
// once each, after everything that happens.
type world struct {
	t       *testing.T
	r       *rand.Rand
	disk    *memDisk
	proc    *process
	cfg     *SinkConfig
	clock   time.Time
	log     *slog.Logger
	trace   []string
	retract bool // this schedule restores from older records, so nothing is consumed
	// withdrawing: what a record that cannot be read any more has published is
	// still to be withdrawn.
	withdrawing bool
	unreadable  bool // the newest record is

	epoch      uint64
	checkpoint uint64 // newest number
	tasks      []*folderSink
	committer  *committer
	input      int           // the next record
	pending    []committable // prepared and not known to be committed
	retained   []*record     // the newest last
	answered   uint64        // newest record whose commit has been answered
	consumed   []string
	left       int // steps until the process crashes; negative: it does not
}

// record is a checkpoint's durable record.
type record struct {
	n       uint64
	input   int
	pending []committable
	state   []unfinished
}

const modelFolder = "/out"

func newWorld(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		t: t, r: r, disk: newMemDisk(), clock: time.Unix(1e9, 0), left: -1,
		log: slog.New(slog.DiscardHandler),
		cfg: &SinkConfig{
			Path:        modelFolder + "/",
			Compression: []string{packNone, packGzip, packZstd}[max(0, r.IntN(16)-13)],
			Extension:   "txt",
			Roll:        &Roll{Size: sdk.ByteSize(1 + r.IntN(400)), Interval: time.Duration(r.IntN(3)) * time.Minute, Inactivity: time.Duration(r.IntN(2)) * time.Minute},
		},
		retract: r.IntN(4) == 0,
	}
	w.retained = []*record{{}}
	return w
}

func (w *world) newest() *record { return w.retained[len(w.retained)-1] }

func (w *world) owner() sdk.Owner {
	return sdk.Owner{UID: "k3j5h2g4f6d7s8a9q2w3", Node: "out", Epoch: w.epoch}
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format+"\ntrace:\n%s\ndisk: %q", append(args, strings.Join(w.trace, "\n"), slices.Sorted(maps.Keys(w.disk.files(modelFolder))))...)
}

// newProcess begins a process that crashes after a random number of steps, or
// does not.
func (w *world) newProcess() {
	p := w.disk.process()
	w.proc, w.left = p, -1
	if w.r.IntN(2) == 0 {
		w.left = w.r.IntN(120)
	}
	p.before = func(string) error {
		if p != w.proc {
			return errCrashed
		}
		if w.left == 0 {
			return errCrashed
		}
		if w.left > 0 {
			w.left--
		}
		return nil
	}
}

// alive says whether the process outlived a call; any other error ends the test.
func (w *world) alive(what string, err error) bool {
	w.t.Helper()
	if err != nil && !errors.Is(err, errCrashed) {
		w.fatal("%s: %v", what, err)
	}
	return err == nil
}

// run starts the pipeline again and again, until it has read that much input.
func (w *world) run(until int) {
	for {
		w.newProcess()
		if !w.start() || !w.live(until) {
			w.crash()
			continue
		}
		if w.finish() {
			return
		}
		w.crash()
	}
}

// crash loses the process, and sometimes power.
func (w *world) crash() {
	for _, s := range w.tasks {
		w.abandon(s)
	}
	w.tasks, w.committer = nil, nil
	w.proc = nil
	if w.r.IntN(2) == 0 {
		w.note("power is lost")
		w.disk.losePower(w.r)
	} else {
		w.note("the process crashes")
	}
	w.check("a crash")
	if w.r.IntN(2) == 0 {
		w.consume()
	}
}

func (w *world) abandon(s *folderSink) {
	if s != nil {
		_ = s.Close()
	}
}

// start is a restore in a new epoch.
func (w *world) start() bool {
	w.epoch++
	if w.unreadable || w.retract && len(w.retained) > 1 && w.r.IntN(3) == 0 {
		// The newest record cannot be read: it, and what it published, never was.
		w.retained = w.retained[:1+w.r.IntN(len(w.retained)-1)]
		w.withdrawing, w.unreadable = true, false
		w.answered = min(w.answered, w.newest().n)
	}
	rec := w.newest()
	w.input, w.pending = rec.input, slices.Clone(rec.pending)
	w.note("epoch %d restores from checkpoint %d, retract %v", w.epoch, rec.n, w.withdrawing)
	w.committer = w.newCommitter(w.proc)
	if w.answered < rec.n || rec.n == 0 {
		for range 1 + w.r.IntN(2) {
			if !w.alive("commit of the restored", w.committer.Commit(context.Background(), rec.pending)) {
				return false
			}
		}
		w.answered = rec.n
	}
	w.pending = nil
	if !w.alive("sweep", w.committer.Sweep(context.Background(), w.sweep(w.withdrawing))) {
		return false
	}
	w.withdrawing = false
	w.check("a sweep")
	parallelism := 1 + w.r.IntN(3)
	state := make([][]unfinished, parallelism)
	for _, u := range rec.state {
		i := w.r.IntN(parallelism)
		state[i] = append(state[i], u)
	}
	w.tasks = nil
	for i := range parallelism {
		s, err := openFolderSink(w.proc, modelFolder, w.cfg, w.task(i, parallelism), state[i])
		if !w.alive("open", err) {
			return false
		}
		s.now = func() time.Time { return w.clock }
		s.lines.b = make([]byte, 0, 1+w.r.IntN(200))
		w.tasks = append(w.tasks, s)
	}
	w.check("the restore")
	return true
}

func (w *world) newCommitter(p *process) *committer {
	c, err := newCommitter(p, w.cfg, &sdk.Node{Owner: w.owner(), Log: w.log})
	if err != nil {
		w.fatal("%v", err)
	}
	return c
}

func (w *world) task(i, parallelism int) *sdk.Task {
	return &sdk.Task{Owner: w.owner(), Index: i, Parallelism: parallelism, RestoredCheckpoint: w.newest().n, Log: w.log}
}

func (w *world) sweep(retract bool) sdk.Sweep {
	s := sdk.Sweep{RestoredCheckpoint: w.newest().n, Retract: retract}
	for _, rec := range w.retained {
		for _, u := range rec.state {
			raw, err := json.Marshal(u)
			if err != nil {
				w.fatal("%v", err)
			}
			s.Keep = append(s.Keep, raw)
		}
	}
	return s
}

// live is what happens while the pipeline runs; false is a crash.
func (w *world) live(until int) bool {
	for w.input < until {
		alive := true
		switch w.r.IntN(12) {
		case 0, 1, 2, 3:
			alive = w.write()
		case 4, 5:
			alive = w.takeCheckpoint(sdk.Checkpoint{Roll: w.r.IntN(6) == 0})
		case 6, 7:
			alive = w.commit()
		case 8:
			w.consume()
		case 9:
			w.clock = w.clock.Add(time.Duration(w.r.IntN(90)) * time.Second)
		case 10:
			if w.r.IntN(8) == 0 {
				w.note("killed")
				return false
			}
		case 11:
			if w.r.IntN(4) == 0 {
				return w.overtake() && w.live(until)
			}
		}
		if !alive {
			return false
		}
	}
	return true
}

// write gives a random task the next records, some values among them that no line
// can hold.
func (w *world) write() bool {
	n := 1 + w.r.IntN(12)
	values, count, bad := columnOf(w.r, w.input, n)
	task := w.r.IntN(len(w.tasks))
	w.note("task %d writes %d..%d", task, w.input, w.input+n-1)
	failed := 0
	err := w.tasks[task].add(values, count, func(int, error) { failed++ })
	if err == nil && failed != bad {
		w.fatal("%d failed records, not %d", failed, bad)
	}
	if !w.alive("write", err) {
		return false
	}
	w.input += n
	return true
}

// columnOf makes a column of the records from, from+1, ... and of some bad ones.
func columnOf(r *rand.Rand, from, n int) (c sdk.Column, count, bad int) {
	withBad := r.IntN(4) == 0
	add := func(v string, null bool) {
		if null {
			for len(c.Nulls) <= count/8 {
				c.Nulls = append(c.Nulls, 0)
			}
			c.Nulls[count/8] |= 1 << (count % 8)
		}
		c.Data = append(c.Data, v...)
		c.Ends = append(c.Ends, uint32(len(c.Data)))
		count++
	}
	for i := range n {
		if withBad && r.IntN(3) == 0 {
			bad++
			if r.IntN(2) == 0 {
				add("", true)
			} else {
				add("not\nclean", false)
			}
		}
		add(fmt.Sprint(from+i, strings.Repeat("x", r.IntN(20))), false)
	}
	if c.Nulls != nil {
		c.Nulls = append(c.Nulls, make([]byte, (count+7)/8-len(c.Nulls))...)
	}
	return c, count, bad
}

// takeCheckpoint sends a barrier; its record may never be written.
func (w *world) takeCheckpoint(c sdk.Checkpoint) bool {
	w.checkpoint++
	c.Number = w.checkpoint
	rec := &record{n: c.Number, input: w.input}
	for _, s := range w.tasks {
		if !w.alive("flush", s.Flush(context.Background())) {
			return false
		}
		prepared, err := s.Prepare(context.Background(), c)
		if !w.alive("prepare", err) {
			return false
		}
		state, err := s.WriterState(context.Background())
		if !w.alive("writer state", err) {
			return false
		}
		if (c.Roll || c.Final) && len(state) > 0 {
			w.fatal("a roll leaves %v unfinished", state)
		}
		w.pending = append(w.pending, prepared...)
		rec.state = append(rec.state, state...)
	}
	if w.r.IntN(4) == 0 && !c.Final {
		w.note("checkpoint %d is aborted", c.Number)
		return true
	}
	rec.pending = slices.Clone(w.pending)
	w.retained = append(w.retained, rec)
	if len(w.retained) > 3 {
		w.retained = w.retained[1:]
	}
	w.note("checkpoint %d holds the input before %d", rec.n, rec.input)
	w.check("a checkpoint")
	return true
}

// commit publishes the newest record; its answer may be lost.
func (w *world) commit() bool {
	rec := w.newest()
	if w.answered >= rec.n {
		return true
	}
	w.note("commit of checkpoint %d", rec.n)
	if !w.alive("commit", w.committer.Commit(context.Background(), rec.pending)) {
		return false
	}
	w.check("a commit")
	if w.r.IntN(4) == 0 {
		w.note("its answer is lost")
		return true
	}
	w.answered = rec.n
	w.pending = slices.DeleteFunc(w.pending, func(c committable) bool { return slices.Contains(rec.pending, c) })
	return true
}

// consume moves a published file away.
func (w *world) consume() {
	if w.retract {
		return
	}
	for name := range w.disk.files(modelFolder) {
		if !isHidden(name) && w.r.IntN(2) == 0 {
			w.note("%s is moved away", name)
			w.consumed = append(w.consumed, w.lines(name, w.disk.take(modelFolder, name))...)
		}
	}
	w.check("a consumer")
}

// finish ends the input and commits, as often as it takes.
func (w *world) finish() bool {
	if !w.takeCheckpoint(sdk.Checkpoint{Final: true}) {
		return false
	}
	for range 1 + w.r.IntN(3) {
		if !w.commit() {
			// The rest is committed by another process.
			w.crash()
			w.newProcess()
			w.epoch++
			w.left = -1
			w.committer = w.newCommitter(w.proc)
			if !w.commit() {
				return false
			}
		}
		w.consume()
	}
	for name := range w.disk.files(modelFolder) {
		if isHidden(name) {
			w.fatal("%s is left behind", name)
		}
	}
	w.check("the end")
	return true
}

// check compares what the newest record covers with what the disk holds of it:
// published, moved away, waiting to be published, and unfinished.
func (w *world) check(after string) {
	w.t.Helper()
	if w.withdrawing {
		return
	}
	rec := w.newest()
	seen := slices.Clone(w.consumed)
	files := w.disk.files(modelFolder)
	for name, data := range files {
		if !isHidden(name) {
			lines := w.lines(name, data)
			if !slices.IsSortedFunc(lines, func(a, b string) int { return recordOf(a) - recordOf(b) }) {
				w.fatal("after %s: %s is out of order: %q", after, name, lines)
			}
			seen = append(seen, lines...)
		}
	}
	for _, c := range rec.pending {
		if data, ok := files[c.Part]; ok && c.Part != "" {
			if int64(len(data)) != c.Size {
				w.fatal("after %s: %s has %d bytes, not %d", after, c.Part, len(data), c.Size)
			}
			seen = append(seen, w.lines(c.Name, data)...)
		}
	}
	for _, u := range rec.state {
		data, ok := files[u.Part]
		for name, kept := range files {
			if strings.HasPrefix(name, strings.TrimSuffix(u.Part, string(partKind))+string(keptKind)) {
				data, ok = kept, true
			}
		}
		if !ok || int64(len(data)) < u.Size {
			w.fatal("after %s: %s has not the %d bytes that checkpoint %d goes on with", after, u.Part, u.Size, rec.n)
		}
		seen = append(seen, w.lines("x."+extension("txt", u.Compression), data[:u.Size])...)
	}
	got := make([]int, len(seen))
	for i, line := range seen {
		got[i] = recordOf(line)
	}
	slices.Sort(got)
	for i, n := range got {
		if n != i {
			w.fatal("after %s: record %d is missing or there twice (found %v)", after, min(i, n), got)
		}
	}
	if len(got) != rec.input {
		w.fatal("after %s: checkpoint %d covers %d records, and %d are there", after, rec.n, rec.input, len(got))
	}
}

func recordOf(line string) int {
	n, err := strconv.Atoi(strings.TrimRight(line, "x"))
	if err != nil {
		return -1
	}
	return n
}

func (w *world) lines(name string, data []byte) []string {
	text, err := unpack(name, data)
	if err != nil {
		w.fatal("%s: %v", name, err)
	}
	if len(text) == 0 {
		return nil
	}
	if text[len(text)-1] != '\n' {
		w.fatal("%s ends within a line", name)
	}
	return strings.Split(string(text[:len(text)-1]), "\n")
}

// unpack returns the text of a file, whose name says how it is compressed.
func unpack(name string, data []byte) ([]byte, error) {
	switch {
	case len(data) == 0:
		return nil, nil
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return io.ReadAll(z)
	}
	return data, nil
}

// Whatever crashes, whenever: every record that a checkpoint covers is in the
// output once, and nothing else becomes visible.
func TestFolderHoldsEachRecordOnceThroughCrashes(t *testing.T) {
	seeds(t, *schedules, func(t *testing.T, seed uint64) {
		newWorld(t, seed).run(150)
	})
}

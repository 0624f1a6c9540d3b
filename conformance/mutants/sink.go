package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/sdk"
)

// RowsConfig is the sink's configuration.
type RowsConfig struct {
	Folder string `weir:"folder,required" doc:"Files of JSON lines appear here when they are committed."`
	Rows   int    `weir:"rows" default:"20" min:"1" max:"1000" doc:"A file with fewer goes on with the next checkpoint."`
}

func rowsSink() sdk.Component {
	return sdk.NewTwoPhaseSink("rows", "Writes records as JSON lines to the files of a folder.",
		func(_ context.Context, cfg *RowsConfig, t *sdk.Task) (*rows, error) { return openRows(cfg, t) },
		func(_ context.Context, cfg *RowsConfig, n *sdk.Node) (*publisher, error) {
			return &publisher{cfg: cfg, owner: n.Owner}, nil
		}, sdk.Local(), sdk.Retract())
}

// piece describes a file: prepared, or unfinished up to a size.
type piece struct {
	Base       string `json:"base"` // uid-node-epoch-task-number
	Size       int64  `json:"size"`
	Rows       int    `json:"rows"`
	Checkpoint uint64 `json:"checkpoint,omitempty"`
	Version    int    `json:"version,omitempty"` // of a newer form
}

func (p piece) open() string  { return ".open-" + p.Base }
func (p piece) final() string { return fmt.Sprintf("out-%d-%s.jsonl", p.Checkpoint, p.Base) }

// rows is the sink's writer.
type rows struct {
	cfg    *RowsConfig
	task   *sdk.Task
	number int
	now    piece
	f      *os.File
	out    *bufio.Writer
	held   []sdk.Record
	late   []exchange.Record
	last   *piece
}

func openRows(cfg *RowsConfig, t *sdk.Task) (*rows, error) {
	if err := os.MkdirAll(cfg.Folder, 0o755); err != nil {
		return nil, err
	}
	misbehave(t)
	s := &rows{cfg: cfg, task: t}
	state, err := sdk.RestoredWriterState[piece](t)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	switch {
	case is("sink-forgets-writer-state"):
		state = nil
	case is("sink-takes-one-writer-state") && len(state) > 1:
		state = state[:1]
	}
	if is("sink-publishes-leftovers-at-open") {
		left, _ := filepath.Glob(filepath.Join(cfg.Folder, ".open-"+t.UID+"-"+t.Node+"-*"))
		for _, name := range left {
			_ = os.Rename(name, filepath.Join(cfg.Folder, "out-0-"+strings.TrimPrefix(filepath.Base(name), ".open-")+".jsonl"))
		}
	}
	for _, p := range state {
		if err := s.takeOver(p); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// takeOver copies what an earlier epoch had written up to its checkpoint.
func (s *rows) takeOver(p piece) error {
	from, err := os.Open(filepath.Join(s.cfg.Folder, p.open()))
	if err != nil {
		return sdk.Fatal(fmt.Errorf("unfinished output is gone: %w", err))
	}
	defer func() { _ = from.Close() }()
	if err := s.need(); err != nil {
		return err
	}
	size := p.Size
	if is("sink-takes-over-too-much") {
		size = 1 << 40
	}
	n, err := io.Copy(s.out, io.LimitReader(from, size))
	s.now.Size, s.now.Rows = s.now.Size+n, s.now.Rows+p.Rows
	return err
}

// need opens a file if none is.
func (s *rows) need() error {
	if s.f != nil {
		return nil
	}
	s.number++
	parts := []string{s.task.UID, s.task.Node, fmt.Sprint(s.task.Epoch), fmt.Sprint(s.task.Index), fmt.Sprint(s.number)}
	switch fault {
	case "sink-names-without-epoch":
		parts[2] = "0"
	case "sink-names-without-task":
		parts[3] = "0"
	}
	s.now = piece{Base: strings.Join(parts, "-")}
	flags := os.O_CREATE | os.O_TRUNC | os.O_WRONLY
	f, err := os.OpenFile(filepath.Join(s.cfg.Folder, s.now.open()), flags, 0o644)
	if err != nil {
		return err
	}
	s.f, s.out = f, bufio.NewWriter(f)
	return nil
}

var errBadRow = errors.New("begins with BAD")

func (s *rows) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	bad := false
	for r := range in.All() {
		bad = bad || strings.HasPrefix(string(r.Value()), "BAD")
	}
	if bad && is("sink-fails-the-whole-batch") {
		for r := range in.All() {
			failed.Fail(r, errBadRow)
		}
		return nil
	}
	for i := range in.Len() {
		r := in.At(i)
		if strings.HasPrefix(string(r.Value()), "BAD") {
			switch {
			case is("sink-wrong-error-index"):
				failed.Fail(in.At((i+1)%in.Len()), errBadRow)
			case !is("sink-drops-the-bad"):
				failed.Fail(r, errBadRow)
			}
			continue
		}
		if is("sink-keeps-a-view") {
			s.held = append(s.held, r)
			continue
		}
		if err := s.row(recordOf(r)); err != nil {
			return err
		}
	}
	if is("sink-doubles-the-last-of-a-batch") && in.Len() > 1 {
		return s.row(recordOf(in.At(in.Len() - 1)))
	}
	return nil
}

// row writes one record as the fault has it.
func (s *rows) row(r exchange.Record) error {
	switch fault {
	case "sink-null-is-empty":
		if r.Value == nil {
			r.Value = []byte{}
		}
	case "sink-empty-key-is-null":
		if len(r.Key) == 0 {
			r.Key = nil
		}
	case "sink-mangles-bytes":
		if r.Value != nil {
			r.Value = []byte(strings.ToValidUTF8(string(r.Value), "?"))
		}
	case "sink-drops-headers":
		r.Headers = nil
	case "sink-rounds-times":
		if r.Time > 0 {
			r.Time -= r.Time % 1e6
		}
	case "sink-drops-huge":
		if len(r.Value) > 4<<20 {
			return nil
		}
	case "sink-keeps-a-few-back":
		s.late = append(s.late, r)
		if len(s.late) < 4 {
			return nil
		}
		for _, l := range s.late {
			if err := s.append(l); err != nil {
				return err
			}
		}
		s.late = nil
		return nil
	}
	return s.append(r)
}

func (s *rows) append(r exchange.Record) error {
	if err := s.need(); err != nil {
		return err
	}
	line := append(exchange.Append(nil, r), '\n')
	if is("sink-publishes-as-it-writes") {
		return appendTo(filepath.Join(s.cfg.Folder, "out-0-"+s.now.Base+".jsonl"), line)
	}
	s.now.Size += int64(len(line))
	s.now.Rows++
	_, err := s.out.Write(line)
	return err
}

func appendTo(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func (s *rows) Flush(context.Context) error {
	for _, r := range s.held {
		if err := s.append(recordOf(r)); err != nil {
			return err
		}
	}
	s.held = nil
	if s.out == nil || is("sink-does-not-flush") {
		return nil
	}
	return s.out.Flush()
}

func (s *rows) Prepare(_ context.Context, c sdk.Checkpoint) ([]piece, error) {
	if is("sink-repeats-what-it-named") && s.f == nil && s.last != nil {
		p := *s.last
		p.Checkpoint = c.Number
		old := filepath.Join(s.cfg.Folder, s.last.final())
		if b, err := os.ReadFile(old); err == nil {
			_ = os.WriteFile(filepath.Join(s.cfg.Folder, p.open()), b, 0o644)
		}
		return []piece{p}, nil
	}
	if s.f == nil || s.now.Rows < s.cfg.Rows && !c.Roll && !c.Final {
		return nil, nil
	}
	if is("sink-ignores-roll") && s.now.Rows < 1000 && !c.Final {
		return nil, nil
	}
	if is("sink-drops-what-was-not-committed") && s.last != nil {
		_ = os.Remove(filepath.Join(s.cfg.Folder, s.last.open()))
	}
	p := s.now
	p.Checkpoint = c.Number
	if is("sink-reads-new-committables-alone") {
		p.Version = 1
	}
	if is("sink-one-name-for-all-checkpoints") {
		p.Base = strings.Join([]string{s.task.UID, s.task.Node, fmt.Sprint(s.task.Epoch), fmt.Sprint(s.task.Index), "x"}, "-")
		_ = os.Rename(filepath.Join(s.cfg.Folder, s.now.open()), filepath.Join(s.cfg.Folder, p.open()))
		p.Checkpoint = 0
	}
	if err := s.f.Close(); err != nil {
		return nil, err
	}
	s.f, s.out, s.last = nil, nil, &p
	switch {
	case is("sink-commits-at-prepare"):
		return nil, os.Rename(filepath.Join(s.cfg.Folder, p.open()), filepath.Join(s.cfg.Folder, p.final()))
	case is("sink-commit-needs-memory"):
		prepared.Store(p.Base, true)
	}
	return []piece{p}, nil
}

func (s *rows) WriterState(context.Context) ([]piece, error) {
	if s.f == nil || s.now.Rows == 0 {
		return nil, nil
	}
	return []piece{s.now}, nil
}

func (s *rows) Close() error {
	if s.f != nil {
		return s.f.Close()
	}
	return nil
}

// misbehave does what no component may do to the machine that it runs on.
func misbehave(t *sdk.Task) {
	switch fault {
	case "sink-leaves-a-temporary-file":
		_, _ = os.CreateTemp("", "left")
	case "sink-leaves-a-file-in-its-folder":
		_ = os.WriteFile("left-"+t.UID, nil, 0o600)
	case "sink-listens":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			go func() { _, _ = l.Accept() }()
		}
	case "sink-leaves-a-process":
		leaveProcess()
	case "sink-prints":
		printOpened()
	case "sink-leaks-its-lock":
		locked.Lock()
	}
}

// publisher is the sink's committer.
type publisher struct {
	cfg   *RowsConfig
	owner sdk.Owner
}

func (c *publisher) path(name string) string { return filepath.Join(c.cfg.Folder, name) }

func (c *publisher) Commit(_ context.Context, all []piece) error {
	if is("sink-commit-is-a-lie") {
		return nil
	}
	if is("sink-marks-before-it-publishes") && len(all) > 0 {
		mark := c.path(fmt.Sprintf(".done-%s-%s-%d", c.owner.UID, c.owner.Node, all[len(all)-1].Checkpoint))
		if _, err := os.Stat(mark); err == nil {
			return nil
		}
		_ = os.WriteFile(mark, nil, 0o600)
		time.Sleep(10 * time.Millisecond)
	}
	if is("sink-commits-only-the-newest") && len(all) > 1 {
		all = all[len(all)-1:]
	}
	for _, p := range all {
		if err := c.publish(p); err != nil {
			return err
		}
	}
	return nil
}

func (c *publisher) publish(p piece) error {
	if p.Base == "" {
		return sdk.Fatal(errors.New("the committable names no file"))
	}
	if is("sink-reads-new-committables-alone") && p.Version == 0 {
		return nil
	}
	final := c.path(p.final())
	if _, ok := prepared.Load(p.Base); is("sink-commit-needs-memory") && !ok {
		return nil
	}
	switch {
	case is("sink-commit-doubles"):
		// Publishes a copy under another name each time.
		b, err := os.ReadFile(c.path(p.open()))
		if err != nil {
			return err
		}
		f, err := os.CreateTemp(c.cfg.Folder, "out-*.jsonl")
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return errors.Join(err, f.Close())
	case is("sink-commit-refuses-a-repetition"):
		if _, err := os.Stat(final); err == nil {
			return sdk.Fatal(errors.New("published already"))
		}
	}
	err := os.Rename(c.path(p.open()), final)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(final); err == nil {
			return nil
		}
		return sdk.Fatal(fmt.Errorf("%s is lost", p.open()))
	}
	return err
}

// parts reads a name of ours: out-CHECKPOINT-BASE.jsonl or .open-BASE.
func (c *publisher) parts(name string) (base string, epoch, checkpoint uint64, ours bool) {
	rest, ok := strings.CutPrefix(name, ".open-")
	if !ok {
		rest, ok = strings.CutPrefix(strings.TrimSuffix(name, ".jsonl"), "out-")
		number, after, _ := strings.Cut(rest, "-")
		checkpoint, _ = strconv.ParseUint(number, 10, 64)
		rest = after
	}
	p := strings.Split(rest, "-")
	if !ok || len(p) != 5 {
		return "", 0, 0, false
	}
	epoch, _ = strconv.ParseUint(p[2], 10, 64)
	if is("sweep-takes-prefixes") {
		return rest, epoch, checkpoint, strings.HasPrefix(p[0]+"-"+p[1], c.owner.UID+"-"+c.owner.Node) || strings.HasPrefix(p[0], c.owner.UID)
	}
	return rest, epoch, checkpoint, p[0] == c.owner.UID && p[1] == c.owner.Node
}

func (c *publisher) Sweep(_ context.Context, s sdk.Sweep) error {
	kept, err := sdk.KeptWriterState[piece](s)
	if err != nil {
		return sdk.Fatal(err)
	}
	keep := map[string]bool{}
	for _, k := range kept {
		keep[k.Base] = true
	}
	entries, err := os.ReadDir(c.cfg.Folder)
	if err != nil {
		return nil // nothing was ever written
	}
	for _, e := range entries {
		if err := c.sweepOne(e.Name(), keep, s); err != nil {
			return err
		}
	}
	return nil
}

// sweepOne removes a file, withdraws it or lets it be.
func (c *publisher) sweepOne(name string, keep map[string]bool, s sdk.Sweep) error {
	base, epoch, checkpoint, ours := c.parts(name)
	hidden := strings.HasPrefix(name, ".open-")
	task, _ := strconv.Atoi(strings.Split(base+"----", "-")[3])
	switch {
	case is("sweep-removes-everything") && hidden:
		return os.Remove(c.path(name))
	case !ours || is("sweep-does-nothing"):
		return nil
	case hidden && is("sweep-removes-what-a-record-names"):
		return os.Remove(c.path(name))
	case hidden && is("sweep-looks-at-the-first-task-alone") && task > 0:
		return nil
	case hidden && epoch < c.owner.Epoch && !keep[base]:
		return os.Remove(c.path(name))
	case !hidden && is("sweep-removes-what-is-published") && len(s.Earlier) > 0:
		return os.Remove(c.path(name))
	case !hidden && s.Retract && checkpoint > s.RestoredCheckpoint:
		switch {
		case is("retract-does-nothing"):
			return nil
		case keep[base]:
			return os.Rename(c.path(name), c.path(".open-"+base))
		}
		return os.Remove(c.path(name))
	case !hidden && s.Retract && is("retract-removes-too-much"):
		return os.Remove(c.path(name))
	}
	return nil
}

func (c *publisher) Close() error { return nil }

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/weirstream/weir/sdk"
)

// fileSink appends to one file. What it has written when a checkpoint is taken is
// that checkpoint's; a restart cuts the rest off.
type fileSink struct {
	folder      folder
	path, name  string
	names       namer
	compression string
	log         *slog.Logger

	file   handle
	out    *output
	lines  lineBuffer
	header []byte // with which the file begins
	start  bool   // the start note lies there, and no checkpoint has said so
	err    error  // sticky
}

// startNote says how long the file was when the pipeline began, until a
// checkpoint knows more.
type startNote struct {
	File   string `json:"file"`
	Length int64  `json:"length"`
}

func openFileSink(d disk, path string, cfg *SinkConfig, t *sdk.Task, state []unfinished) (_ *fileSink, err error) {
	if t.Parallelism > 1 {
		return nil, sdk.Fatal(fmt.Errorf("one file is written by one task, and parallelism is %d: set it to 1, or write to a folder: %s/",
			t.Parallelism, path))
	}
	if len(state) > 1 || len(state) == 1 && state[0].File != path {
		return nil, sdk.Fatal(fmt.Errorf("the checkpoint belongs to a sink that wrote elsewhere (%s%s): "+
			"set path back to it, or start over with --fresh", state[0].File, state[0].Folder))
	}
	dir, err := openSinkFolder(d, filepath.Dir(path), t.RestoredCheckpoint == 0)
	if err != nil {
		return nil, err
	}
	s := &fileSink{
		folder: dir, path: path, name: filepath.Base(path), names: newNamer(t.Owner),
		compression: cfg.Compression, log: t.Log,
	}
	defer func() {
		if err != nil {
			err = errors.Join(explain(err, path), s.Close())
		}
	}()
	if s.lines.encoder, s.header, err = cfg.encoder(); err != nil {
		return nil, err
	}
	if len(state) == 1 && state[0].Header != string(s.header) {
		return nil, sdk.Fatal(fmt.Errorf("%s begins with another header than the one of the configuration: "+
			"set csv back to what it was, or start over with another file", path))
	}
	pack, err := newPacker(cfg.Compression)
	if err != nil {
		return nil, err
	}
	if err := s.openFile(len(state) == 0); err != nil {
		return nil, err
	}
	length, err := s.length(state)
	if err != nil {
		return nil, err
	}
	if err := s.cutBack(length); err != nil {
		return nil, err
	}
	s.out = newOutput(s.file, length, pack)
	switch {
	case len(state) > 0:
	case length == 0:
		s.lines.prefix(s.header)
	case pack == nil:
		return s, s.endLine(length)
	}
	return s, nil
}

// endLine ends the last line of what was there before the pipeline.
func (s *fileSink) endLine(length int64) error {
	if length == 0 {
		return nil
	}
	var last [1]byte
	if _, err := s.file.Seek(length-1, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.file, last[:]); err != nil {
		return err
	}
	if last[0] != '\n' {
		s.lines.prefix([]byte("\n"))
	}
	return nil
}

// openFile opens the file for this process alone.
func (s *fileSink) openFile(first bool) (err error) {
	s.file, err = s.folder.update(s.name, first)
	if errors.Is(err, fs.ErrNotExist) {
		return sdk.Fatal(fmt.Errorf("the output file %s is gone: put it back, or start over with --fresh (%w)", s.path, err))
	}
	if err != nil {
		return err
	}
	got, err := s.file.lock()
	if err == nil && !got {
		err = fmt.Errorf("%s is being written by another process: stop it, or write to another file", s.path)
	}
	return err
}

// length returns how much of the file is to stay: what the checkpoint says, or
// what was there before the pipeline.
func (s *fileSink) length(state []unfinished) (int64, error) {
	if len(state) == 1 {
		return state[0].Size, nil
	}
	s.start = true
	name := s.names.startName()
	note, err := s.readNote(name)
	if err != nil {
		return 0, err
	}
	if note != nil && note.File != s.path {
		return 0, sdk.Fatal(fmt.Errorf("the note %s says that this pipeline writes to %s: set path back to it, or start over with --fresh",
			filepath.Join(filepath.Dir(s.path), name), note.File))
	}
	if note != nil {
		// Whoever wrote it may not have come so far as to sync its name.
		return note.Length, s.folder.sync()
	}
	length, err := s.folder.size(s.name)
	if err != nil {
		return 0, err
	}
	return length, s.writeNote(name, startNote{s.path, length})
}

// readNote returns nil where there is no note, or one that was never finished:
// then nothing was written to the file either.
func (s *fileSink) readNote(name string) (*startNote, error) {
	h, err := s.folder.update(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(h)
	if err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return nil, err
	}
	note := new(startNote)
	if json.Unmarshal(text, note) != nil {
		return nil, s.folder.remove(name)
	}
	return note, nil
}

func (s *fileSink) writeNote(name string, note startNote) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	h, err := s.folder.create(name)
	if err != nil {
		return err
	}
	if _, err = h.Write(append(text, '\n')); err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return err
	}
	return s.folder.sync()
}

// cutBack leaves the first bytes of the file.
func (s *fileSink) cutBack(length int64) error {
	size, err := s.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	switch {
	case size < length:
		return sdk.Fatal(fmt.Errorf("%s has %d bytes, and the checkpoint counts on %d: someone has shortened it; "+
			"put it back as it was, or start over with --fresh", s.path, size, length))
	case size > length:
		s.log.Info("cut off what no checkpoint covers", "file", s.path, "bytes", size-length)
		if err := s.file.Truncate(length); err != nil {
			return err
		}
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// Write implements [sdk.Sink].
func (s *fileSink) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	return s.add(in.Values(), in.Len(), func(i int, err error) { failed.Fail(in.At(i), err) })
}

func (s *fileSink) add(values sdk.Column, n int, fail func(i int, err error)) error {
	if s.err != nil {
		return s.err
	}
	return s.stick(s.lines.add(values, n, s.writeOut, fail))
}

// writeOut writes at the end of the file, which must be where it was left.
func (s *fileSink) writeOut(p []byte) error {
	size, err := s.file.Seek(0, io.SeekEnd)
	if err == nil {
		err = s.unchanged(size)
	}
	if err != nil {
		return err
	}
	return s.out.write(p)
}

func (s *fileSink) unchanged(size int64) error {
	if size == s.out.size {
		return nil
	}
	return fmt.Errorf("%s has %d bytes, and %d were written: something else writes to it, or has shortened it", s.path, size, s.out.size)
}

// Flush implements [sdk.Sink].
func (s *fileSink) Flush(context.Context) error {
	if s.err != nil {
		return s.err
	}
	return s.stick(s.flush())
}

func (s *fileSink) flush() error {
	if err := s.lines.flush(s.writeOut); err != nil {
		return err
	}
	if err := s.out.settle(); err != nil {
		return err
	}
	ours, err := s.folder.leadsTo(s.name, s.file)
	if err == nil && !ours {
		err = sdk.Fatal(fmt.Errorf("the output file %s was moved away or removed while it was written: "+
			"put it back, or start over with --fresh", s.path))
	}
	if err != nil {
		return err
	}
	size, err := s.folder.size(s.name)
	if err != nil {
		return err
	}
	return s.unchanged(size)
}

// Prepare implements [sdk.TwoPhase]. There is nothing to publish; but once the
// checkpoint is complete, it and not the start note says how long the file is.
func (s *fileSink) Prepare(context.Context, sdk.Checkpoint) ([]committable, error) {
	if s.err != nil || !s.start {
		return nil, s.err
	}
	s.start = false
	return []committable{{Folder: filepath.Dir(s.path), Start: s.names.startName()}}, nil
}

// WriterState implements [sdk.WriterState].
func (s *fileSink) WriterState(context.Context) ([]unfinished, error) {
	if s.err != nil {
		return nil, s.err
	}
	return []unfinished{{File: s.path, Size: s.out.size, Compression: s.compression, Header: string(s.header)}}, nil
}

// Due implements [sdk.Roller]: nothing waits in a single file.
func (s *fileSink) Due() bool { return false }

func (s *fileSink) stick(err error) error {
	if err != nil && s.err == nil {
		s.err = explain(err, s.path)
	}
	return s.err
}

// Close implements [sdk.Sink].
func (s *fileSink) Close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	return errors.Join(err, s.folder.close())
}

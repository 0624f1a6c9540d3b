package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/weirstream/weir/sdk"
)

// folderSink writes parts under hidden names, which a committer publishes.
type folderSink struct {
	disk        disk
	folder      folder
	path        string
	names       namer
	epoch       uint64
	task        int
	roll        Roll
	compression string
	extension   string // without that of the compression
	header      []byte // with which each file begins
	now         func() time.Time

	lines   lineBuffer
	pack    packer
	open    *part   // nil until something is to be written out
	done    []*part // complete, to be prepared
	next    int     // number of the next part
	renamed bool    // names have changed since the folder was synced
	ended   bool    // and the committer knows
	err     error   // sticky: nothing is known of the output after it

	// When the first and the last record came that are not in a complete part.
	opened, written time.Time
}

// part is one file under its hidden name.
type part struct {
	key         partKey
	name        string
	file        handle
	out         *output
	compression string
}

func openFolderSink(d disk, path string, cfg *SinkConfig, t *sdk.Task, state []unfinished) (*folderSink, error) {
	dir, err := openSinkFolder(d, path, t.RestoredCheckpoint == 0)
	if err != nil {
		return nil, err
	}
	s := &folderSink{
		disk: d, folder: dir, path: path,
		names: newNamer(t.Owner), epoch: t.Epoch, task: t.Index,
		roll: cfg.roll(), compression: cfg.Compression, extension: cfg.Extension,
		now: time.Now,
	}
	if s.lines.encoder, s.header, err = cfg.encoder(); err == nil {
		s.pack, err = newPacker(cfg.Compression)
	}
	if err == nil {
		err = s.restore(state)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Write implements [sdk.Sink].
func (s *folderSink) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	return s.add(in.Values(), in.Len(), func(i int, err error) { failed.Fail(in.At(i), err) })
}

// add takes a column of n records.
func (s *folderSink) add(values sdk.Column, n int, fail func(i int, err error)) error {
	if s.err != nil {
		return s.err
	}
	s.written = s.now()
	if s.opened.IsZero() {
		s.opened = s.written
	}
	err := s.lines.add(values, n, s.writeOut, fail)
	if err == nil && s.size() >= int64(s.roll.Size) {
		err = s.complete()
	}
	return s.stick(err)
}

// size is that of the open part once it is flushed, as far as that can be told.
func (s *folderSink) size() int64 {
	var size int64
	if s.open != nil {
		size = s.open.out.size
	}
	if s.pack == nil {
		size += int64(len(s.lines.b))
	}
	return size
}

// writeOut writes to the open part.
func (s *folderSink) writeOut(p []byte) error {
	if s.open == nil {
		opened, err := s.create(s.compression)
		if err != nil {
			return err
		}
		s.open = opened
		if len(s.header) > 0 {
			if err := s.open.out.write(s.header); err != nil {
				return err
			}
		}
	}
	return s.open.out.write(p)
}

// create begins a part. Nobody else ever uses its name.
func (s *folderSink) create(compression string) (*part, error) {
	k := partKey{s.epoch, s.task, s.next}
	p := &part{key: k, name: s.names.part(k), compression: compression}
	var err error
	if p.file, err = s.folder.create(p.name); err != nil {
		if gone := s.folder.here(); gone != nil {
			err = folderError(gone, s.path)
		}
		return nil, err
	}
	s.next++
	s.renamed = true
	p.out = newOutput(p.file, 0, s.pack)
	return p, nil
}

// complete ends the open part; what is gathered goes into it first.
func (s *folderSink) complete() error {
	if err := s.lines.flush(s.writeOut); err != nil {
		return err
	}
	s.opened, s.written = time.Time{}, time.Time{}
	if s.open == nil {
		return nil
	}
	p := s.open
	if err := p.out.settle(); err != nil {
		return err
	}
	if err := p.file.Close(); err != nil {
		return err
	}
	p.file, s.open = nil, nil
	s.done = append(s.done, p)
	return nil
}

// Flush implements [sdk.Sink].
func (s *folderSink) Flush(context.Context) error {
	if s.err != nil {
		return s.err
	}
	return s.stick(s.flush())
}

// flush makes everything durable that was accepted.
func (s *folderSink) flush() error {
	if err := s.lines.flush(s.writeOut); err != nil {
		return err
	}
	if s.open != nil {
		if err := s.open.out.settle(); err != nil {
			return err
		}
	} else {
		// Nothing came of what was counted from: all of it failed.
		s.opened, s.written = time.Time{}, time.Time{}
	}
	if s.renamed {
		if err := s.folder.sync(); err != nil {
			return err
		}
		s.renamed = false
	}
	return s.check()
}

// check looks whether what was written is still where it was written to: an open
// file takes bytes also when nobody will ever find it again.
func (s *folderSink) check() error {
	if err := s.folder.here(); err != nil {
		return folderError(err, s.path)
	}
	for _, p := range s.unprepared() {
		size, err := s.folder.size(p.name)
		if err == nil && size != p.out.size {
			err = fmt.Errorf("%d bytes long, and %d were written", size, p.out.size)
		}
		if err != nil {
			return fmt.Errorf("the unpublished output %s in %s was changed by someone else: %w", p.name, s.path, err)
		}
	}
	return nil
}

// unprepared returns the parts that no checkpoint has yet as prepared.
func (s *folderSink) unprepared() []*part {
	if s.open == nil {
		return s.done
	}
	return append(s.done[:len(s.done):len(s.done)], s.open)
}

// Prepare implements [sdk.TwoPhase].
func (s *folderSink) Prepare(_ context.Context, c sdk.Checkpoint) ([]committable, error) {
	if s.err != nil {
		return nil, s.err
	}
	prepared, err := s.prepare(c)
	return prepared, s.stick(err)
}

func (s *folderSink) prepare(c sdk.Checkpoint) ([]committable, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	if c.Roll || c.Final || s.late() || s.size() >= int64(s.roll.Size) {
		if err := s.complete(); err != nil {
			return nil, err
		}
	}
	var prepared []committable
	for _, p := range s.done {
		prepared = append(prepared, committable{
			Folder: s.path,
			Part:   p.name,
			Name:   s.names.publishedName(p.key, c.Number, extension(s.extension, p.compression)),
			Size:   p.out.size,
		})
	}
	s.done = nil
	if c.Final && !s.ended {
		s.ended = true
		prepared = append(prepared, committable{Folder: s.path, Ended: s.epoch})
	}
	return prepared, nil
}

// late reports whether the open part has waited for long enough.
func (s *folderSink) late() bool {
	if s.opened.IsZero() {
		return false
	}
	now := s.now()
	return s.roll.Interval > 0 && now.Sub(s.opened) >= s.roll.Interval ||
		s.roll.Inactivity > 0 && now.Sub(s.written) >= s.roll.Inactivity
}

// Due implements [sdk.Roller].
func (s *folderSink) Due() bool { return s.err == nil && (len(s.done) > 0 || s.late()) }

// WriterState implements [sdk.WriterState].
func (s *folderSink) WriterState(context.Context) ([]unfinished, error) {
	if s.open == nil {
		return nil, s.err
	}
	return []unfinished{{
		Folder: s.path, Part: s.open.name, Size: s.open.out.size, Compression: s.compression,
		Opened: s.opened, Written: s.written, Header: string(s.header),
	}}, s.err
}

// restore copies what earlier epochs have left unfinished into parts of this one:
// a process of theirs may still be writing to its own.
func (s *folderSink) restore(state []unfinished) error {
	for _, u := range state {
		p, err := s.copy(u)
		if err != nil {
			return explain(err, s.path)
		}
		if s.open == nil && u.Compression == s.compression && u.Header == string(s.header) && u.Size < int64(s.roll.Size) {
			s.open, s.opened, s.written = p, u.Opened, u.Written
			continue
		}
		if err := p.file.Close(); err != nil {
			return err
		}
		p.file = nil
		s.done = append(s.done, p)
	}
	if s.renamed {
		s.renamed = false
		return explain(s.folder.sync(), s.path)
	}
	return nil
}

// copy makes a part of the valid prefix of another epoch's.
func (s *folderSink) copy(u unfinished) (*part, error) {
	if u.File != "" {
		return nil, sdk.Fatal(fmt.Errorf("the checkpoint belongs to a sink that wrote to the file %s: "+
			"set path back to it, or start over with --fresh", u.File))
	}
	from, err := s.find(u)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sdk.Fatal(fmt.Errorf("the checkpoint goes on with %d bytes of unpublished output in %s in %s, which is gone: "+
			"put it back, or start over with --fresh (%w)", u.Size, u.Part, u.Folder, err))
	}
	if err != nil {
		return nil, err
	}
	p, err := s.create(u.Compression)
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	err = p.file.copyFrom(from, u.Size)
	if err == nil {
		p.out.size = u.Size
		err = p.file.Sync()
	}
	if err = errors.Join(err, from.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("going on with %s of %s: %w", u.Part, u.Folder, err), p.file.Close())
	}
	return p, nil
}

// find opens another epoch's part.
func (s *folderSink) find(u unfinished) (h handle, err error) {
	part, ok := s.names.parseHidden(u.Part)
	if !ok {
		return nil, sdk.Fatal(fmt.Errorf("the checkpoint goes on with a file %q, which is no output of this node", u.Part))
	}
	dir := s.folder
	if u.Folder != s.path {
		if dir, err = s.disk.folder(u.Folder); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, dir.close()) }()
	}
	if h, err = dir.open(u.Part); !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	names, listing := dir.list()
	if listing != nil {
		return nil, listing
	}
	for _, name := range names {
		if f, ok := s.names.parseHidden(name); ok && f.kind == keptKind && f.partKey == part.partKey {
			return dir.open(name)
		}
	}
	return nil, err
}

// stick keeps the first error: the output is then in a state that only a restart
// from a checkpoint can tell.
func (s *folderSink) stick(err error) error {
	if err != nil && s.err == nil {
		s.err = explain(err, s.path)
	}
	return s.err
}

// Close implements [sdk.Sink].
func (s *folderSink) Close() error {
	var err error
	if s.open != nil {
		err = s.open.file.Close()
	}
	return errors.Join(err, s.folder.close())
}

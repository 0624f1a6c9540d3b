package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirstream/weir/sdk"
)

// SinkConfig is the sink's configuration.
type SinkConfig struct {
	Path        string `weir:"path,required" doc:"A folder, with a / at its end: files appear in it whole, once a checkpoint is complete. Or a file: lines are appended to it, parallelism is 1, and a restart cuts off what no checkpoint covers, which readers may have seen."`
	Format      string `weir:"format" default:"lines" enum:"lines,json,csv" doc:"lines: each value and a newline; a value with a newline in it is a failed record. json: each value, which must be JSON, on one line. csv: a record of each value, which must be a JSON object. A null value is a failed record. See docs/formats.md."`
	CSV         *CSV   `weir:"csv" doc:"How csv is written."`
	Roll        *Roll  `weir:"roll" doc:"When a file of a folder is complete. It is published with the next checkpoint."`
	Compression string `weir:"compression" default:"none" enum:"none,gzip,zstd" doc:"Each checkpoint ends a gzip member or zstd frame; the usual tools read several in one file."`
	Extension   string `weir:"extension" default:"txt" pattern:"[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*" doc:"The end of the names of files in a folder, before .gz or .zst."`
	Shared      bool   `weir:"shared" default:"false" doc:"The path is on a file system that all hosts share, so that tasks may move between hosts."`
}

// Roll says when a file of a folder is complete.
type Roll struct {
	Size       sdk.ByteSize  `weir:"size" default:"128MiB" min:"1" doc:"Bytes, as compressed. After a failure this much is copied at the most."`
	Interval   time.Duration `weir:"interval" default:"1m" min:"0s" doc:"Time after its first record; 0s is never."`
	Inactivity time.Duration `weir:"inactivity" default:"0s" min:"0s" doc:"Time after its last record; 0s is never."`
}

// Validate implements [sdk.Validator].
func (c *SinkConfig) Validate() []sdk.FieldError {
	faults := c.formatFaults()
	if c.Roll != nil && !c.folder() {
		faults = append(faults, sdk.Faultf("roll",
			"only a folder has files that roll, and %q is a file: write %q for a folder", c.Path, c.Path+"/"))
	}
	return faults
}

// Capabilities implements [sdk.Claimer].
func (c *SinkConfig) Capabilities(caps *sdk.Capabilities) {
	caps.Local = !c.Shared
	caps.SingleTask = !c.folder()
}

// Probe implements [sdk.Prober].
func (c *SinkConfig) Probe(context.Context, sdk.Probe) []sdk.FieldError {
	info, err := os.Stat(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.probeMissing()
	case err != nil:
		return []sdk.FieldError{sdk.Faultf("path", "%v", err)}
	case info.IsDir() && !c.folder():
		return []sdk.FieldError{sdk.Faultf("path", "%q is a folder: write %q", c.Path, c.Path+"/")}
	case !info.IsDir() && c.folder():
		return []sdk.FieldError{sdk.Faultf("path", "%q is no folder: leave the / at the end away for a file", c.Path)}
	}
	if err := writable(c.Path); err != nil {
		return []sdk.FieldError{sdk.Faultf("path", "cannot be written to: %v", err)}
	}
	return nil
}

// probeMissing is about a path that does not exist: only its folder counts.
func (c *SinkConfig) probeMissing() []sdk.FieldError {
	dir := filepath.Clean(c.Path)
	if !c.folder() {
		dir = filepath.Dir(dir)
	}
	at := dir
	info, err := os.Stat(at)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
		info, err = os.Stat(at)
	}
	switch {
	case err != nil:
		return []sdk.FieldError{sdk.Faultf("path", "%v", err)}
	case !info.IsDir():
		return []sdk.FieldError{sdk.Faultf("path", "%q cannot be made: %q is no folder", dir, at)}
	}
	if err := writable(at); err != nil {
		return []sdk.FieldError{sdk.Faultf("path", "%q cannot be made: %v", dir, err)}
	}
	if at != dir {
		return []sdk.FieldError{sdk.Warnf("path", "the folder %q does not exist: it is made at the first start", dir)}
	}
	return nil
}

// folder reports whether the path is that of a folder.
func (c *SinkConfig) folder() bool {
	return strings.HasSuffix(c.Path, "/") || strings.HasSuffix(c.Path, string(filepath.Separator))
}

// roll returns when a file is complete.
func (c *SinkConfig) roll() Roll {
	if c.Roll != nil {
		return *c.Roll
	}
	return Roll{Size: 128 << 20, Interval: time.Minute}
}

// extension returns what the names of published files end with.
func extension(plain, compression string) string { return plain + compressedExtensions[compression] }

// Sink returns the component.
func Sink() sdk.Component {
	return sdk.NewTwoPhaseSink("file", "Writes records as lines to the files of a folder, or to one file.",
		func(_ context.Context, cfg *SinkConfig, t *sdk.Task) (writer, error) {
			state, err := sdk.RestoredWriterState[unfinished](t)
			if err != nil {
				return nil, sdk.Fatal(err)
			}
			return openWriter(osDisk{}, cfg, t, state)
		},
		func(_ context.Context, cfg *SinkConfig, n *sdk.Node) (*committer, error) {
			return newCommitter(osDisk{}, cfg, n)
		},
		sdk.Retract(),
		sdk.Description(sinkDescription),
		sdk.Example("Compressed files of 64 MiB, each at most five minutes old",
			"path: out/\nroll: {size: 64MiB, interval: 5m}\ncompression: zstd\nextension: jsonl\n"),
		sdk.Example("Comma-separated values", "path: out/\nextension: csv\nformat: csv\ncsv: {columns: [id, customer, amount]}\n"),
		sdk.Example("One file", "path: out.jsonl\n"))
}

const sinkDescription = "A folder gets files named `<node>-<uid>-<epoch>-<checkpoint>-<task>-<number>.<extension>`, " +
	"which sort in the order of each task's records. A file appears when the checkpoint is complete that holds it, whole, " +
	"and never changes again: it may be moved away or deleted at once. Hidden files beginning with `.weir.` are output " +
	"that is not published yet, and notes of what is; they go away by themselves.\n\n" +
	"One file is appended to by a single task. It holds every record once, but what was written after the last " +
	"checkpoint is cut off again when the pipeline restarts."

// writer is either of the two sinks.
type writer interface {
	sdk.TwoPhase[committable]
	sdk.WriterState[unfinished]
	sdk.Roller
}

// committable is a piece of prepared output, or a note for the committer.
type committable struct {
	// Folder is where the part lies and is published.
	Folder string `json:"folder,omitempty"`
	Part   string `json:"part,omitempty"`
	Name   string `json:"name,omitempty"`
	Size   int64  `json:"size,omitempty"`
	// Ended, of a folder and without a part: the task's input has ended, so that
	// what epochs before this one have left can go.
	Ended uint64 `json:"ended_epoch,omitempty"`
	// Start, of a single file: its start note is not needed any more.
	Start string `json:"start,omitempty"`
}

// unfinished is writer state: output that is not prepared, and how much of it the
// checkpoint covers.
type unfinished struct {
	// Folder and Part, or File.
	Folder      string    `json:"folder,omitempty"`
	Part        string    `json:"part,omitempty"`
	File        string    `json:"file,omitempty"`
	Size        int64     `json:"size"`
	Compression string    `json:"compression,omitempty"`
	Header      string    `json:"header,omitempty"` // with which the file begins
	Opened      time.Time `json:"opened,omitzero"`
	Written     time.Time `json:"written,omitzero"`
}

func openWriter(d disk, cfg *SinkConfig, t *sdk.Task, state []unfinished) (writer, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", cfg.Path, err)
	}
	if cfg.folder() {
		return openFolderSink(d, path, cfg, t, state)
	}
	return openFileSink(d, path, cfg, t, state)
}

// explain says what a person can do about an error.
func explain(err error, path string) error {
	if diskFull(err) {
		return fmt.Errorf("%s: the disk is full: %w: make room, and the pipeline goes on from its last checkpoint", path, err)
	}
	return err
}

// openSinkFolder opens the folder that a sink writes to. It is made where nothing
// is lost by that: before the first checkpoint.
func openSinkFolder(d disk, path string, first bool) (folder, error) {
	f, err := d.folder(path)
	if errors.Is(err, fs.ErrNotExist) && first {
		if err := d.makeFolder(path); err != nil {
			return nil, explain(fmt.Errorf("making the folder: %w", err), path)
		}
		f, err = d.folder(path)
	}
	return f, folderError(err, path)
}

// folderError says what it means that a folder is missing.
func folderError(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return sdk.Fatal(fmt.Errorf("the folder %s is gone, and with it output that was not published: "+
			"put it back as it was, or start over with --fresh (%w)", path, err))
	}
	return explain(err, path)
}

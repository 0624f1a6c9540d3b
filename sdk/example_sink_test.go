package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// SpoolConfig is what a pipeline file may set.
type SpoolConfig struct {
	Folder string `weir:"folder,required" doc:"Where files appear, one a task and checkpoint."`
}

// Spool writes a file for each checkpoint. A file is hidden until it is committed.
type Spool struct {
	cfg   *SpoolConfig
	task  *sdk.Task
	lines bytes.Buffer
}

// SpoolFile is a prepared file: kept in checkpoints, for a Committer anywhere.
type SpoolFile struct {
	Name string `json:"name"`
}

func (s *Spool) Write(_ context.Context, in *sdk.Batch, failed *sdk.Collector) error {
	for r := range in.All() {
		if bytes.ContainsRune(r.Value(), '\n') {
			failed.Fail(r, errors.New("a line cannot hold a newline"))
			continue
		}
		s.lines.Write(r.Value())
		s.lines.WriteByte('\n')
	}
	return nil
}

func (s *Spool) Flush(context.Context) error { return nil }

func (s *Spool) Prepare(_ context.Context, c sdk.Checkpoint) ([]SpoolFile, error) {
	if s.lines.Len() == 0 {
		return nil, nil
	}
	// The name carries who made it, so that nobody takes what a process of an
	// earlier epoch writes late for ours.
	f := SpoolFile{fmt.Sprintf("%s-%s-%d-%d-%d", s.task.UID, s.task.Node, s.task.Epoch, s.task.Index, c.Number)}
	if err := os.WriteFile(filepath.Join(s.cfg.Folder, "."+f.Name), s.lines.Bytes(), 0o644); err != nil {
		return nil, err
	}
	s.lines.Reset()
	return []SpoolFile{f}, nil
}

func (s *Spool) Close() error { return nil }

// SpoolCommitter publishes files.
type SpoolCommitter struct {
	cfg  *SpoolConfig
	node *sdk.Node
}

// Commit may be repeated: a file that is published already is as good.
func (c *SpoolCommitter) Commit(_ context.Context, files []SpoolFile) error {
	for _, f := range files {
		visible := filepath.Join(c.cfg.Folder, f.Name)
		err := os.Rename(filepath.Join(c.cfg.Folder, "."+f.Name), visible)
		if errors.Is(err, fs.ErrNotExist) {
			if _, gone := os.Stat(visible); gone != nil {
				return sdk.Fatal(fmt.Errorf("%s is lost: %w", f.Name, err))
			}
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes what earlier epochs prepared and no checkpoint holds.
func (c *SpoolCommitter) Sweep(_ context.Context, s sdk.Sweep) error {
	for _, g := range s.Earlier {
		for index := range g.Parallelism {
			left, err := filepath.Glob(filepath.Join(c.cfg.Folder, fmt.Sprintf(".%s-%s-%d-%d-*", c.node.UID, c.node.Node, g.Epoch, index)))
			if err != nil {
				return err
			}
			for _, name := range left {
				if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}

func (c *SpoolCommitter) Close() error { return nil }

// A sink that gives exactly-once, and a test that fails between two checkpoints.
func ExampleNewTwoPhaseSink() {
	spool := sdk.NewTwoPhaseSink("spool", "Writes a file for each checkpoint.",
		func(_ context.Context, cfg *SpoolConfig, t *sdk.Task) (*Spool, error) {
			return &Spool{cfg: cfg, task: t}, nil
		},
		func(_ context.Context, cfg *SpoolConfig, n *sdk.Node) (*SpoolCommitter, error) {
			return &SpoolCommitter{cfg, n}, nil
		},
		sdk.Local())

	folder, err := os.MkdirTemp("", "spool")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	show := func(when string) {
		visible, _ := filepath.Glob(filepath.Join(folder, "[^.]*"))
		fmt.Println(when+":", len(visible), "files")
	}
	inTest(func(t testing.TB) {
		sink := sdktest.NewSink(t, spool, map[string]any{"folder": folder})
		failed := sink.Write(sdktest.Values("a", "b\n", "c")...)
		fmt.Println("failed:", failed[0].Err)
		checkpoint, _ := sink.Checkpoint()
		fmt.Printf("prepared: %s\n", checkpoint.Committables[0])
		show("prepared")

		sink.Write(sdktest.Values("lost with the process")...)
		sink.Checkpoint()
		sink = sink.Restart(checkpoint) // from the first checkpoint, whose commit never answered
		show("restarted")

		sink.Write(sdktest.Values("d")...)
		end, _ := sink.End()
		sink.Commit(end)
		show("ended")
	})
	// Output:
	// failed: a line cannot hold a newline
	// prepared: {"name":"0123456789abcdef-node-1-0-1"}
	// prepared: 0 files
	// restarted: 1 files
	// ended: 2 files
}

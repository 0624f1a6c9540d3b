package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/client"
	"github.com/weirstream/weir/host/api/view"
)

// socketFile is the API's socket in the folder for sockets.
const socketFile = "api.sock"

// Pipelines are those of a state folder: one that runs is asked over its socket, of
// another it is told what is stored.
type Pipelines struct{ StateDir string }

var (
	_ api.Reader  = Pipelines{}
	_ api.Changer = Pipelines{}
)

// connect returns a client of the process that runs the pipeline. Whether there is
// one shows at the first request.
func (p Pipelines) connect(name string) (*client.Client, error) {
	dir := filepath.Join(Dir(p.StateDir, name), socketsDir)
	// It may be a link to where paths are short enough.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return client.New("unix://"+filepath.ToSlash(filepath.Join(dir, socketFile)), client.Options{})
}

// ask asks the process that runs the pipeline, or otherwise what is stored.
func ask[T any](ctx context.Context, p Pipelines, name string, running func(*client.Client) (T, error), stored func(Peeked, checkpoint.History) (T, error)) (T, error) {
	var zero T
	names, err := Names(p.StateDir)
	if err != nil {
		return zero, err
	}
	if !slices.Contains(names, name) {
		return zero, api.PipelineNotFound(name, names)
	}
	c, err := p.connect(name)
	if err != nil {
		return zero, err
	}
	defer c.Close()
	got, err := running(c)
	if !client.Absent(err) {
		return got, err
	}
	peeked, err := Peek(ctx, p.StateDir, name)
	if err != nil {
		return zero, err
	}
	h, err := checkpoint.NewLedger(peeked, nil, name).Load(ctx)
	if err == nil || errors.Is(err, coordination.ErrNotFound) {
		got, err = stored(peeked, h)
	}
	return got, errors.Join(err, peeked.Close())
}

// notRunning refuses what only a process that runs the pipeline can do.
func notRunning[T any](name string) func(Peeked, checkpoint.History) (T, error) {
	return func(Peeked, checkpoint.History) (zero T, err error) {
		return zero, api.Problemf(api.CodeNotRunning, "%s is not running here; weir run FILE starts it, weir status %s says how it ended", name, name)
	}
}

// List implements [api.Reader].
func (p Pipelines) List(ctx context.Context) ([]api.Pipeline, error) {
	names, err := Names(p.StateDir)
	if err != nil {
		return nil, err
	}
	var all []api.Pipeline
	for _, name := range names {
		s, err := p.Status(ctx, name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // it was removed meanwhile
		case err != nil:
			all = append(all, api.Pipeline{Name: name, State: api.StateStopped, Problem: err.Error()})
			continue
		}
		all = append(all, view.Pipeline(s, time.Now()))
	}
	return all, nil
}

// Status implements [api.Reader].
func (p Pipelines) Status(ctx context.Context, name string) (api.Status, error) {
	return ask(ctx, p, name,
		func(c *client.Client) (api.Status, error) { return c.Status(ctx, name) },
		func(r Peeked, h checkpoint.History) (api.Status, error) { return lastStatus(ctx, r, name, h) })
}

// Tasks implements [api.Reader].
func (p Pipelines) Tasks(ctx context.Context, name string) ([]api.Task, error) {
	return ask(ctx, p, name,
		func(c *client.Client) ([]api.Task, error) { return c.Tasks(ctx, name) },
		func(Peeked, checkpoint.History) ([]api.Task, error) { return nil, nil })
}

// Checkpoints implements [api.Reader].
func (p Pipelines) Checkpoints(ctx context.Context, name string) ([]api.Checkpoint, error) {
	return ask(ctx, p, name,
		func(c *client.Client) ([]api.Checkpoint, error) { return c.Checkpoints(ctx, name) },
		func(_ Peeked, h checkpoint.History) ([]api.Checkpoint, error) { return view.Checkpoints(h), nil })
}

// Failures implements [api.Reader].
func (p Pipelines) Failures(ctx context.Context, name string) ([]api.Failure, error) {
	return ask(ctx, p, name,
		func(c *client.Client) ([]api.Failure, error) { return c.Failures(ctx, name) },
		notRunning[[]api.Failure](name))
}

// Logs implements [api.Reader].
func (p Pipelines) Logs(ctx context.Context, name string, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return stream(ctx, p, name, func(c *client.Client) iter.Seq2[api.LogRecord, error] { return c.Logs(ctx, name, q) })
}

// Tap implements [api.Reader].
func (p Pipelines) Tap(ctx context.Context, name string, q api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return stream(ctx, p, name, func(c *client.Client) iter.Seq2[api.TapRecord, error] { return c.Tap(ctx, name, q) })
}

// stream reads what the process that runs the pipeline streams.
func stream[T any](ctx context.Context, p Pipelines, name string, read func(*client.Client) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		// That it runs is asked first: a stream cannot be asked twice.
		c, err := ask(ctx, p, name,
			func(c *client.Client) (*client.Client, error) {
				if _, err := c.Status(ctx, name); err != nil {
					return nil, err
				}
				return p.connect(name)
			}, notRunning[*client.Client](name))
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		defer c.Close()
		read(c)(yield)
	}
}

// Savepoint implements [api.Changer].
func (p Pipelines) Savepoint(ctx context.Context, name string, r api.SavepointRequest) (api.Savepoint, error) {
	return ask(ctx, p, name, func(c *client.Client) (api.Savepoint, error) { return c.Savepoint(ctx, name, r) }, notRunning[api.Savepoint](name))
}

// Stop implements [api.Changer].
func (p Pipelines) Stop(ctx context.Context, name string, r api.StopRequest) (api.Stopped, error) {
	return ask(ctx, p, name, func(c *client.Client) (api.Stopped, error) { return c.Stop(ctx, name, r) }, notRunning[api.Stopped](name))
}

// SetLogLevel implements [api.Changer].
func (p Pipelines) SetLogLevel(ctx context.Context, name string, r api.LogLevelRequest) error {
	_, err := ask(ctx, p, name, func(c *client.Client) (struct{}, error) { return struct{}{}, c.SetLogLevel(ctx, name, r) }, notRunning[struct{}](name))
	return err
}

// ListenAPI listens on the API's socket in the folder that Sockets has made. Only this
// user can connect.
func ListenAPI(sockets string) (net.Listener, error) {
	path := filepath.Join(sockets, socketFile)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket of the API: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("socket of the API: %w", err), l.Close())
	}
	return l, nil
}

package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/view"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/pipeline"
)

// Engine is what Running asks and tells; an [engine.Engine] is one.
type Engine interface {
	Status() engine.Status
	Leader() engine.LeaderStatus
	Tasks() []engine.TaskStatus
	UID() string
	Stop()
	StopWithSavepoint(ctx context.Context, name string) error
	Savepoint(ctx context.Context, name string) error
	LevelsChanged()
	Tap(node, output string) *engine.Tap
	Untap(t *engine.Tap)
}

// Running is the pipeline that this process runs, as the API sees it.
type Running struct {
	file     string
	topology engine.Topology
	mask     func(string) string // of secrets in texts
	engine   Engine
	ledger   *checkpoint.Ledger
	journal  *journal.Journal

	ended chan struct{} // closed by End
	end   api.Stopped   // set before

	mu     sync.Mutex
	change string // what changes the pipeline now; empty for nothing
	levels journal.Levels
}

var _ api.Pipelines = (*Running)(nil)

// NewRunning returns the API's view of a pipeline that an engine runs. Its log is
// read from the journal.
func (h *Home) NewRunning(p *pipeline.Pipeline, e Engine, j *journal.Journal) *Running {
	file := p.File
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	return &Running{
		file: file, topology: engine.TopologyOf(p), mask: p.Mask, engine: e, journal: j,
		ledger: checkpoint.NewLedger(h.store, nil, p.Name),
		ended:  make(chan struct{}),
	}
}

// End tells whoever waits for the end of the run how it ended. It is called once.
func (r *Running) End(o engine.Outcome) {
	r.end = api.Stopped{State: api.State(r.engine.Status().State), Checkpoint: o.Checkpoint, Uncommitted: o.Uncommitted}
	close(r.ended)
}

func (r *Running) find(name string) error {
	if name != r.topology.Name {
		return api.PipelineNotFound(name, []string{r.topology.Name})
	}
	return nil
}

func (r *Running) status() api.Status {
	s := view.Status(r.topology, r.engine.Status(), r.engine.Leader(), time.Now())
	s.File, s.UID = r.file, r.engine.UID()
	r.mu.Lock()
	defer r.mu.Unlock()
	s.LogLevels = view.LogLevels(r.levels)
	return s
}

// List implements [api.Reader].
func (r *Running) List(context.Context) ([]api.Pipeline, error) {
	return []api.Pipeline{view.Pipeline(r.status(), time.Now())}, nil
}

// Status implements [api.Reader].
func (r *Running) Status(_ context.Context, name string) (api.Status, error) {
	if err := r.find(name); err != nil {
		return api.Status{}, err
	}
	return r.status(), nil
}

// Tasks implements [api.Reader].
func (r *Running) Tasks(_ context.Context, name string) ([]api.Task, error) {
	return view.Tasks(r.engine.Tasks(), "", time.Now()), r.find(name)
}

// Checkpoints implements [api.Reader].
func (r *Running) Checkpoints(ctx context.Context, name string) ([]api.Checkpoint, error) {
	if err := r.find(name); err != nil {
		return nil, err
	}
	h, err := r.ledger.Load(ctx)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return nil, err
	}
	return view.Checkpoints(h), nil
}

// Failures implements [api.Reader].
func (r *Running) Failures(_ context.Context, name string) ([]api.Failure, error) {
	return view.Failures(r.engine.Leader().Failures, ""), r.find(name)
}

// Logs implements [api.Reader].
func (r *Running) Logs(ctx context.Context, _ string, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return func(yield func(api.LogRecord, error) bool) { view.Logs(ctx, r.journal, "", q, yield) }
}

// Tap implements [api.Reader].
func (r *Running) Tap(ctx context.Context, _ string, q api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return func(yield func(api.TapRecord, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-r.ended:
				cancel()
			case <-ctx.Done():
			}
		}()
		tap := r.engine.Tap(q.Node, q.Output)
		defer r.engine.Untap(tap)
		view.Tap(ctx, tap, view.NewMask(r.mask, q.Mask), yield)
	}
}

// begin takes the turn to change the pipeline, and returns how to end it.
func (r *Running) begin(name, what string) (done func(), err error) {
	if err := r.find(name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.change != "" {
		return nil, api.Problemf(api.CodeConflict, "%s %s; wait for its end", name, r.change)
	}
	state := r.engine.Status().State
	if state != engine.StateRunning && (what != changeStop || api.State(state).Ended()) {
		return nil, api.Problemf(api.CodeNotRunning, "%s is %s", name, state)
	}
	r.change = what
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.change = ""
	}, nil
}

const changeStop = "is being stopped by another command"

// Savepoint implements [api.Changer].
func (r *Running) Savepoint(ctx context.Context, name string, q api.SavepointRequest) (api.Savepoint, error) {
	if q.Name == "" {
		q.Name = time.Now().UTC().Format("20060102-150405")
	}
	done, err := r.begin(name, fmt.Sprintf("is making savepoint %s since %s", q.Name, time.Now().Format(time.TimeOnly)))
	if err != nil {
		return api.Savepoint{}, err
	}
	made := make(chan error, 1)
	go func() { // ends with the epoch at the latest
		ctx := context.WithoutCancel(ctx)
		err := r.free(ctx, q.Name)
		if err == nil {
			err = r.engine.Savepoint(ctx, q.Name)
		}
		done() // before the answer: who has it may go on at once
		made <- err
	}()
	select {
	case err = <-made:
	case <-ctx.Done():
		return api.Savepoint{}, ctx.Err()
	}
	return r.savepoint(ctx, q.Name, err)
}

// free says that no savepoint has the name.
func (r *Running) free(ctx context.Context, savepoint string) error {
	h, err := r.ledger.Load(ctx)
	if errors.Is(err, coordination.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range h.Savepoints {
		if s.Savepoint == savepoint {
			return api.Problemf(api.CodeSavepointExists, "savepoint %s exists: it is checkpoint %d of %s", savepoint, s.N, s.CompletedAt.Local().Format(time.DateTime))
		}
	}
	if n, ok := h.Unstored()[savepoint]; ok {
		return api.Problemf(api.CodeSavepointExists, "savepoint %s is asked for already: it is checkpoint %d, and some of its output is still to be published", savepoint, n)
	}
	return nil
}

// savepoint answers with a savepoint that was made, or says why it was not.
func (r *Running) savepoint(ctx context.Context, name string, err error) (api.Savepoint, error) {
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return api.Savepoint{}, p
	case errors.Is(err, checkpoint.ErrSavepointExists):
		return api.Savepoint{}, api.Problemf(api.CodeSavepointExists, "savepoint %s exists", name)
	case errors.Is(err, engine.ErrNotRunning):
		return api.Savepoint{}, api.Problemf(api.CodeNotRunning, "%s is %s", r.topology.Name, r.engine.Status().State)
	case errors.Is(err, checkpoint.ErrStopped):
		return api.Savepoint{}, api.Problemf(api.CodeSavepointFailed,
			"savepoint %s is not complete: the pipeline stopped or rolled back before all its output was published. Where its checkpoint was complete, the next start completes it", name)
	case err != nil:
		return api.Savepoint{}, api.Problemf(api.CodeSavepointFailed, "%v", err)
	}
	h, err := r.ledger.Load(ctx)
	if err != nil {
		return api.Savepoint{}, err
	}
	for _, s := range h.Savepoints {
		if s.Savepoint == name {
			return api.Savepoint{Name: name, Number: s.N}, nil
		}
	}
	return api.Savepoint{}, fmt.Errorf("savepoint %s was made and is gone", name)
}

// Stop implements [api.Changer].
func (r *Running) Stop(ctx context.Context, name string, q api.StopRequest) (api.Stopped, error) {
	done, err := r.begin(name, changeStop)
	if err != nil {
		return api.Stopped{}, err
	}
	if q.Savepoint == "" {
		r.engine.Stop()
	} else {
		if err = r.free(ctx, q.Savepoint); err == nil {
			_, err = r.savepoint(ctx, q.Savepoint, r.engine.StopWithSavepoint(ctx, q.Savepoint))
		}
		if err != nil && r.engine.Status().State == engine.StateRunning {
			done() // nothing was stopped
			return api.Stopped{}, err
		}
	}
	select {
	case <-r.ended:
		return r.end, err
	case <-ctx.Done():
		return api.Stopped{}, ctx.Err()
	}
}

// SetLogLevel implements [api.Changer].
func (r *Running) SetLogLevel(_ context.Context, name string, q api.LogLevelRequest) error {
	if err := r.find(name); err != nil {
		return err
	}
	if names := r.topology.NodeNames(); q.Node != "" && !slices.Contains(names, q.Node) {
		return api.NodeNotFound(name, q.Node, names)
	}
	level, err := q.Parsed()
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.levels = r.levels.With(q.Node, level)
	r.journal.SetLevels("", r.levels)
	r.mu.Unlock()
	r.engine.LevelsChanged()
	return nil
}

// Measured implements [api.Pipelines].
func (r *Running) Measured(context.Context) ([]api.Status, error) {
	return []api.Status{r.status()}, nil
}

// Ready implements [api.Pipelines].
func (r *Running) Ready(context.Context) error {
	s := r.status()
	switch s.State {
	case api.StateRunning, api.StateFinishing, api.StateFinished:
		return nil
	}
	if s.Reason != "" {
		return fmt.Errorf("%s is %s: %s", s.Name, s.State, s.Reason)
	}
	return fmt.Errorf("%s is %s", s.Name, s.State)
}

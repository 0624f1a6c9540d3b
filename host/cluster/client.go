package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
)

// Client is what people ask of a cluster. Any host can do it: it only writes and
// reads records. It is safe for concurrent use.
type Client struct {
	store coordination.Store
}

// NewClient returns a client with a session.
func NewClient(s coordination.Store) *Client { return &Client{store: s} }

// Errors of a Client.
var (
	// ErrNoPipeline: there is no such pipeline.
	ErrNoPipeline = errors.New("no such pipeline")
	// ErrBusy: it has to be stopped first.
	ErrBusy = errors.New("the pipeline has not stopped")
	// ErrNoHost: there is no such host.
	ErrNoHost = errors.New("no such host")
)

// Submit makes a pipeline, or replaces what one of this name runs, which then goes
// on from its state with the new file. It returns the revision.
func (c *Client) Submit(ctx context.Context, s Spec, acceptDuplicates bool) (uint64, error) {
	name := s.Topology.Name
	s.Submitted = time.Now().UTC()
	var revision uint64
	err := c.change(ctx, name, func(old Spec, d Desired) (*Spec, *Desired, error) {
		if err := old.newer(); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrBusy, name, err)
		}
		s.Format, s.Revision = specFormat, old.Revision+1
		if s.Parallelism == nil {
			s.Parallelism = old.Parallelism
		}
		revision = s.Revision
		return &s, &Desired{Goal: GoalRun, AcceptDuplicates: acceptDuplicates}, nil
	})
	return revision, err
}

// Resume lets a pipeline run that was stopped or has failed.
func (c *Client) Resume(ctx context.Context, name string, acceptDuplicates bool) error {
	return c.change(ctx, name, func(old Spec, d Desired) (*Spec, *Desired, error) {
		if old.Revision == 0 {
			return nil, nil, fmt.Errorf("%w: %s", ErrNoPipeline, name)
		}
		return nil, &Desired{Goal: GoalRun, AcceptDuplicates: acceptDuplicates}, nil
	})
}

// Stop asks for a final checkpoint, to be kept under a name where one is given. It
// does not wait; see Await.
func (c *Client) Stop(ctx context.Context, name, savepoint string) error {
	return c.change(ctx, name, func(old Spec, d Desired) (*Spec, *Desired, error) {
		if old.Revision == 0 {
			return nil, nil, fmt.Errorf("%w: %s", ErrNoPipeline, name)
		}
		return nil, &Desired{Goal: GoalStop, Savepoint: savepoint}, nil
	})
}

// change rewrites what is wanted of a pipeline, under the condition that nobody
// else does in between.
func (c *Client) change(ctx context.Context, name string, do func(Spec, Desired) (*Spec, *Desired, error)) error {
	for {
		spec, specRec, haveSpec, err := read[Spec](ctx, c.store, specPath(name))
		if err != nil {
			return err
		}
		desired, desiredRec, haveDesired, err := read[Desired](ctx, c.store, desiredPath(name))
		if err != nil {
			return err
		}
		newSpec, newDesired, err := do(spec, desired)
		if err != nil {
			return err
		}
		newDesired.Revision, newDesired.At = desired.Revision+1, time.Now().UTC()
		newDesired.Spec = spec.Revision
		var ops []coordination.Op
		if newSpec != nil {
			newDesired.Spec = newSpec.Revision
			ops = append(ops, put(specPath(name), encode(newSpec), specRec, haveSpec))
		}
		ops = append(ops, put(desiredPath(name), encode(newDesired), desiredRec, haveDesired))
		err = c.store.Commit(ctx, ops...)
		var conflict *coordination.ConflictError
		if errors.As(err, &conflict) {
			continue
		}
		if errors.Is(err, coordination.ErrUnknownOutcome) {
			now, _, _, rerr := read[Desired](ctx, c.store, desiredPath(name))
			if rerr == nil && now.Revision == newDesired.Revision && now.At.Equal(newDesired.At) {
				return nil
			}
		}
		return err
	}
}

func put(path string, data []byte, was coordination.Record, found bool) coordination.Op {
	if found {
		return coordination.Set(path, data, was.Version)
	}
	return coordination.Create(path, data)
}

// Savepoint asks for a checkpoint that is kept under a name, and waits until it is
// stored, all its output published. When ctx ends before, it goes on.
func (c *Client) Savepoint(ctx context.Context, name, savepoint string) error {
	path := wantedPath(name, savepoint)
	err := c.store.Commit(ctx, coordination.Create(path, encode(Wanted{At: time.Now().UTC()})))
	if errors.Is(err, coordination.ErrExists) {
		return fmt.Errorf("savepoint %s: %w", savepoint, checkpoint.ErrSavepointExists)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for change := range c.store.Watch(ctx, path) {
		var w Wanted
		switch _, err := decode(change.Record, &w); {
		case change.Err != nil:
			return change.Err
		case err != nil:
			return err
		case !change.Found:
			return fmt.Errorf("savepoint %s: %w", savepoint, checkpoint.ErrStopped)
		case w.Done:
			if err := c.store.Commit(ctx, coordination.Delete(path, coordination.AnyVersion)); err != nil && !errors.Is(err, coordination.ErrNotFound) {
				return err
			}
			if w.Error != "" {
				return fmt.Errorf("savepoint %s: %s", savepoint, w.Error)
			}
			return nil
		}
	}
	return context.Cause(ctx)
}

// SetLogLevel changes what is logged of a node, or of all where it is empty, on every
// host that has tasks of the pipeline, now and later; nil is what each host was started
// with.
func (c *Client) SetLogLevel(ctx context.Context, name, node string, level *slog.Level) error {
	for {
		levels, rec, found, err := read[journal.Levels](ctx, c.store, levelsPath(name))
		if err != nil {
			return err
		}
		err = c.store.Commit(ctx, coordination.Check(specPath(name), coordination.AnyVersion), put(levelsPath(name), encode(levels.With(node, level)), rec, found))
		var conflict *coordination.ConflictError
		switch {
		case errors.As(err, &conflict) && conflict.Path == specPath(name):
			return fmt.Errorf("%w: %s", ErrNoPipeline, name)
		case errors.As(err, &conflict):
			continue // somebody else has changed them
		}
		return err
	}
}

// Move changes where a source of a stopped pipeline goes on, and waits until the leader
// has done it. Where it cannot be done, a *checkpoint.PositionError says why.
func (c *Client) Move(ctx context.Context, name string, m Moving) (Moving, error) {
	p, err := c.Pipeline(ctx, name)
	if err != nil {
		return m, err
	}
	desired, rec, _, err := read[Desired](ctx, c.store, desiredPath(name))
	if err != nil {
		return m, err
	}
	if !p.Ended() {
		return m, fmt.Errorf("%w: %s is %s; stop it first", ErrBusy, name, p.State())
	}
	overtaken := fmt.Errorf("%w: %s was started meanwhile; stop it first", ErrBusy, name)
	if desired.Revision != p.Desired.Revision {
		return m, overtaken
	}
	m.At, m.Desired = time.Now().UTC(), desired.Revision
	path := movePath(name, rand.Text())
	err = c.store.Commit(ctx, coordination.Check(desiredPath(name), rec.Version), coordination.Create(path, encode(m)))
	var conflict *coordination.ConflictError
	if errors.As(err, &conflict) {
		return m, overtaken
	}
	if err != nil {
		return m, err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	for change := range c.store.Watch(watched, path) {
		switch _, err := decode(change.Record, &m); {
		case change.Err != nil:
			return m, change.Err
		case err != nil:
			return m, err
		case !change.Found:
			return m, fmt.Errorf("%w: %s was deleted", ErrNoPipeline, name)
		case !m.Done:
			continue
		}
		if err := c.store.Commit(ctx, coordination.Delete(path, coordination.AnyVersion)); err != nil && !errors.Is(err, coordination.ErrNotFound) {
			return m, err
		}
		switch {
		case m.Refused:
			return m, &checkpoint.PositionError{Reason: m.Error}
		case m.Busy:
			return m, overtaken
		case m.Error != "":
			return m, errors.New(m.Error)
		}
		return m, nil
	}
	// Who leads may be at it: what was not begun is not to come later.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = c.store.Commit(late, coordination.Delete(path, coordination.AnyVersion))
	return m, fmt.Errorf("no leader has answered, and whether the change was made is not known: look at the positions: %w", context.Cause(ctx))
}

// Delete forgets a pipeline that has ended, and its state. What its sinks have
// published stays.
func (c *Client) Delete(ctx context.Context, name string, st *storage.Storage) error {
	p, err := c.Pipeline(ctx, name)
	if err != nil {
		return err
	}
	if !p.Status.ended(p.Desired) || p.Status.Spec != p.Spec.Revision {
		return fmt.Errorf("%w: %s is %s; stop it first", ErrBusy, name, p.Status.State)
	}
	var uids []string
	h, err := checkpoint.NewLedger(c.store, nil, name).Load(ctx)
	switch {
	case err == nil:
		uids = append(h.Lineage.Former, h.Lineage.UID)
	case !errors.Is(err, coordination.ErrNotFound):
		return err
	}
	for _, uid := range uids {
		objects, err := st.List(ctx, uid+"/")
		if err != nil {
			return fmt.Errorf("delete the state of pipeline %s: %w", name, err)
		}
		for _, o := range objects {
			if err := st.Delete(ctx, o.Name); err != nil {
				return fmt.Errorf("delete the state of pipeline %s: %w", name, err)
			}
		}
	}
	for _, id := range p.Assignment.with() {
		err := c.store.Commit(ctx, coordination.Delete(assignedPath(id, name), coordination.AnyVersion))
		if err != nil && !errors.Is(err, coordination.ErrNotFound) {
			return fmt.Errorf("delete pipeline %s: %w", name, err)
		}
	}
	return coordination.DeleteTree(ctx, c.store, pipelinePath(name))
}

// Pipeline is everything that is recorded about a pipeline.
type Pipeline struct {
	Name       string
	Spec       Spec
	Desired    Desired
	Status     Status
	Assignment Assignment
	Progress   map[string]Progress // by host
	Failures   []Failure           // newest first
	LogLevels  journal.Levels
}

// State is what the pipeline does, also where nobody leads it yet.
func (p Pipeline) State() engine.State {
	switch {
	case p.Status.State == "" || p.Status.Desired < p.Desired.Revision && p.Status.ended(Desired{Revision: p.Status.Desired, Goal: GoalStop}) && p.Desired.Goal == GoalRun:
		return engine.StatePending
	case p.Status.Pending != "":
		return engine.StatePending
	}
	return p.Status.State
}

// Pipeline reads what is recorded about one.
func (c *Client) Pipeline(ctx context.Context, name string) (p Pipeline, err error) {
	p.Name = name
	var found bool
	if p.Spec, _, found, err = read[Spec](ctx, c.store, specPath(name)); err != nil {
		return p, err
	}
	if !found {
		return p, fmt.Errorf("%w: %s", ErrNoPipeline, name)
	}
	if p.Desired, _, _, err = read[Desired](ctx, c.store, desiredPath(name)); err != nil {
		return p, err
	}
	if p.Status, _, _, err = read[Status](ctx, c.store, statusPath(name)); err != nil {
		return p, err
	}
	if p.Assignment, _, _, err = read[Assignment](ctx, c.store, assignmentPath(name)); err != nil {
		return p, err
	}
	if p.Failures, _, _, err = read[[]Failure](ctx, c.store, errorsPath(name)); err != nil {
		return p, err
	}
	if p.LogLevels, _, _, err = read[journal.Levels](ctx, c.store, levelsPath(name)); err != nil {
		return p, err
	}
	hosts, err := c.store.Children(ctx, progressDir(name))
	if err != nil {
		return p, err
	}
	p.Progress = map[string]Progress{}
	for _, id := range hosts {
		g, _, found, err := read[Progress](ctx, c.store, progressPath(name, id))
		if err != nil {
			return p, err
		}
		if found {
			p.Progress[id] = g
		}
	}
	return p, nil
}

// Names lists the pipelines that there are.
func (c *Client) Names(ctx context.Context) ([]string, error) {
	all, err := c.store.Children(ctx, pipelinesDir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range all {
		if _, _, found, err := read[Spec](ctx, c.store, specPath(name)); err != nil {
			return nil, err
		} else if found {
			names = append(names, name)
		}
	}
	return names, nil
}

// Await waits until a pipeline's record says what is asked for.
func (c *Client) Await(ctx context.Context, name string, done func(Pipeline) bool) (Pipeline, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	status, desired := c.store.Watch(ctx, statusPath(name)), c.store.Watch(ctx, desiredPath(name))
	for {
		p, err := c.Pipeline(ctx, name)
		if err != nil || done(p) {
			return p, err
		}
		var change coordination.Change
		select {
		case change = <-status:
		case change = <-desired:
		case <-ctx.Done():
			return p, fmt.Errorf("pipeline %s is %s: %w", name, p.State(), context.Cause(ctx))
		}
		if change.Err != nil {
			return p, change.Err
		}
	}
}

// Ended says that nothing is under way for a pipeline: it has finished, failed, or
// stopped as it was told.
func (p Pipeline) Ended() bool {
	return p.Status.ended(p.Desired) && p.Status.Spec == p.Spec.Revision
}

// HostStatus is a host and what it has to do.
type HostStatus struct {
	Host
	ID    string
	Leads bool
	Tasks []string // pipeline/task, sorted
	Used  int      // slots
}

// Hosts lists the hosts, sorted by id.
func (c *Client) Hosts(ctx context.Context) ([]HostStatus, error) {
	ids, err := c.store.Children(ctx, hostsDir)
	if err != nil {
		return nil, err
	}
	leader, err := coordination.Leader(ctx, c.store, leaderName)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return nil, err
	}
	var led map[string]string
	if _, err := decode(leader, &led); err != nil {
		return nil, err
	}
	names, err := c.store.Children(ctx, pipelinesDir)
	if err != nil {
		return nil, err
	}
	tasks := map[string][]string{}
	for _, name := range names {
		a, _, _, err := read[Assignment](ctx, c.store, assignmentPath(name))
		if err != nil {
			return nil, err
		}
		if a.Phase == engine.PhaseClose {
			continue
		}
		for task, host := range a.Tasks {
			tasks[host] = append(tasks[host], name+"/"+task)
		}
	}
	var out []HostStatus
	for _, id := range ids {
		h, _, found, err := read[Host](ctx, c.store, hostPath(id))
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		s := HostStatus{Host: h, ID: id, Leads: led["host"] == id, Tasks: tasks[id]}
		slices.Sort(s.Tasks)
		for _, t := range s.Tasks {
			if !strings.HasSuffix(t, "[enumerator]") {
				s.Used++
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// Drain has a host's tasks moved away, or lets it take tasks again. It does not
// wait.
func (c *Client) Drain(ctx context.Context, host string, drain bool) error {
	if _, _, found, err := read[Host](ctx, c.store, hostPath(host)); err != nil {
		return err
	} else if !found {
		return fmt.Errorf("%w: %s", ErrNoHost, host)
	}
	if drain {
		return coordination.Put(ctx, c.store, drainPath(host), encode(map[string]time.Time{"at": time.Now().UTC()}))
	}
	err := c.store.Commit(ctx, coordination.Delete(drainPath(host), coordination.AnyVersion))
	if errors.Is(err, coordination.ErrNotFound) {
		return nil
	}
	return err
}

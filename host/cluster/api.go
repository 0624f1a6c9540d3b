package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/view"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/journal"
	"github.com/weirstream/weir/host/pipeline"
)

// API answers for the whole cluster, from its records; any host can.
type API struct {
	Node    *Node
	Library *Library
	// Journal keeps what this host logs.
	Journal *journal.Journal
}

var (
	_ api.Pipelines = (*API)(nil)
	_ api.Cluster   = (*API)(nil)
)

func (a *API) client() (*Client, error) {
	s, err := a.Node.Store()
	if err != nil {
		return nil, api.Problemf(api.CodeUnavailable, "%v", err)
	}
	return NewClient(s), nil
}

// pipeline reads one, with a problem that says which there are.
func (a *API) pipeline(ctx context.Context, name string) (*Client, Pipeline, error) {
	c, err := a.client()
	if err != nil {
		return nil, Pipeline{}, err
	}
	p, err := c.Pipeline(ctx, name)
	return c, p, a.problem(ctx, c, name, err)
}

func (a *API) problem(ctx context.Context, c *Client, name string, err error) error {
	switch {
	case errors.Is(err, ErrNoPipeline):
		known, lerr := c.Names(ctx)
		if lerr != nil {
			return lerr
		}
		return api.PipelineNotFound(name, known)
	case errors.Is(err, ErrBusy):
		return api.Problemf(api.CodeNotStopped, "%v", err)
	case errors.Is(err, coordination.ErrInvalid):
		return api.Problemf(api.CodePipelineNotFound, "%q cannot be the name of a pipeline", name)
	case passing(err):
		return api.Problemf(api.CodeUnavailable, "%v", err)
	}
	return err
}

// picture is what the API says of a pipeline.
func picture(p Pipeline) api.Status {
	now := time.Now()
	s := engine.Status{
		Name: p.Name, State: p.State(), Epoch: p.Status.Epoch, Started: p.Spec.Submitted, Last: p.Status.Last,
		SlowestCheckpoint: p.Status.Slowest, Completed: p.Status.Completed, Failed: p.Status.Failed,
		Guarantees: p.Spec.Topology.Guarantees,
		Restarts: engine.RestartStatus{
			Used: len(p.Status.Restarts), Allowed: p.Spec.Topology.Restart.Attempts, Total: p.Status.Total, Cause: p.Status.Cause,
		},
	}
	nodes := map[string]engine.NodeStatus{}
	for _, id := range slices.Sorted(maps.Keys(p.Progress)) {
		host := p.Progress[id]
		s.BytesInFlight += host.BytesInFlight
		s.Uncommitted = append(s.Uncommitted, host.Uncommitted...)
		for _, n := range host.Nodes {
			if was, ok := nodes[n.Name]; ok {
				n = was.Plus(n)
			}
			nodes[n.Name] = n
		}
	}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, n)
	}
	out := view.Status(p.Spec.Topology, s, p.Status.LeaderStatus, now)
	out.File, out.UID, out.LogLevels = p.Spec.File, p.Assignment.UID, view.LogLevels(p.LogLevels)
	switch {
	case p.Status.Pending != "":
		out.Reason = p.Status.Pending
	case p.Status.Error != "":
		out.Reason = p.Status.Error
	}
	return out
}

// List implements [api.Reader].
func (a *API) List(ctx context.Context) ([]api.Pipeline, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	names, err := c.Names(ctx)
	if err != nil {
		return nil, a.problem(ctx, c, "", err)
	}
	var all []api.Pipeline
	for _, name := range names {
		p, err := c.Pipeline(ctx, name)
		if errors.Is(err, ErrNoPipeline) {
			continue // it has just been deleted
		}
		if err != nil {
			return nil, a.problem(ctx, c, name, err)
		}
		all = append(all, view.Pipeline(picture(p), time.Now()))
	}
	return all, nil
}

// Status implements [api.Reader].
func (a *API) Status(ctx context.Context, name string) (api.Status, error) {
	_, p, err := a.pipeline(ctx, name)
	if err != nil {
		return api.Status{}, err
	}
	return picture(p), nil
}

// Tasks implements [api.Reader].
func (a *API) Tasks(ctx context.Context, name string) ([]api.Task, error) {
	_, p, err := a.pipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	var all []api.Task
	for _, id := range slices.Sorted(maps.Keys(p.Progress)) {
		all = append(all, view.Tasks(p.Progress[id].Tasks, id, time.Now())...)
	}
	order := map[string]int{}
	for i, n := range p.Spec.Topology.Nodes {
		order[n.Name] = i
	}
	slices.SortStableFunc(all, func(x, y api.Task) int {
		if x.Node != y.Node {
			return order[x.Node] - order[y.Node]
		}
		return x.Index - y.Index
	})
	return all, nil
}

// Checkpoints implements [api.Reader].
func (a *API) Checkpoints(ctx context.Context, name string) ([]api.Checkpoint, error) {
	c, _, err := a.pipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	h, err := checkpoint.NewLedger(c.store, nil, name).Load(ctx)
	if err != nil && !errors.Is(err, coordination.ErrNotFound) {
		return nil, a.problem(ctx, c, name, err)
	}
	return view.Checkpoints(h), nil
}

// Failures implements [api.Reader].
func (a *API) Failures(ctx context.Context, name string) ([]api.Failure, error) {
	_, p, err := a.pipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	var all []api.Failure
	for _, f := range p.Failures {
		cause := f.Error
		if f.Stderr != "" && !strings.Contains(cause, f.Stderr) {
			cause += "\n" + f.Stderr
		}
		all = append(all, api.Failure{
			At: f.At, Kind: string(engine.FailureRestart), Epoch: f.Epoch, Host: f.Host, Node: f.Node, Task: f.Task, Plugin: f.Plugin, Cause: cause,
		})
	}
	if p.Status.State == engine.StateFailed {
		all = slices.Insert(all, 0, api.Failure{At: p.Status.At, Kind: string(engine.FailureFinal), Epoch: p.Status.Epoch, Cause: p.Status.Error})
	}
	return all, nil
}

// Logs implements [api.Reader]: what this host has logged of the pipeline.
func (a *API) Logs(ctx context.Context, name string, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return func(yield func(api.LogRecord, error) bool) { view.Logs(ctx, a.Journal, name, q, yield) }
}

// Tap implements [api.Reader]: what passes on this host.
func (a *API) Tap(ctx context.Context, name string, q api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return func(yield func(api.TapRecord, error) bool) {
		w := a.Node.Workers()[name]
		if w == nil {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for a.Node.Workers()[name] == w { // else its tasks have gone
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		}()
		tap := w.Tap(q.Node, q.Output)
		defer w.Untap(tap)
		view.Tap(ctx, tap, view.NewMask(w.Pipeline.Mask, q.Mask), func(r api.TapRecord, err error) bool {
			r.Host = a.Node.ID.Host
			return yield(r, err)
		})
	}
}

// Measured implements [api.Pipelines]: what runs on this host.
func (a *API) Measured(ctx context.Context) ([]api.Status, error) {
	var all []api.Status
	workers := a.Node.Workers()
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		_, p, err := a.pipeline(ctx, name)
		if err != nil {
			return nil, err
		}
		w := workers[name]
		local := Progress{WorkerStatus: w.Status()}
		local.Nodes = w.Own(local.Nodes)
		p.Progress = map[string]Progress{a.Node.ID.Host: local}
		all = append(all, picture(p))
	}
	return all, nil
}

// Ready implements [api.Pipelines].
func (a *API) Ready(context.Context) error {
	_, err := a.Node.Store()
	return err
}

// Savepoint implements [api.Changer].
func (a *API) Savepoint(ctx context.Context, name string, r api.SavepointRequest) (out api.Savepoint, err error) {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return out, err
	}
	if p.Ended() || p.State() != engine.StateRunning {
		return out, api.Problemf(api.CodeNotRunning, "%s is %s", name, p.State())
	}
	if r.Name == "" {
		r.Name = time.Now().UTC().Format("20060102-150405")
	}
	if s, ok, err := a.findSavepoint(ctx, c, name, r.Name); err != nil {
		return out, err
	} else if ok {
		return out, api.Problemf(api.CodeSavepointExists, "savepoint %s exists: it is checkpoint %d of %s", r.Name, s.Number, s.CompletedAt.Local().Format(time.DateTime))
	}
	switch err := c.Savepoint(ctx, name, r.Name); {
	case errors.Is(err, checkpoint.ErrSavepointExists):
		return out, api.Problemf(api.CodeConflict, "savepoint %s is being made already", r.Name)
	case err != nil && ctx.Err() == nil:
		return out, api.Problemf(api.CodeSavepointFailed, "%v", err)
	case err != nil:
		return out, err
	}
	s, _, err := a.findSavepoint(ctx, c, name, r.Name)
	return api.Savepoint{Name: r.Name, Number: s.Number}, err
}

func (a *API) findSavepoint(ctx context.Context, c *Client, name, savepoint string) (api.Checkpoint, bool, error) {
	all, err := a.Checkpoints(ctx, name)
	if err != nil {
		return api.Checkpoint{}, false, a.problem(ctx, c, name, err)
	}
	i := slices.IndexFunc(all, func(k api.Checkpoint) bool { return k.Savepoint == savepoint })
	if i < 0 {
		return api.Checkpoint{}, false, nil
	}
	return all[i], true, nil
}

// Stop implements [api.Changer].
func (a *API) Stop(ctx context.Context, name string, r api.StopRequest) (out api.Stopped, err error) {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return out, err
	}
	if p.State() == engine.StateFinished || p.State() == engine.StateFailed && p.Ended() {
		return out, api.Problemf(api.CodeNotRunning, "%s is %s", name, p.State())
	}
	if err := c.Stop(ctx, name, r.Savepoint); err != nil {
		return out, a.problem(ctx, c, name, err)
	}
	p, err = c.Await(ctx, name, Pipeline.Ended)
	if err != nil {
		return out, a.problem(ctx, c, name, err)
	}
	out = api.Stopped{State: api.State(p.State()), Uncommitted: p.Status.Uncommitted}
	if p.Status.Last != nil {
		out.Checkpoint = p.Status.Last.Number
	}
	return out, nil
}

// SetLogLevel implements [api.Changer].
func (a *API) SetLogLevel(ctx context.Context, name string, r api.LogLevelRequest) error {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return err
	}
	if known := p.Spec.Topology.NodeNames(); r.Node != "" && !slices.Contains(known, r.Node) {
		return api.NodeNotFound(name, r.Node, known)
	}
	level, err := r.Parsed()
	if err != nil {
		return err
	}
	return a.problem(ctx, c, name, c.SetLogLevel(ctx, name, r.Node, level))
}

// Submit implements [api.Cluster].
func (a *API) Submit(ctx context.Context, r api.Submission) (out api.Submitted, err error) {
	c, err := a.client()
	if err != nil {
		return out, err
	}
	if !filepath.IsAbs(r.Dir) {
		return out, api.Problemf(api.CodeInvalidRequest, "dir: %q is no absolute path", r.Dir)
	}
	return a.submit(ctx, c, Spec{File: r.File, Dir: r.Dir, Source: r.Source}, r.Check, r.AcceptDuplicates)
}

func (a *API) submit(ctx context.Context, c *Client, s Spec, check, duplicates bool) (out api.Submitted, err error) {
	s, report, err := a.Library.Check(ctx, s)
	if err != nil {
		problem := api.Problemf(api.CodeInvalidPipeline, "%s cannot be run", s.File)
		for _, f := range report.Faults {
			if f.Severity == pipeline.SeverityWarning {
				continue
			}
			problem.Faults = append(problem.Faults, api.Fault{At: fmt.Sprintf("%s:%d:%d", s.File, f.Line, f.Column), Message: faultText(f)})
		}
		return out, problem
	}
	out.Name = s.Topology.Name
	for _, w := range report.Warnings() {
		out.Warnings = append(out.Warnings, w.String())
	}
	old, err := c.Pipeline(ctx, out.Name)
	if err != nil && !errors.Is(err, ErrNoPipeline) {
		return out, a.problem(ctx, c, out.Name, err)
	}
	out.Changes = changes(old.Spec.Topology, s.Topology)
	if check {
		return out, nil
	}
	out.Revision, err = c.Submit(ctx, s, duplicates)
	return out, a.problem(ctx, c, out.Name, err)
}

func faultText(f pipeline.Fault) string {
	text := f.Message
	if f.Field != "" {
		text = f.Field + ": " + text
	}
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	return text
}

// changes says what becomes of the nodes of one topology in another.
func changes(old, now engine.Topology) []string {
	was := map[string]engine.TopologyNode{}
	for _, n := range old.Nodes {
		was[n.ID] = n
	}
	var out []string
	for _, n := range now.Nodes {
		o, ok := was[n.ID]
		delete(was, n.ID)
		switch why := n.State.Conflict(o.State); {
		case !ok && len(old.Nodes) == 0:
		case !ok:
			out = append(out, fmt.Sprintf("new: %s", n.Name))
		case why != "":
			out = append(out, fmt.Sprintf("refused if it holds state: %s (%s)", n.Name, why))
		case o.Parallelism != n.Parallelism:
			out = append(out, fmt.Sprintf("rescaled: %s, from %d tasks to %d, with its state", n.Name, o.Parallelism, n.Parallelism))
		case o.Backend != "" && o.Backend != n.Backend:
			out = append(out, fmt.Sprintf("changed: %s, its state goes from %s to %s", n.Name, o.Backend, n.Backend))
		default:
			out = append(out, fmt.Sprintf("kept: %s, with its state", n.Name))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		out = append(out, fmt.Sprintf("dropped: %s (refused if it holds state)", was[id].Name))
	}
	return out
}

// Resume implements [api.Cluster].
func (a *API) Resume(ctx context.Context, name string, r api.ResumeRequest) error {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return err
	}
	if p.State() == engine.StateFinished {
		return api.Problemf(api.CodeConflict, "%s has finished; submit it under another name, or delete it and submit it again, to run it anew", name)
	}
	return a.problem(ctx, c, name, c.Resume(ctx, name, r.AcceptDuplicates))
}

// Delete implements [api.Cluster].
func (a *API) Delete(ctx context.Context, name string) error {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return err
	}
	st, release, err := a.Library.OpenStorage(ctx, p.Spec)
	if err != nil {
		return err
	}
	defer release()
	return a.problem(ctx, c, name, c.Delete(ctx, name, st))
}

// Rescale implements [api.Cluster].
func (a *API) Rescale(ctx context.Context, name string, r api.RescaleRequest) (out api.Submitted, err error) {
	c, p, err := a.pipeline(ctx, name)
	if err != nil {
		return out, err
	}
	s := p.Spec
	s.Parallelism = maps.Clone(s.Parallelism)
	if s.Parallelism == nil {
		s.Parallelism = map[string]int{}
	}
	known := s.Topology.NodeNames()
	for node, n := range r.Parallelism {
		switch {
		case !slices.Contains(known, node):
			return out, api.NodeNotFound(name, node, known)
		case n < 0 || n > s.Topology.MaxParallelism:
			return out, api.Problemf(api.CodeInvalidRequest, "parallelism of %s: %d is not between 1 and max_parallelism (%d)", node, n, s.Topology.MaxParallelism)
		case n == 0:
			delete(s.Parallelism, node)
		default:
			s.Parallelism[node] = n
		}
	}
	return a.submit(ctx, c, s, false, false)
}

// Hosts implements [api.Cluster].
func (a *API) Hosts(ctx context.Context) ([]api.Host, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	hosts, err := c.Hosts(ctx)
	if err != nil {
		return nil, a.problem(ctx, c, "", err)
	}
	var all []api.Host
	for _, h := range hosts {
		if h.Tasks == nil {
			h.Tasks = []string{}
		}
		all = append(all, api.Host{
			ID: h.ID, Instance: h.Instance, Address: h.Address, API: h.API, Version: h.Version, Leader: h.Leads,
			Draining: h.Draining, Slots: h.Slots, Used: h.Used, Since: h.Since, Tasks: h.Tasks,
		})
	}
	return all, nil
}

// Drain implements [api.Cluster].
func (a *API) Drain(ctx context.Context, host string, r api.DrainRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	err = c.Drain(ctx, host, r.Drain)
	if errors.Is(err, ErrNoHost) || errors.Is(err, coordination.ErrInvalid) {
		return api.Problemf(api.CodeHostNotFound, "there is no host %q", host)
	}
	return a.problem(ctx, c, "", err)
}

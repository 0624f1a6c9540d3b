package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/engine"
)

const (
	hostsDir     = "hosts"
	pipelinesDir = "pipelines"
	leaderName   = "leader"
)

func drainPath(id string) string               { return "drains/" + id }
func assignedDir(id string) string             { return "assigned/" + id }
func assignedPath(id, name string) string      { return assignedDir(id) + "/" + name }
func hostPath(id string) string                { return hostsDir + "/" + id }
func pipelinePath(name string) string          { return pipelinesDir + "/" + name }
func specPath(name string) string              { return pipelinePath(name) + "/spec" }
func desiredPath(name string) string           { return pipelinePath(name) + "/desired" }
func statusPath(name string) string            { return pipelinePath(name) + "/status" }
func levelsPath(name string) string            { return pipelinePath(name) + "/log-levels" }
func errorsPath(name string) string            { return pipelinePath(name) + "/errors" }
func assignmentPath(name string) string        { return pipelinePath(name) + "/assignment" }
func reportsDir(name string) string            { return pipelinePath(name) + "/reports" }
func reportPath(name, host string) string      { return reportsDir(name) + "/" + host }
func progressDir(name string) string           { return pipelinePath(name) + "/progress" }
func wantedDir(name string) string             { return pipelinePath(name) + "/wanted" }
func wantedPath(name, savepoint string) string { return wantedDir(name) + "/" + savepoint }
func movesDir(name string) string              { return pipelinePath(name) + "/moves" }
func movePath(name, id string) string          { return movesDir(name) + "/" + id }
func progressPath(name, id string) string      { return progressDir(name) + "/" + id }

// Host is what a host says of itself. Its record is there as long as its session.
type Host struct {
	// Instance is random, and another in each session: a host that starts again, or
	// that has lost its session, has none of the tasks that it had.
	Instance string `json:"instance"`
	// Address is where other hosts reach it, API where its HTTP server is.
	Address string    `json:"address"`
	API     string    `json:"api,omitempty"`
	Slots   int       `json:"slots"`
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since"`
	// Draining: it takes no tasks any more, and those that it has move away.
	Draining bool `json:"draining,omitempty"`
}

// specFormat is the newest format of Spec that this version reads, and the one that
// it writes.
const specFormat = 1

// Spec is a pipeline as it was submitted.
type Spec struct {
	Format int `json:"format"`
	// File and Dir say where it came from: relative paths in it are relative to Dir,
	// on every host.
	File string `json:"file"`
	Dir  string `json:"dir"`
	// Source is the file as it was written: references are not resolved, so it
	// holds no secret.
	Source string `json:"source"`
	// Parallelism overrides that of nodes, by name.
	Parallelism map[string]int `json:"parallelism,omitempty"`
	// Topology is what the host that took it made of it; every other must too.
	Topology  engine.Topology `json:"topology"`
	Revision  uint64          `json:"revision"` // grows with each submission
	Submitted time.Time       `json:"submitted"`
}

// newer says that a later version of weir has written it, which may mean more by it
// than this one reads.
func (s Spec) newer() error {
	if s.Format <= specFormat {
		return nil
	}
	return fmt.Errorf("it was submitted through a newer version of weir: its format is %d, and this host's version reads up to %d: upgrade this host", s.Format, specFormat)
}

// Goal is what a pipeline is to do.
type Goal string

// The goals.
const (
	GoalRun  Goal = "run"
	GoalStop Goal = "stop"
)

// Desired is what a person wants of a pipeline.
type Desired struct {
	Goal Goal `json:"goal"`
	// Spec is the revision of the submission that is meant.
	Spec uint64 `json:"spec"`
	// Revision grows with each wish: one that came to its end, such as a run that
	// has failed, is not tried again before the next.
	Revision         uint64 `json:"revision"`
	AcceptDuplicates bool   `json:"accept_duplicates,omitempty"`
	// Savepoint is the name to keep the final checkpoint under.
	Savepoint string    `json:"savepoint,omitempty"`
	At        time.Time `json:"at"`
}

// Wanted is a savepoint that somebody has asked for. The leader says how it went,
// and who has asked removes it.
type Wanted struct {
	At    time.Time `json:"at"`
	Done  bool      `json:"done,omitempty"`
	Error string    `json:"error,omitempty"`
}

// Status is what becomes of a pipeline, as its leader sees it.
type Status struct {
	engine.LeaderStatus
	// Pending says what a pipeline waits for that cannot begin.
	Pending string `json:"pending,omitempty"`
	// Error says why it has failed.
	Error string `json:"error,omitempty"`
	// Desired is the revision of the wish that this is about, Spec that of the
	// submission.
	Desired uint64 `json:"desired"`
	Spec    uint64 `json:"spec"`
	Leader  string `json:"leader"` // host
	// Uncommitted names hosts whose output was unpublished when it stopped.
	Uncommitted []string  `json:"uncommitted,omitempty"`
	At          time.Time `json:"at"`
	// Finished is when all its input had been read and all output published.
	Finished *time.Time `json:"finished,omitempty"`
}

// ended says that nothing is to be done for a wish any more.
func (s Status) ended(d Desired) bool {
	if s.Desired != d.Revision {
		return false
	}
	switch s.State {
	case engine.StateFinished, engine.StateFailed:
		return true
	case engine.StateStopped:
		return d.Goal == GoalStop
	}
	return false
}

// Assignment hands one epoch of a pipeline to hosts.
type Assignment struct {
	UID   string       `json:"uid"`
	Epoch uint64       `json:"epoch"`
	Phase engine.Phase `json:"phase"`
	Spec  uint64       `json:"spec"` // revision
	// Tasks says where each task runs.
	Tasks engine.Placement `json:"tasks"`
	// Hosts are those that have tasks, and the instance of each that is meant.
	Hosts map[string]string `json:"hosts"`
	// Addresses says where these hosts reach each other.
	Addresses map[string]string `json:"addresses"`
	// Leaving are hosts that had tasks of the epoch before and have none now.
	Leaving map[string]string `json:"leaving,omitempty"`
}

// with are the hosts that have something to do about it: to run tasks, or to close
// those that they had.
func (a Assignment) with() []string {
	return append(slices.Collect(maps.Keys(a.Hosts)), slices.Collect(maps.Keys(a.Leaving))...)
}

// Report is what one host says of its part in an epoch. It grows while the epoch
// lasts.
type Report struct {
	Instance string `json:"instance"`
	UID      string `json:"uid"`
	Epoch    uint64 `json:"epoch"`
	// Phase is the last that is done.
	Phase engine.Phase `json:"phase,omitempty"`
	// Failure says why the epoch cannot go on.
	Failure *Failure `json:"failure,omitempty"`
	// What the checkpoint coordinator wants to know.
	Exhausted []Source  `json:"exhausted,omitempty"`
	Changed   *uint64   `json:"changed,omitempty"`
	Declined  *Declined `json:"declined,omitempty"`
	// Committed is the checkpoint up to which all output is published.
	Committed    uint64 `json:"committed,omitempty"`
	CommitFailed string `json:"commit_failed,omitempty"`
	// Waiting: sinks take no data until commits are answered.
	Waiting bool `json:"waiting,omitempty"`
}

// Source names a source task that has read all there is.
type Source struct {
	Node string `json:"node"` // id
	Task int    `json:"task"`
}

// Declined says that a task could not make its snapshot.
type Declined struct {
	N     uint64 `json:"n"`
	Error string `json:"error"`
}

// Failure is one failure of a pipeline.
type Failure struct {
	At     time.Time `json:"at"`
	Epoch  uint64    `json:"epoch"`
	Host   string    `json:"host,omitempty"`
	Node   string    `json:"node,omitempty"`
	Task   string    `json:"task,omitempty"`
	Plugin string    `json:"plugin,omitempty"`
	Error  string    `json:"error"`
	// Stderr is what a plugin said last.
	Stderr string `json:"stderr,omitempty"`
	// Fatal: no restart helps.
	Fatal bool `json:"fatal,omitempty"`
	// Uncounted: nobody's fault in the pipeline, such as a host that was lost.
	Uncounted bool `json:"uncounted,omitempty"`
	// Peer is the host that could not be reached from this one.
	Peer string `json:"peer,omitempty"`
	// Unable: the pipeline cannot be run on this host, but perhaps on others.
	Unable     bool          `json:"unable,omitempty"`
	RetryAfter time.Duration `json:"retry_after_ns,omitempty"`
}

// Progress is what one host measures of a pipeline.
type Progress struct {
	engine.WorkerStatus
	Tasks    []engine.TaskStatus `json:"tasks"`
	Instance string              `json:"instance"`
	Epoch    uint64              `json:"epoch"`
	At       time.Time           `json:"at"`
}

// read reads a record into a T. It is false where there is none, or an empty one
// that was made as somebody's parent.
func read[T any](ctx context.Context, r coordination.Reader, path string) (v T, rec coordination.Record, found bool, err error) {
	rec, err = r.Get(ctx, path)
	if errors.Is(err, coordination.ErrNotFound) {
		return v, rec, false, nil
	}
	if err != nil {
		return v, rec, false, err
	}
	found, err = decode(rec, &v)
	return v, rec, found, err
}

func decode(rec coordination.Record, v any) (found bool, err error) {
	if len(rec.Data) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(rec.Data, v); err != nil {
		return false, fmt.Errorf("record %s holds something else than weir has written: %w", rec.Path, err)
	}
	return true, nil
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of this package have no value that fails
	}
	return data
}

// passing says that a call may succeed when it is repeated.
func passing(err error) bool {
	return errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrUnknownOutcome)
}

const retryPause = 100 * time.Millisecond

// persist repeats do while the service cannot be reached.
func persist(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(retryPause):
		}
	}
}

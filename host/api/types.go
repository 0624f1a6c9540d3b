package api

import (
	"log/slog"
	"time"
)

// State is what a pipeline is doing.
type State string

// The states of a pipeline.
const (
	StatePending   State = "pending"   // nothing runs it yet
	StateRestoring State = "restoring" // commits what was prepared, and opens its tasks
	StateRunning   State = "running"
	StateStopping  State = "stopping"  // a final checkpoint is under way
	StateFinishing State = "finishing" // input has ended, commits are awaited
	StateFinished  State = "finished"
	StateStopped   State = "stopped"
	StateWaiting   State = "waiting" // for the pause before a restart
	StateFailed    State = "failed"
)

// Ended says that nothing runs any more.
func (s State) Ended() bool {
	return s == StateFinished || s == StateStopped || s == StateFailed
}

// Pipeline is a pipeline in a listing.
type Pipeline struct {
	Name      string    `json:"name"`
	State     State     `json:"state" enum:"pending,restoring,running,stopping,finishing,finished,stopped,waiting,failed"`
	Since     time.Time `json:"since" doc:"When it came into this state."`
	Epoch     uint64    `json:"epoch" doc:"Counts the starts and restarts of its tasks."`
	Nodes     int       `json:"nodes"`
	Tasks     int       `json:"tasks"`
	Records   uint64    `json:"records" doc:"Records that its sources have read in this run."`
	Rate      float64   `json:"records_per_second" doc:"Records a second that its sources read now."`
	Completed uint64    `json:"last_checkpoint,omitempty" doc:"Number of the newest checkpoint."`
	// Problem is what needs a person's attention.
	Problem string `json:"problem,omitempty" doc:"What needs attention, in a sentence; absent where nothing does."`
}

// Status tells what a pipeline does, and why it does not do more.
type Status struct {
	Name    string    `json:"name"`
	File    string    `json:"file,omitempty" doc:"The pipeline file."`
	UID     string    `json:"uid,omitempty" doc:"Identity of its state; part of every name that it makes outside."`
	State   State     `json:"state" enum:"pending,restoring,running,stopping,finishing,finished,stopped,waiting,failed"`
	Since   time.Time `json:"since" doc:"When it came into this state."`
	Started time.Time `json:"started" doc:"When this run began."`
	Epoch   uint64    `json:"epoch" doc:"Counts the starts and restarts of its tasks."`
	// Reason says why the state is what it is, where that is not plain.
	Reason      string        `json:"reason,omitempty" doc:"Why it is in this state, where that is not plain."`
	Restarts    Restarts      `json:"restarts"`
	Guarantees  []Guarantee   `json:"guarantees" doc:"What holds for the records of each sink, and why."`
	Checkpoints Checkpoints   `json:"checkpoints"`
	Uncommitted []Uncommitted `json:"uncommitted" doc:"Sinks whose prepared output is not published although its checkpoint is complete."`
	Nodes       []Node        `json:"nodes" doc:"In the order of the data."`
	Bottleneck  *Bottleneck   `json:"bottleneck,omitempty" doc:"What keeps the pipeline from being faster; absent where nothing in it does."`
	LogLevels   *LogLevels    `json:"log_levels,omitempty" doc:"The log levels that were changed; absent where none was."`
	// BytesInFlight is what waits between tasks.
	BytesInFlight int64 `json:"bytes_in_flight" doc:"What waits between tasks, in bytes."`
}

// Restarts say how much of the restart policy is used.
type Restarts struct {
	Used    int        `json:"used" doc:"Restarts within the window."`
	Allowed int        `json:"allowed" doc:"One more within the window fails the pipeline."`
	Window  float64    `json:"window_seconds"`
	Total   int        `json:"total" doc:"Restarts since this run began."`
	LastAt  *time.Time `json:"last_at,omitempty" doc:"When the newest failure came."`
	Cause   string     `json:"cause,omitempty" doc:"What it was."`
	NextAt  *time.Time `json:"next_at,omitempty" doc:"When the next attempt begins."`
}

// Guarantee is what holds for the records of one sink.
type Guarantee struct {
	Sink      string `json:"sink"`
	Guarantee string `json:"guarantee" enum:"none,at_least_once,exactly_once"`
	Why       string `json:"why"`
	LoweredBy string `json:"lowered_by,omitempty" doc:"The node that keeps it from being stronger."`
}

// Checkpoints is how a run's checkpoints fare.
type Checkpoints struct {
	Interval    float64         `json:"interval_seconds"`
	Completed   int             `json:"completed" doc:"Of this run."`
	Failed      int             `json:"failed" doc:"Of this run."`
	FailedInRow int             `json:"failed_in_row"`
	Tolerated   int             `json:"tolerated" doc:"One more failure in a row fails the pipeline."`
	LastFailure string          `json:"last_failure,omitempty"`
	Slowest     float64         `json:"slowest_seconds" doc:"The longest from a barrier to its record in this run."`
	Last        *CheckpointDone `json:"last,omitempty"`
	InFlight    *CheckpointNow  `json:"in_flight,omitempty"`
	Committed   uint64          `json:"committed_through" doc:"All output up to this checkpoint is published."`
}

// CheckpointDone is a completed checkpoint.
type CheckpointDone struct {
	Number   uint64    `json:"number"`
	At       time.Time `json:"at"`
	Duration float64   `json:"duration_seconds" doc:"From its barrier to its record."`
	Bytes    int64     `json:"bytes"`
}

// CheckpointNow is a checkpoint under way.
type CheckpointNow struct {
	Number  uint64    `json:"number" doc:"0 while its number is not allocated."`
	Phase   string    `json:"phase"`
	Since   time.Time `json:"since" doc:"When it began."`
	Awaited []Awaited `json:"awaited" doc:"Tasks that have not delivered their part."`
}

// Awaited is a task that a checkpoint waits for.
type Awaited struct {
	Task  string    `json:"task" doc:"As in mask[2], or logs[enumerator]."`
	Host  string    `json:"host,omitempty"`
	Phase string    `json:"phase" enum:"barrier,align,process,snapshot,upload" doc:"barrier: none has come; align: some channels have not delivered it; process: the plugin has not passed it on; snapshot: its state is not all there; upload: it is being stored."`
	Since time.Time `json:"since" doc:"When it came into this phase."`
	// Channels are those that have not delivered the barrier.
	Channels []string `json:"channels,omitempty" doc:"Channels that have not delivered the barrier."`
}

// Uncommitted says why a sink's output is not published.
type Uncommitted struct {
	Sink         string     `json:"sink"`
	Committables int        `json:"committables" doc:"Prepared pieces of output that wait."`
	Since        *time.Time `json:"since,omitempty" doc:"Since when the sink does not answer."`
	Error        string     `json:"error,omitempty" doc:"Why the newest attempt failed; absent while it goes on."`
}

// Bottleneck names what keeps a pipeline from being faster.
type Bottleneck struct {
	Nodes []string `json:"nodes" doc:"One node, or several that share their tasks."`
	Why   string   `json:"why"`
}

// Checkpoint is a stored checkpoint or savepoint.
type Checkpoint struct {
	Number       uint64    `json:"number"`
	Savepoint    string    `json:"savepoint,omitempty" doc:"Its name, where it is a savepoint."`
	State        string    `json:"state" enum:"running,finishing,finished,abandoned"`
	Reason       string    `json:"reason,omitempty" doc:"Why it was abandoned."`
	Epoch        uint64    `json:"epoch"`
	CompletedAt  time.Time `json:"completed_at"`
	Duration     float64   `json:"duration_seconds"`
	Bytes        int64     `json:"bytes"`
	Committables int       `json:"committables" doc:"Prepared pieces of output that it lists."`
	Published    bool      `json:"published" doc:"All of them are published."`
}

// Failure is something that went wrong: what rolled the pipeline back, failed a
// checkpoint, or failed the pipeline.
type Failure struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind" enum:"restart,checkpoint,failed" doc:"restart: the tasks were rolled back; checkpoint: a checkpoint failed; failed: the pipeline did."`
	Epoch  uint64    `json:"epoch"`
	Host   string    `json:"host,omitempty"`
	Node   string    `json:"node,omitempty"`
	Task   string    `json:"task,omitempty"`
	Plugin string    `json:"plugin,omitempty"`
	Cause  string    `json:"cause"`
}

// LogRecord is one record of a pipeline's log.
type LogRecord struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level" enum:"debug,info,warn,error"`
	Message string    `json:"message"`
	Node    string    `json:"node,omitempty"`
	Task    string    `json:"task,omitempty"`
	Plugin  string    `json:"plugin,omitempty"`
	Host    string    `json:"host,omitempty"`
	// Attributes are the others.
	Attributes map[string]any `json:"attributes,omitempty"`
	// Dropped records were lost before this one.
	Dropped uint64 `json:"dropped,omitempty" doc:"So many records before this one are lost, since the reader was too slow or they are too old."`
}

// Masked stands in a TapRecord where something secret was.
const Masked = "[secret]"

// TapRecord is a record that passed on an output of a node. Values of secrets, and of
// fields and headers whose names say that they are secret, are masked in it.
type TapRecord struct {
	Host    string      `json:"host,omitempty"`
	Node    string      `json:"node"`
	Output  string      `json:"output"`
	Task    int         `json:"task" doc:"Index of the task that put it out."`
	Key     *TapData    `json:"key,omitempty" doc:"Absent where it is null."`
	Value   *TapData    `json:"value,omitempty" doc:"Absent where it is null."`
	Time    *time.Time  `json:"time,omitempty" doc:"The record's own time."`
	Headers []TapHeader `json:"headers,omitempty"`
	Split   string      `json:"split,omitempty" doc:"Where it comes from, where it carries that."`
	Ordinal *int64      `json:"ordinal,omitempty" doc:"Its place in the split."`
	// Dropped records passed before this one and are not shown.
	Dropped uint64 `json:"dropped,omitempty" doc:"So many records passed since the one before and are not shown."`
}

// TapData is a key, a value or a header of a record.
type TapData struct {
	Text   string `json:"text,omitempty" doc:"As text, where it is UTF-8."`
	Base64 []byte `json:"base64,omitempty" doc:"Otherwise."`
	Bytes  int    `json:"bytes,omitempty" doc:"The whole length, where what is shown is only its beginning."`
}

// TapHeader is a header of a record.
type TapHeader struct {
	Name  string   `json:"name"`
	Value *TapData `json:"value,omitempty" doc:"Absent where it is null."`
}

// SavepointRequest asks for a savepoint.
type SavepointRequest struct {
	_    struct{} `additionalProperties:"false"`
	Name string   `json:"name,omitempty" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" patternDescription:"letters, digits, dots, dashes and underscores, at most 63" doc:"Letters, digits, dots, dashes and underscores, at most 63; by default the time."`
}

// Savepoint is a savepoint that is complete: all output up to it is published.
type Savepoint struct {
	Name   string `json:"name"`
	Number uint64 `json:"number" doc:"Number of its checkpoint."`
}

// StopRequest asks for an end after a final checkpoint.
type StopRequest struct {
	_         struct{} `additionalProperties:"false"`
	Savepoint string   `json:"savepoint,omitempty" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" patternDescription:"letters, digits, dots, dashes and underscores, at most 63" doc:"Keep the final checkpoint under this name, of letters, digits, dots, dashes and underscores, at most 63."`
}

// Stopped is how a pipeline ended.
type Stopped struct {
	State       State    `json:"state" enum:"pending,restoring,running,stopping,finishing,finished,stopped,waiting,failed"`
	Checkpoint  uint64   `json:"checkpoint" doc:"The last one; 0 for none."`
	Uncommitted []string `json:"uncommitted" doc:"Hosts with output that is still to be published; the next start does it."`
}

// LogLevelRequest changes a log level.
type LogLevelRequest struct {
	_     struct{} `additionalProperties:"false"`
	Node  string   `json:"node,omitempty" doc:"By default every node, and the host."`
	Level string   `json:"level" enum:"debug,info,warn,error,default" doc:"default: what the host was started with; of a node, what holds for all."`
}

// LogLevels are the levels that were changed.
type LogLevels struct {
	All   string            `json:"all,omitempty" doc:"debug, info, warn or error: of everything that is not named below."`
	Nodes map[string]string `json:"nodes,omitempty" doc:"By node."`
}

// Parsed is the level that is asked for; nil for the default. An error is a *Problem.
func (r LogLevelRequest) Parsed() (*slog.Level, error) {
	if r.Level == "default" {
		return nil, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.Level)); err != nil {
		return nil, Problemf(CodeInvalidRequest, "level %q is none of debug, info, warn, error, default", r.Level)
	}
	return &level, nil
}

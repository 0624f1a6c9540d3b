package pipeline

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/weirstream/weir/host/secret"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// FormatVersion is the newest version of the file format that this package
// reads.
const FormatVersion = 1

// Pipeline is a pipeline file, checked and resolved. It is read-only.
type Pipeline struct {
	// Name names the pipeline, its state and what it makes outside.
	Name string
	// File is the file's name as it was given to Load.
	File string
	// Source is the file as it was written: references are not resolved, so it
	// holds no secret and may be stored.
	Source []byte
	// Version is the version of the file format.
	Version int

	// Parallelism is the default number of tasks of a node; the nodes have it
	// filled in.
	Parallelism int
	// MaxParallelism is the number of key groups, and the most tasks that any
	// node may ever have.
	MaxParallelism int
	// MaxParallelismChosen says that the file leaves MaxParallelism open. An
	// engine that restores state keeps the number of that state then.
	MaxParallelismChosen bool

	// Guarantee is the floor that the file asks for. Every sink reaches it.
	Guarantee Guarantee
	// Guarantees holds a row a sink, in the order of Nodes.
	Guarantees []SinkGuarantee
	// Isolation is the default of the nodes; they have it filled in.
	Isolation Isolation

	Checkpoint Checkpoint
	Restart    Restart
	Batch      Batch
	// MaxRecord is the size in bytes above which a record is a failed record.
	MaxRecord int64

	// Plugins are the plugins that the nodes use, sorted by name.
	Plugins []Plugin
	// Nodes are in topological order; among nodes that do not depend on each
	// other the order of the file holds.
	Nodes []*Node
	// Edges are ordered by receiving node (in the order of Nodes), then by port,
	// then as the file lists them. An edge's index here is its Edge.Index.
	Edges []*Edge

	mask *secret.Mask
}

// Secrets hides the pipeline's secrets, which its plugins know and may repeat.
func (p *Pipeline) Secrets() *secret.Mask { return p.mask }

// Node returns the node of that name, or nil.
func (p *Pipeline) Node(name string) *Node {
	for _, n := range p.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Isolation says which tasks share a process.
type Isolation string

const (
	// IsolationPlugin puts all nodes of one plugin into one process a host and
	// chains them where it can.
	IsolationPlugin Isolation = "plugin"
	// IsolationNode gives each node a process of its own a host.
	IsolationNode Isolation = "node"
	// IsolationTask gives each task a process of its own.
	IsolationTask Isolation = "task"
)

// Guarantee says how often a record that was read comes out at a sink. Greater
// is stronger.
type Guarantee int

const (
	// GuaranteeNone promises nothing: a failure may lose records.
	GuaranteeNone Guarantee = iota
	// GuaranteeAtLeastOnce loses no record; a failure may double some.
	GuaranteeAtLeastOnce
	// GuaranteeExactlyOnce neither loses nor doubles a record.
	GuaranteeExactlyOnce
)

// SinkGuarantee says what holds for the records of one sink, and why not more.
type SinkGuarantee struct {
	Sink      string    `json:"sink"`
	Guarantee Guarantee `json:"guarantee"`
	// Why is one sentence for people.
	Why string `json:"why"`
	// LoweredBy names the node that keeps the guarantee from being stronger;
	// empty where it is exactly once.
	LoweredBy string `json:"lowered_by,omitempty"`
}

// Checkpoint says when checkpoints are taken and where they are kept.
type Checkpoint struct {
	// Interval is the time from the start of one checkpoint to the next.
	Interval time.Duration
	// Timeout is the time after which an unfinished checkpoint is given up.
	Timeout time.Duration
	// MinPause is the least time between the end of one and the start of the
	// next.
	MinPause time.Duration
	// ToleratedFailures is how many may fail in a row; one more fails the
	// pipeline.
	ToleratedFailures int
	// Retain is the number of newest checkpoints that are kept.
	Retain int
	// DrainTimeout is how long an exit waits for commits to answer.
	DrainTimeout time.Duration
	// Storage is the URL of the store (file, mem, s3, gs, azblob); empty leaves
	// it to the engine's state folder.
	Storage string
}

// Restart bounds how often a pipeline is started again after a failure.
type Restart struct {
	// Attempts within Window; one more fails the pipeline.
	Attempts int
	Window   time.Duration
	Backoff  Backoff
}

// Backoff is a wait that doubles from Min to Max.
type Backoff struct{ Min, Max time.Duration }

// Batch bounds what is sent at once.
type Batch struct {
	// Size in bytes; a single larger record still passes.
	Size int64
	// Linger is how long an open batch waits for more while another is in
	// flight.
	Linger time.Duration
}

// Plugin says how a plugin's process is started.
type Plugin struct {
	Name string
	// Path of the executable, or Command with its arguments; both empty where
	// the file does not declare the plugin: it is found on the plugin path, or is
	// the first-party plugin.
	Path    string
	Command []string
	// Env is added to the environment, as "NAME=value". It may hold secrets: it
	// is not for printing.
	Env []string `json:"-"`
	// SHA256 of the executable in lower-case hex; empty leaves it unchecked.
	SHA256 string
	// Dir is the folder that relative paths of the file are relative to.
	Dir string
}

// Declared says whether the file itself says how the plugin is started.
func (p Plugin) Declared() bool { return p.Path != "" || len(p.Command) > 0 }

// String is the plugin's name: a plugin printed by accident shows no secret.
func (p Plugin) String() string { return p.Name }

// LogValue keeps the environment, which may hold secrets, out of logs.
func (p Plugin) LogValue() slog.Value { return slog.StringValue(p.Name) }

// FirstParty is the name of the plugin whose components need no prefix.
const FirstParty = "weir"

// Wire returns the guarantee as the wire contract has it. The contract has no
// word for "none": a sink then writes as for at least once.
func (g Guarantee) Wire() pluginv1.Guarantee {
	if g == GuaranteeExactlyOnce {
		return pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE
	}
	return pluginv1.Guarantee_GUARANTEE_AT_LEAST_ONCE
}

var guaranteeNames = [...]string{"none", "at_least_once", "exactly_once"}

func (g Guarantee) String() string {
	if g < 0 || int(g) >= len(guaranteeNames) {
		return "unknown"
	}
	return guaranteeNames[g]
}

// MarshalText writes the name that the file uses.
func (g Guarantee) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (g *Guarantee) UnmarshalText(text []byte) error {
	for i, name := range guaranteeNames {
		if name == string(text) {
			*g = Guarantee(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no guarantee", text)
}

package pipeline

import (
	"encoding/json"
	"log/slog"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// OutputMain is the output that every source and operator has; OutputErrors is
// the one that failed records leave on.
const (
	OutputMain   = "out"
	OutputErrors = "errors"
)

// PortMain is the input port of a component that declares none.
const PortMain = "in"

// Node is one component in the graph, run as Parallelism tasks.
type Node struct {
	Name string
	// ID is the name that its state is kept under: `id` of the file, or Name.
	ID   string
	Kind pluginv1.Kind
	// Line and Column of the node's name in the file, from 1.
	Line, Column int

	// Plugin and Component name what runs; the versions are those that the
	// manifest gave.
	Plugin, PluginVersion       string
	Component, ComponentVersion string
	// OneTaskPerProcess is the manifest's wish for a process a task.
	OneTaskPerProcess bool
	// NoChains is the manifest's wish to have each component in a task of its own.
	NoChains bool

	// Config is the configuration as canonical JSON: references resolved, keys
	// sorted, no blanks. It may hold secrets: print [Node.RedactedConfig].
	Config json.RawMessage `json:"-"`
	// SecretPaths are the field paths in Config that hold secrets, sorted.
	SecretPaths []string
	// Capabilities are those of the manifest that this configuration leaves.
	Capabilities *pluginv1.Capabilities

	Parallelism int
	Isolation   Isolation
	// StateOnDisk says that its state by key is kept on disk, not in memory.
	StateOnDisk bool
	// OnFailure is what happens to a record that the node fails, and DeadLetter
	// the node that gets it where the action is ACTION_DEAD_LETTER.
	OnFailure  *pluginv1.FailurePolicy
	DeadLetter string
	// EventTime is nil where the file does not ask for it.
	EventTime *pluginv1.EventTime
	// TellSplits: the node, or one behind it, sets event time by split, and so must
	// know where the records of splits begin and end.
	TellSplits bool
	// Guarantee holds for a sink.
	Guarantee Guarantee

	// Inputs are the connected ports, in the order in which the component
	// declares them: the index of a port is that of the wire contract.
	Inputs []Input
	// Outputs are those that lead anywhere: "out" first, then as the component
	// declares them, then those that its configuration names by name, "errors"
	// last.
	Outputs []Output

	// State is what the node's stored state depends on.
	State StateShape
}

// Input is one connected port of a node.
type Input struct {
	Port string
	// Partition is that of all its edges, or PARTITION_UNSPECIFIED where they
	// differ.
	Partition pluginv1.Partition
	Edges     []*Edge
}

// Output is one output of a node that leads somewhere.
type Output struct {
	Name string
	// Origin says that records must carry their origin since a later node
	// dead-letters them.
	Origin bool
	Edges  []*Edge
}

// Edge leads from an output of one node to a port of another.
type Edge struct {
	// Index is the edge's place in Pipeline.Edges.
	Index    int
	From, To string
	Output   string
	Port     string
	// Partition is never PARTITION_UNSPECIFIED.
	Partition pluginv1.Partition
}

// DeadLetter says whether failed records travel on the edge.
func (e *Edge) DeadLetter() bool { return e.Output == OutputErrors }

// String is "from.output -> to.port" for logs and messages.
func (e *Edge) String() string { return e.From + "." + e.Output + " -> " + e.To + "." + e.Port }

// LogValue keeps the configuration, which may hold secrets, out of logs.
func (n *Node) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", n.Name),
		slog.String("component", n.Plugin+"/"+n.Component),
		slog.Int("parallelism", n.Parallelism),
	)
}

// String is the node's name: a node printed by accident shows no secret.
func (n *Node) String() string { return n.Name }

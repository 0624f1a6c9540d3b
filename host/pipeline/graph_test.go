package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// checkPipeline holds for every pipeline that Load returns.
func checkPipeline(p *pipeline.Pipeline) error {
	place := make(map[string]int)
	for i, n := range p.Nodes {
		place[n.Name] = i
	}
	if len(place) != len(p.Nodes) || len(p.Nodes) == 0 {
		return fmt.Errorf("%d nodes have %d names", len(p.Nodes), len(place))
	}
	seen := 0
	for _, n := range p.Nodes {
		if n.Parallelism < 1 || n.Parallelism > p.MaxParallelism {
			return fmt.Errorf("%s has %d tasks of at most %d", n.Name, n.Parallelism, p.MaxParallelism)
		}
		if (n.Kind == pluginv1.Kind_KIND_SOURCE) != (len(n.Inputs) == 0) {
			return fmt.Errorf("%s is a %s with %d inputs", n.Name, pipeline.KindName(n.Kind), len(n.Inputs))
		}
		for _, in := range n.Inputs {
			for _, e := range in.Edges {
				seen++
				if err := checkEdge(p, e, place); err != nil {
					return err
				}
				if e.To != n.Name || e.Port != in.Port {
					return fmt.Errorf("edge %s is listed at %s.%s", e, n.Name, in.Port)
				}
			}
		}
		for _, out := range n.Outputs {
			for _, e := range out.Edges {
				if e.From != n.Name || e.Output != out.Name || p.Edges[e.Index] != e {
					return fmt.Errorf("edge %s is listed at %s.%s", e, n.Name, out.Name)
				}
			}
		}
	}
	if seen != len(p.Edges) {
		return fmt.Errorf("%d edges, but the nodes list %d", len(p.Edges), seen)
	}
	return checkChains(p)
}

func checkEdge(p *pipeline.Pipeline, e *pipeline.Edge, place map[string]int) error {
	from, to := p.Node(e.From), p.Node(e.To)
	switch {
	case from == nil || to == nil || p.Edges[e.Index] != e:
		return fmt.Errorf("edge %s has no place", e)
	case place[e.From] >= place[e.To]:
		return fmt.Errorf("edge %s leads backwards", e)
	case e.Partition == pluginv1.Partition_PARTITION_UNSPECIFIED:
		return fmt.Errorf("edge %s has no partition", e)
	case e.Partition == pluginv1.Partition_PARTITION_FORWARD && from.Parallelism != to.Parallelism:
		return fmt.Errorf("forward edge %s from %d to %d tasks", e, from.Parallelism, to.Parallelism)
	case e.DeadLetter() && from.OnFailure.GetAction() != pluginv1.FailurePolicy_ACTION_DEAD_LETTER:
		return fmt.Errorf("edge %s of a node that sends no dead letters", e)
	case to.Capabilities.GetKeyedState() && e.Partition != pluginv1.Partition_PARTITION_KEY && e.Port != "rules":
		return fmt.Errorf("edge %s into state by key", e)
	}
	return nil
}

// checkChains holds the rules of Chains: every node in one chain, links that may
// be links, and no two chains that could be one.
func checkChains(p *pipeline.Pipeline) error {
	in := make(map[string]int)
	ends := make(map[string]bool)
	chains := pipeline.Chains(p)
	for i, c := range chains {
		for j, n := range c.Members {
			if _, ok := in[n.Name]; ok {
				return fmt.Errorf("%s is in two chains", n.Name)
			}
			in[n.Name] = i
			ends[n.Name] = j == len(c.Members)-1
			if n.Plugin != c.Plugin || n.Parallelism != c.Parallelism || n.Isolation != c.Isolation {
				return fmt.Errorf("%s is not like its chain", n.Name)
			}
		}
		for j, e := range c.Links {
			if e.From != c.Members[j].Name || e.To != c.Members[j+1].Name || !mayChain(p, e) {
				return fmt.Errorf("%s is no link", e)
			}
		}
		if len(c.Links) != len(c.Members)-1 || len(c.Links) > 0 && c.Isolation != pipeline.IsolationPlugin {
			return fmt.Errorf("chain %s has %d members and %d links", c.Name(), len(c.Members), len(c.Links))
		}
	}
	if len(in) != len(p.Nodes) {
		return fmt.Errorf("%d of %d nodes are in chains", len(in), len(p.Nodes))
	}
	for _, e := range p.Edges {
		if mayChain(p, e) && ends[e.From] && chains[in[e.To]].Members[0].Name == e.To {
			return fmt.Errorf("%s could be a link and is none", e)
		}
	}
	return nil
}

func mayChain(p *pipeline.Pipeline, e *pipeline.Edge) bool {
	from, to := p.Node(e.From), p.Node(e.To)
	return e.Partition == pluginv1.Partition_PARTITION_FORWARD && !e.DeadLetter() && from.Plugin == to.Plugin &&
		from.Isolation == pipeline.IsolationPlugin && to.Isolation == pipeline.IsolationPlugin &&
		len(to.Inputs) == 1 && len(to.Inputs[0].Edges) == 1
}

// seed logs the seed of a randomised test; WEIR_SEED replays it.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// Graphs of any shape keep the rules of checkPipeline, whatever the order in
// which the file lists their nodes.
func TestRandomGraphsAreOrderedPartitionedAndChained(t *testing.T) {
	r := seed(t)
	for range 300 {
		file := randomGraph(r)
		p, report := pipeline.LoadBytes(context.Background(), "random.yaml", []byte(file), testOptions())
		if !report.OK() {
			t.Fatalf("refused:\n%s\n%s", report, file)
		}
		if err := checkPipeline(p); err != nil {
			t.Fatalf("%v\n%s", err, file)
		}
	}
}

// randomGraph writes a sound pipeline: some sources, operators that read from any
// earlier nodes, and a sink for every output that leads nowhere.
func randomGraph(r *rand.Rand) string {
	var nodes, open []string
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	common := func() string {
		s := fmt.Sprintf("parallelism: %d, isolation: %s", 1+r.IntN(3), pick("plugin", "plugin", "plugin", "node", "task"))
		return s + pick("", "", ", on_error: skip", ", on_error: {dead_letter: dead}")
	}
	inputs := func() string {
		var from []string
		for range 1 + r.IntN(2) {
			if name := open[r.IntN(len(open))]; !slices.Contains(from, name) {
				from = append(from, name)
			}
		}
		return "[" + strings.Join(from, ", ") + "]"
	}
	used := make(map[string]bool)
	for i := range 1 + r.IntN(3) {
		name := fmt.Sprintf("source%d", i)
		nodes = append(nodes, fmt.Sprintf("%s: {source: generator, %s}", name, common()))
		open = append(open, name)
	}
	for i := range r.IntN(8) {
		name, in := fmt.Sprintf("step%d", i), inputs()
		kind := pick("operator: expr", "operator: expr", "operator: acme/mask", "operator: window, config: {size: 1s}")
		nodes = append(nodes, fmt.Sprintf("%s: {%s, input: %s, %s}", name, kind, in, common()))
		for _, from := range strings.Split(strings.Trim(in, "[]"), ", ") {
			used[from] = true
		}
		open = append(open, name)
	}
	for i, name := range open {
		if !used[name] || r.IntN(4) == 0 {
			nodes = append(nodes, fmt.Sprintf("sink%d: {sink: discard, input: %s, %s}", i, name, common()))
		}
	}
	nodes = append(nodes, "dead: {sink: acme/store, input: "+open[0]+"}")
	r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return "name: random\nnodes:\n  " + strings.Join(nodes, "\n  ") + "\n"
}

func TestTheDefaultOfMaxParallelismLeavesRoomToGrow(t *testing.T) {
	for tasks, want := range map[int]int{1: 128, 85: 128, 86: 256, 128: 256, 170: 256, 171: 256, 172: 512, 1000: 2048, 21845: 32768, 32768: 32768} {
		if got := pipeline.DefaultMaxParallelism(tasks); got != want {
			t.Errorf("%d tasks: %d, want %d", tasks, got, want)
		}
	}
}

package conformance

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// T is one run of a case on a target. Like a testing.T it belongs to the case's
// goroutine, which Fatalf ends.
type T struct {
	*Target
	Case *Case
	// Rand depends on the seed, the case and the target alone.
	Rand *rand.Rand
	// TMP is the case's own folder, CaseID its own name.
	TMP, CaseID string

	kit     *kit
	ctx     context.Context
	entry   *spec.Component // Target.Entry with this case's references; nil without
	uid     string
	started int
	feeds   int
	number  int // of the last record that was made

	out *os.File // see stdout

	mu        sync.Mutex
	processes []*rig.Plugin
	notes     []string
	failure   string
	broken    string // why it could not be tested
	cleanups  []func()
}

var _ rig.TB = (*T)(nil)

// Context ends with the time that the case has.
func (t *T) Context() context.Context { return t.ctx }

// Fatalf fails the case and ends it.
func (t *T) Fatalf(format string, args ...any) {
	t.mu.Lock()
	if t.failure == "" {
		t.failure = fmt.Sprintf(format, args...)
	}
	t.mu.Unlock()
	runtime.Goexit()
}

// Brokenf ends the case without a verdict: something that is not the plugin's
// keeps it from being tested.
func (t *T) Brokenf(format string, args ...any) {
	t.mu.Lock()
	if t.broken == "" {
		t.broken = fmt.Sprintf(format, args...)
	}
	t.mu.Unlock()
	runtime.Goexit()
}

// Logf notes what was sent or came back, for the report of a failure.
func (t *T) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// Cleanup has f called when the case ends, the last one first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *T) clean() {
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		f()
	}
}

// Start starts a process of the plugin.
func (t *T) Start() *rig.Plugin { return t.start(t.kit.launcher, t.mark(), 0) }

// StartNarrow starts one whose streams towards the host hold little, so that it is
// held up soon.
func (t *T) StartNarrow() *rig.Plugin { return t.start(t.kit.launcher, t.mark(), 64<<10) }

// StartPrevious starts one of its older version.
func (t *T) StartPrevious() *rig.Plugin { return t.start(*t.kit.previous, t.mark(), 0) }

func (t *T) start(l rig.Launcher, mark string, window int32) *rig.Plugin {
	t.started++
	tmp := filepath.Join(filepath.Dir(t.TMP), fmt.Sprintf("process-%d", t.started))
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		t.Brokenf("%v", err)
	}
	p := l.Start(t, rig.Options{TMP: tmp, Mark: mark, Window: window, Stdout: t.stdout()})
	t.mu.Lock()
	t.processes = append(t.processes, p)
	t.mu.Unlock()
	return p
}

// stdout is what processes are lent as the host's standard output: the file
// "stdout" in the case's folder.
func (t *T) stdout() *os.File {
	if t.out == nil && runtime.GOOS != "windows" {
		f, err := os.OpenFile(filepath.Join(t.TMP, "stdout"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Brokenf("%v", err)
		}
		t.out = f
		t.Cleanup(func() { _ = f.Close() })
	}
	return t.out
}

// mark is in the environment of every process of the plugin under test in this case.
func (t *T) mark() string { return t.CaseID }

// UID is the pipeline's random id in this case.
func (t *T) UID() string { return t.uid }

// Node is the name of the component's node.
const Node = "node"

// Member is the component with its configuration as a member of a chain.
func (t *T) Member() *pluginv1.Member { return t.memberOf(t.entry.Config) }

// PreviousMember is the same with the configuration for the older version.
func (t *T) PreviousMember() *pluginv1.Member {
	if t.entry.Previous != nil {
		return t.memberOf(*t.entry.Previous)
	}
	return t.Member()
}

func (t *T) memberOf(c spec.Config) *pluginv1.Member {
	configured, _ := pipeline.CheckConfig(t.ctx, nil, pipeline.Plugin{}, t.Component, c.Path, c.Value, c.Pos)
	m := &pluginv1.Member{
		Node: Node, Component: t.Component.GetName(), Config: configured.Config, SecretPaths: configured.SecretPaths,
		OnFailure: &pluginv1.FailurePolicy{Action: pluginv1.FailurePolicy_ACTION_DEAD_LETTER},
		Guarantee: pluginv1.Guarantee_GUARANTEE_AT_LEAST_ONCE,
	}
	if t.Left.GetExactlyOnce() || t.Left.GetReplayable() {
		m.Guarantee = pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE
	}
	if t.Component.GetKind() != pluginv1.Kind_KIND_SINK {
		m.Outputs = append(m.Outputs, &pluginv1.Outlet{Output: pipeline.OutputMain, Origin: true})
		for _, o := range t.Outputs {
			m.Outputs = append(m.Outputs, &pluginv1.Outlet{Output: o, Origin: true})
		}
	}
	m.Outputs = append(m.Outputs, &pluginv1.Outlet{Output: pipeline.OutputErrors, Origin: true})
	if t.Component.GetKind() != pluginv1.Kind_KIND_SOURCE {
		for _, p := range t.Ports() {
			m.Inputs = append(m.Inputs, &pluginv1.Inlet{Port: p, Partition: pluginv1.Partition_PARTITION_FORWARD})
		}
	}
	return m
}

// Ports are the component's input ports.
func (t *Target) Ports() []string {
	var out []string
	for _, p := range t.Component.GetInputs() {
		out = append(out, p.GetName())
	}
	if len(out) == 0 {
		out = []string{"in"}
	}
	return out
}

// Open says how to open the component in an epoch; restore is nil for a first
// start.
func (t *T) Open(epoch uint64, parallelism int, restore *rig.Cut) rig.Open {
	return rig.Open{
		Kind: t.Component.GetKind(), Chain: []*pluginv1.Member{t.Member()}, UID: t.uid, Epoch: epoch,
		Parallelism: parallelism, Keyed: t.Left.GetKeyedState(), Restore: restore,
	}
}

// seedOf mixes the run's seed with what the case is run on.
func seedOf(seed uint64, c *Case, t *Target) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.ID + "/" + t.Name()))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// caseID is a name for the case that no other run has.
func caseID(id, nonce string, n int) string {
	return fmt.Sprintf("%s_%s%d", strings.ReplaceAll(strings.ToLower(id), "-", "_"), nonce, n)
}

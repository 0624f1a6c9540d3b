// Package statetest is the suite that every back end of state by key passes.
package statetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/proto/snapfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// Open opens a back end with the restored files; what it does not go on with itself
// is stored.
type Open func(c state.DiskConfig) (state.Backend, state.Stored, error)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
	t.Run("Rescale", func(t *testing.T) { Rescale(t, open) })
	t.Run("TTL", func(t *testing.T) { testTTL(t, open) })
	t.Run("Migration", func(t *testing.T) { testMigration(t, open) })
	t.Run("Drop", func(t *testing.T) { testDrop(t, open) })
}

// Seeded returns a generator whose seed is logged, and taken from WEIR_SEED.
func Seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// groups is the number of key groups.
const groups = 16

// shapes are the states of a task, by name.
var shapes = map[string]state.Shape{"value": state.Value, "list": state.List, "map": state.Map}

// Task is the keyed state of one task, and the host's part of it: the snapshots.
type Task struct {
	*state.Keyed
	States map[string]*state.State
	// Now is the processing time in milliseconds.
	Now int64

	t    testing.TB
	root string
	// completed are the entries of completed checkpoints, by number.
	completed map[uint64][]*pluginv1.Entry
	last      uint64
}

// Start opens a task and no state.
func Start(t testing.TB, open Open, index, parallelism int, checkpoint uint64, entries []*pluginv1.Entry) *Task {
	t.Helper()
	first, last := keygroup.Range(index, groups, parallelism)
	g := state.Groups{First: first, Last: last, Of: groups}
	task := &Task{
		t: t, root: t.TempDir(), States: map[string]*state.State{},
		completed: map[uint64][]*pluginv1.Entry{checkpoint: entries}, last: checkpoint,
	}
	var files, own []*pluginv1.Entry
	for _, e := range entries {
		if e.Kind == pluginv1.Entry_KIND_FILE {
			files = append(files, e)
		} else {
			own = append(own, e)
		}
	}
	b, stored, err := open(state.DiskConfig{
		Root: task.root, Dir: task.root + "/0", Groups: g, Checkpoint: checkpoint, Restored: files,
	})
	if err != nil {
		t.Fatal(err)
	}
	task.Keyed, err = state.NewKeyed(b, g, func() int64 { return task.Now * 1e6 }, own, stored)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(task.Stop)
	return task
}

// Stop closes the task, once.
func (k *Task) Stop() {
	if k.Keyed == nil {
		return
	}
	if err := k.Close(); err != nil {
		k.t.Error(err)
	}
	k.Keyed = nil
}

// OpenState opens a state with a codec.
func (k *Task) OpenState(spec state.Spec, codec string, m state.Migration) *state.State {
	k.t.Helper()
	shape := [...]string{state.Value: keygroup.ShapeValue, state.List: keygroup.ShapeList, state.Map: keygroup.ShapeMap}[spec.Shape]
	s, err := k.Open(spec, keygroup.Header{Shape: shape, Codec: codec, TTL: spec.TTL}, m)
	if err != nil {
		k.t.Fatal(err)
	}
	k.States[spec.Name] = s
	return s
}

// start opens a task with a state of each shape.
func start(t testing.TB, open Open, index, parallelism int, checkpoint uint64, entries []*pluginv1.Entry) *Task {
	t.Helper()
	k := Start(t, open, index, parallelism, checkpoint, entries)
	for name, shape := range shapes {
		k.OpenState(state.Spec{Name: name, Shape: shape}, "bytes", state.Migration{})
	}
	k.opened()
	return k
}

func (k *Task) opened() {
	k.t.Helper()
	if err := k.Opened(); err != nil {
		k.t.Fatal(err)
	}
}

// Use makes a key the one at hand.
func (k *Task) Use(key string) {
	k.SetKey([]byte(key), keygroup.Hash([]byte(key)))
	k.Begin()
}

// Walk makes the entries of a snapshot, beside the loop.
func Walk(t testing.TB, l state.Later) []*pluginv1.Entry {
	defer l.Release()
	var entries []*pluginv1.Entry
	if err := l.Walk(func(e *pluginv1.Entry) bool { entries = append(entries, e); return true }); err != nil {
		t.Error(err)
	}
	return entries
}

// Store reads the files that entries name, as a host does before the outcome. An
// entry may refer to what a completed checkpoint holds, and to nothing else.
func (k *Task) Store(entries []*pluginv1.Entry) {
	k.t.Helper()
	of := k.last
	for _, e := range entries {
		if s := e.GetSameAs(); s != nil {
			of = s.Checkpoint
		}
	}
	if err := snapfile.Inline(k.root, entries, of, k.completed[of]); err != nil {
		k.t.Fatal(err)
	}
}

// Conclude tells what became of a checkpoint.
func (k *Task) Conclude(checkpoint uint64, entries []*pluginv1.Entry, completed bool) {
	if completed {
		k.completed[checkpoint], k.last = entries, checkpoint
	}
	k.Concluded(checkpoint, completed)
}

// Checkpoint makes a whole checkpoint, which completes.
func (k *Task) Checkpoint(n uint64) []*pluginv1.Entry {
	k.t.Helper()
	l, err := k.Capture(n)
	if err != nil {
		k.t.Fatal(err)
	}
	entries := Walk(k.t, l)
	k.Store(entries)
	k.Conclude(n, entries, true)
	return entries
}

// Deal gives the entries of all tasks of a checkpoint to as many new ones.
func Deal(entries [][]*pluginv1.Entry, tasks int) [][]*pluginv1.Entry {
	out := make([][]*pluginv1.Entry, tasks)
	for from, es := range entries {
		first, last := keygroup.Range(from, groups, len(entries))
		for _, e := range es {
			if e.Kind == pluginv1.Entry_KIND_FILE {
				for to := keygroup.Owner(first, groups, tasks); to <= keygroup.Owner(last, groups, tasks); to++ {
					out[to] = append(out[to], e)
				}
				continue
			}
			to := keygroup.Owner(int(e.KeyGroup), groups, tasks)
			out[to] = append(out[to], e)
		}
	}
	return out
}

// model is what the tables should hold: by state, key and sub-key.
type model map[string]map[string]map[string]string

func newModel() model { return model{"value": {}, "list": {}, "map": {}} }

// check compares the task's state of keys that it owns with the model.
func (m model) check(t testing.TB, k *Task, keys []string, what string) {
	t.Helper()
	for _, key := range keys {
		hash := keygroup.Hash([]byte(key))
		if !k.SetKey([]byte(key), hash) {
			continue
		}
		for name := range shapes {
			got := map[string]string{}
			k.States[name].Each(func(sub, value []byte) bool { got[string(sub)] = string(value); return true })
			want := m[name][key]
			if len(got) != len(want) {
				t.Fatalf("%s: %s of %.20q holds %d entries, not %d", what, name, key, len(got), len(want))
			}
			for sub, v := range want {
				if s, ok := got[sub]; !ok || s != v {
					t.Fatalf("%s: %s of %.20q, %q is %.40q, not %.40q", what, name, key, sub, s, v)
				}
				if v2 := k.States[name].Get(subOf(name, sub)); string(v2) != v || v2 == nil {
					t.Fatalf("%s: %s of %.20q, %q reads as %.40q, not %.40q", what, name, key, sub, v2, v)
				}
			}
		}
	}
	k.Unset()
	if err := k.Err(); err != nil {
		t.Fatal(err)
	}
}

func subOf(name, sub string) []byte {
	if name == "map" {
		return []byte(sub)
	}
	return nil
}

func (m model) clone() model {
	out := model{}
	for name, keys := range m {
		out[name] = map[string]map[string]string{}
		for k, subs := range keys {
			c := make(map[string]string, len(subs))
			for s, v := range subs {
				c[s] = v
			}
			out[name][k] = c
		}
	}
	return out
}

func someKeys(r *rand.Rand, n int) []string {
	keys := []string{""}
	for i := range n {
		keys = append(keys, fmt.Sprint("key ", i))
	}
	for range 3 {
		keys = append(keys, string(slices.Repeat([]byte("long "), 10+r.IntN(2000))))
	}
	return keys
}

package diskstate

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
	"github.com/weirstream/weir/sdk/internal/state/statetest"
)

// stateBytes is how large the state of TestLargeState is: WEIR_STATE_BYTES, or little.
func stateBytes(t *testing.T) int {
	s := os.Getenv("WEIR_STATE_BYTES")
	if s == "" {
		return 8 << 20
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	largeValue  = 1000
	largeRounds = 8
)

// large is a task with one state, of numbers.
type large struct {
	*statetest.Task
	s     *state.State
	value []byte
}

func openLarge(t *testing.T, d disk, n uint64, entries []*pluginv1.Entry) *large {
	t.Helper()
	k := statetest.Start(t, d.Open, 0, 1, n, entries)
	l := &large{Task: k, s: k.OpenState(state.Spec{Name: "value"}, "bytes", state.Migration{}), value: make([]byte, largeValue)}
	if err := k.Opened(); err != nil {
		t.Fatal(err)
	}
	return l
}

// put writes a key's value of a generation, which does not compress.
func (l *large) put(key, generation int) {
	l.Use(strconv.Itoa(key))
	l.s.Put(nil, l.content(key, generation))
}

func (l *large) content(key, generation int) []byte {
	x := uint64(key)<<8 | uint64(generation)
	for i := 0; i+8 <= len(l.value); i += 8 {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(l.value[i:], x)
	}
	return l.value
}

// Of a state that is larger than what is held in memory, a checkpoint in which little
// has changed names little; the task goes on while it is made; and what is restored is
// what was there.
func TestLargeState(t *testing.T) {
	total := stateBytes(t)
	keys := total / largeValue
	d := disk{min(overlayBytes, total/8), valuesApart}
	l := openLarge(t, d, 0, nil)
	start := time.Now()
	for key := range keys {
		l.put(key, 0)
	}
	t.Logf("%d keys, %d MB written in %v", keys, total>>20, time.Since(start))
	_, whole := l.measured(t, 1, func(int) {})
	if whole < total*9/10 {
		t.Fatalf("the first checkpoint names %d bytes of %d", whole, total)
	}
	// A hundredth of the keys changes between checkpoints, anywhere among them: the
	// worst for a store that keeps keys in order.
	random := statetest.Seeded(t)
	want := map[int]int{}
	var entries []*pluginv1.Entry
	again, changed, done, n := 0, 0, 0, uint64(1)
	for generation := 1; generation <= largeRounds; generation++ {
		for range keys / 100 {
			key := random.IntN(keys)
			l.put(key, generation)
			want[key] = generation
		}
		changed += keys / 100 * largeValue
		n++
		part := 0
		entries, part = l.measured(t, n, func(int) { l.put(keys+generation, 0); done++ })
		t.Logf("%d bytes stored again", part)
		again += part
	}
	t.Logf("%d checkpoints store %d bytes again where %d have changed, of %d; %d records were processed meanwhile", largeRounds, again, changed, whole, done)
	if again > 3*changed {
		t.Errorf("%d of %d bytes are stored again by %d checkpoints, where %d changed", again, whole, largeRounds, changed)
	}
	if done == 0 {
		t.Error("nothing was processed while snapshots were made")
	}
	l.Stop()
	l = openLarge(t, d, n, entries)
	for key := 0; key < keys; key += max(1, keys/20_000) {
		l.Use(strconv.Itoa(key))
		if got := l.s.Get(nil); string(got) != string(l.content(key, want[key])) {
			t.Fatalf("key %d is not what it was at the checkpoint", key)
		}
	}
	l.Use(strconv.Itoa(keys + largeRounds))
	if l.s.Get(nil) != nil {
		t.Error("what came behind the barrier is in the checkpoint")
	}
	l.Stop()
}

// However often state is written over, its files take little more than twice its size.
func TestWhatNoKeyNeedsIsGivenUp(t *testing.T) {
	const keys, rounds = 4000, 250
	d := disk{256 << 10, valuesApart}
	d.values.RewriteMinimumAge = 0
	l := openLarge(t, d, 0, nil)
	random := statetest.Seeded(t)
	want := map[int]int{}
	for key := range keys {
		l.put(key, 0)
	}
	var entries []*pluginv1.Entry
	live, most := 0, 0
	for n := uint64(1); n <= rounds; n++ {
		for range keys / 50 {
			key := random.IntN(keys)
			l.put(key, int(n%256))
			want[key] = int(n % 256)
		}
		entries = l.Checkpoint(n)
		live = 0
		for _, e := range entries {
			live += len(e.GetPayload())
		}
		most = max(most, live)
	}
	t.Logf("%d bytes written %d times over take at most %d, and %d in the end", keys*largeValue, rounds/50, most, live)
	if most > 3*keys*largeValue {
		t.Errorf("%d bytes of state take %d in files", keys*largeValue, most)
	}
	l.Stop()
	l = openLarge(t, d, rounds, entries)
	for key := range keys {
		l.Use(strconv.Itoa(key))
		if got := l.s.Get(nil); string(got) != string(l.content(key, want[key])) {
			t.Fatalf("key %d is not what it was at the checkpoint", key)
		}
	}
	l.Stop()
}

// measured makes a checkpoint, calls work until the snapshot is made, and returns its
// entries and how many bytes of files they name that no earlier checkpoint holds.
func (l *large) measured(t *testing.T, n uint64, work func(i int)) ([]*pluginv1.Entry, int) {
	t.Helper()
	start := time.Now()
	later, err := l.Capture(n)
	if err != nil {
		t.Fatal(err)
	}
	stood := time.Since(start)
	walked := make(chan []*pluginv1.Entry, 1)
	go func() { walked <- statetest.Walk(t, later) }()
	var entries []*pluginv1.Entry
	for i := 0; entries == nil; i++ {
		select {
		case entries = <-walked:
		default:
			work(i)
		}
	}
	stored := 0
	for _, e := range entries {
		stored += int(e.GetFile().GetSize())
	}
	t.Logf("checkpoint %d: stood still %v, whole after %v, %s", n, stood, time.Since(start), fmt.Sprintf("%d entries", len(entries)))
	l.Store(entries)
	l.Conclude(n, entries, true)
	return entries, stored
}

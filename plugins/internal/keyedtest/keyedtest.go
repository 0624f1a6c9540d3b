// Package keyedtest runs an operator with state by key through a random life: it
// is fed in some interleaving, with watermarks, checkpoints, crashes and changes of
// parallelism in between, as a seed says. What it gives back is what an
// exactly-once sink would hold, for a test to compare with an oracle.
package keyedtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// Rand returns a source of chance whose seed is logged; WEIR_SEED replays it.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Rounds is how many lives a test looks at: n, or what WEIR_ROUNDS says.
func Rounds(t testing.TB, n int) int {
	t.Helper()
	if s := os.Getenv("WEIR_ROUNDS"); s != "" {
		rounds, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("WEIR_ROUNDS: %v", err)
		}
		return rounds
	}
	return n
}

// Record is one record of the input, for a port; an empty one is the only port.
type Record struct {
	Port string
	sdktest.Record
}

// Life runs the component on the input, in its order, and returns what was
// committed, by output. bound is by how much a record may be older than the newest
// before it: the watermark stays so far behind.
func Life(t testing.TB, rng *rand.Rand, c sdk.Component, config any, input []Record, bound int64) map[string][]sdktest.Record {
	t.Helper()
	// Most lives are in memory: a restart is dear on disk.
	var where []sdktest.Option
	if rng.IntN(8) == 0 {
		where = append(where, sdktest.OnDisk())
	}
	p := sdktest.NewParallel(t, c, config, 1+rng.IntN(4), where...)
	committed, pending := map[string][]sdktest.Record{}, map[string][]sdktest.Record{}
	note := func(r sdktest.Result) {
		pending["out"] = append(pending["out"], r.Out...)
		for name, records := range r.Outputs {
			if name != "out" {
				pending[name] = append(pending[name], records...)
			}
		}
		if len(r.Failed) > 0 {
			t.Fatalf("failed records: %v", r.Failed)
		}
	}
	commit := func() {
		for name, records := range pending {
			committed[name] = append(committed[name], records...)
		}
		pending = map[string][]sdktest.Record{}
	}
	at, saved := 0, 0
	newest, savedNewest := int64(-1<<62), int64(-1<<62)
	for at < len(input) {
		switch rng.IntN(10) {
		case 0:
			note(p.Checkpoint())
			commit()
			saved, savedNewest = at, newest
		case 1:
			p.Restart(1 + rng.IntN(5))
			pending = map[string][]sdktest.Record{}
			at, newest = saved, savedNewest
		case 2:
			if newest > -1<<62 {
				note(p.Watermark(sdk.UnixNano(newest - bound)))
			}
		default:
			port, from := input[at].Port, at
			var batch []sdktest.Record
			for n := 1 + rng.IntN(8); n > 0 && at < len(input) && input[at].Port == port; n-- {
				batch = append(batch, input[at].Record)
				newest = max(newest, input[at].Time.UnixNano())
				at++
			}
			if input[from].Port == "" {
				note(p.Process(batch...))
			} else {
				note(p.ProcessByKey(input[from].Port, batch...))
			}
		}
	}
	note(p.Watermark(sdk.EndOfTime()))
	note(p.End())
	commit()
	return committed
}

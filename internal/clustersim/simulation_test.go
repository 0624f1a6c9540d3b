package clustersim

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/race"
)

// schedules is how many schedules are played.
func schedules(t *testing.T, count int) int {
	if text := os.Getenv("WEIR_SCHEDULES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("WEIR_SCHEDULES=%s is no number of schedules", text)
		}
		return n
	}
	return count
}

// some is how many schedules are played unless something else is said.
const some = 40

func firstSeed(t *testing.T) (seed uint64, alone bool) {
	if text := os.Getenv("WEIR_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		return n, true
	}
	return rand.Uint64() >> 1, false
}

func bubble(t *testing.T, seed uint64, f flaw) (wrong []string) {
	synctest.Test(t, func(*testing.T) { wrong = play(seed, f) })
	return wrong
}

func TestSimulation(t *testing.T) {
	seed, alone := firstSeed(t)
	count := schedules(t, some)
	if alone {
		count = min(count, 20) // the same again
	}
	t.Logf("WEIR_SEED=%d and what follows", seed)
	wrong := search(func(i uint64) (uint64, flaw) {
		if alone {
			return seed, sound
		}
		return seed + i, sound
	}, t, count)
	if wrong != nil {
		t.Fatalf("WEIR_SEED=%d: %q", wrong.seed, wrong.what)
	}
}

// finding is a schedule in which something was wrong.
type finding struct {
	number, seed uint64
	what         []string
}

// search plays schedules on all processors until something is wrong in one.
func search(schedule func(i uint64) (uint64, flaw), t *testing.T, count int) *finding {
	var next atomic.Uint64
	var found atomic.Pointer[finding]
	t.Run("schedules", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for found.Load() == nil {
					i := next.Add(1) - 1
					if i >= uint64(count) {
						return
					}
					seed, f := schedule(i)
					if wrong := bubble(t, seed, f); wrong != nil {
						found.CompareAndSwap(nil, &finding{i, seed, wrong})
					}
				}
			})
		}
	})
	return found.Load()
}

// Each condition that is left out is found by some schedule: in the median by one of
// the first hundred, seldom after five hundred.
func TestSimulationFindsEachConditionThatIsLeftOut(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector slows schedules tenfold: make test looks for flaws without it")
	}
	const most = 3000
	for _, f := range []flaw{noGuard, noEpochCheck, noEpochSet, noSequence, noPending, noAckCheck, noEpoch, noInstance, staleRestore} {
		t.Run(string(f), func(t *testing.T) {
			seed, _ := firstSeed(t)
			found := search(func(i uint64) (uint64, flaw) { return seed + i, f }, t, most)
			if found == nil {
				t.Fatalf("no schedule of %d from WEIR_SEED=%d finds it", most, seed)
			}
			t.Logf("schedule %d, WEIR_SEED=%d: %s", found.number, found.seed, found.what[0])
		})
	}
}

// The lease saves work and noise; what is right does not rest on it.
func TestSimulationWithoutTheLeaseIsSound(t *testing.T) {
	seed, _ := firstSeed(t)
	if found := search(func(i uint64) (uint64, flaw) { return seed + i, noLease }, t, max(1, schedules(t, some)/4)); found != nil {
		t.Fatalf("WEIR_SEED=%d: %q", found.seed, found.what)
	}
}

package checkpoint_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/internal/race"
)

// newWorld is the schedule of a seed.
func newWorld(seed uint64, f flaw) *world {
	rng := rand.New(rand.NewPCG(seed, 0x77656972))
	w := &world{
		rng: rng, self: &actor{name: "test"}, flaw: f, start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), limit: 60_000,
		tree: newTree(), disk: nil, calm: time.Duration(5+rng.IntN(20)) * time.Second,
		shape: shape{
			splits: 1 + rng.IntN(4), records: 3 + rng.IntN(20), keep: 1 + rng.IntN(3),
			interval: time.Duration(200+rng.IntN(1000)) * time.Millisecond,
			retract:  rng.IntN(3) == 0, acksInStore: rng.IntN(3) > 0, corrupting: rng.IntN(6) == 0,
		},
	}
	w.oversleep = []string{"", "", "", "", "", "", "record", "sweep"}[rng.IntN(8)]
	w.favour()
	w.disk = &disk{w: w, data: map[string][]byte{}}
	w.out = &outside{w: w, files: map[string]*file{}}
	w.god = newGod(w)
	w.tree.applied = w.god.applied
	for i := range 1 + rng.IntN(2) {
		w.boot(i)
	}
	w.after(0, w.self, "elect", w.electIfNone)
	w.after(time.Second, w.self, "fault", w.disturb)
	return w
}

// boot starts a proc in a place, after the one that was there.
func (w *world) boot(i int) {
	p := &proc{w: w}
	p.name = fmt.Sprintf("proc %d", i)
	p.store = w.session(&p.actor)
	p.st = w.storage(&p.actor)
	if i < len(w.procs) {
		w.procs[i] = p
	} else {
		w.procs = append(w.procs, p)
	}
}

// died ends a proc with everything on it.
func (w *world) died(a *actor) {
	l := w.leader
	for i, p := range w.procs {
		if p.dead || &p.actor != a && (l == nil || &l.actor != a || l.p != p) {
			continue
		}
		w.logf("%s dies", p.name)
		p.dead = true
		if l != nil && l.p == p {
			l.dead = true
			w.after(time.Duration(w.rng.IntN(2000))*time.Millisecond, w.self, "session ends", func() { w.expire(l) })
		}
		if r := w.run; r != nil {
			for _, h := range r.hosts {
				if h.p == p {
					w.taskFails(r)
				}
			}
		}
		w.after(time.Duration(w.rng.IntN(3000))*time.Millisecond, w.self, "boot", func() { w.boot(i); w.electIfNone() })
		return
	}
	a.dead = true // a leader of an earlier term
}

func (w *world) taskFails(r *run) {
	if r.failed {
		return
	}
	r.failed = true
	if l := r.leader; l != nil {
		w.soon(&l.actor, "task failed", func() {
			if l.run == r && !l.over {
				l.begin()
			}
		})
	}
}

// disturb does something unpleasant, or something that a person wants, and plans
// the next.
func (w *world) disturb() {
	if w.finished || w.refused {
		return
	}
	if w.now >= w.calm {
		w.quiet()
		return
	}
	w.after(time.Duration(200+w.rng.IntN(1500))*time.Millisecond, w.self, "fault", w.disturb)
	if w.oversleep == "sweep" && w.chance(0.8) { // the rest would be in the way
		if w.shape.corrupting && w.chance(0.1) {
			w.corruptNewest()
		}
		return
	}
	l := w.leader
	want := func(ev checkpoint.Event) {
		if l != nil && l.run != nil {
			w.soon(&l.actor, "a person wants something", func() {
				if l.run != nil {
					l.step(l.run, ev)
				}
			})
		}
	}
	switch w.rng.IntN(12) {
	case 0:
		p := pick(w, w.procs)
		if !p.dead {
			w.died(&p.actor)
		}
	case 1, 2:
		if l != nil {
			w.expire(l)
		}
	case 3:
		if w.run != nil {
			w.logf("a task of epoch %d fails", w.run.epoch)
			w.taskFails(w.run)
		}
	case 4, 5:
		p := pick(w, w.procs)
		p.paused = w.now + time.Duration(w.rng.IntN(8000))*time.Millisecond
		if l != nil && l.p == p {
			l.paused = p.paused
		}
		w.logf("%s pauses", p.name)
	case 6:
		want(checkpoint.WantSavepoint{Name: fmt.Sprintf("s%d", w.seq)})
	case 7:
		want(checkpoint.WantHalt{})
	case 8:
		want(checkpoint.WantCheckpoint{})
	case 9, 10:
		if w.shape.corrupting {
			w.corrupt()
		}
	case 11:
		if r := w.run; r != nil {
			h := pick(w, r.hosts)
			want(checkpoint.PoolWaiting{Host: h.name, Waiting: true})
			w.after(4*time.Second, w.self, "pool", func() { want(checkpoint.PoolWaiting{Host: h.name}) })
		}
	}
}

// quiet ends all faults: what is left has to finish. A leader learns of what has
// failed and of what no longer waits.
func (w *world) quiet() {
	if w.finished || w.refused {
		return
	}
	w.logf("calm")
	if l := w.leader; l != nil && l.run != nil && !l.busy {
		for _, h := range l.run.hosts {
			l.step(l.run, checkpoint.PoolWaiting{Host: h.name})
		}
		if l.run.failed {
			w.soon(&l.actor, "begin again", l.begin)
		}
	}
	w.after(5*time.Second, w.self, "calm", w.quiet)
	for _, r := range w.runs {
		for _, h := range r.hosts {
			if r != w.run {
				h.stopped = true
			}
		}
	}
}

// corrupt damages an object of a retained record.
func (w *world) corrupt() {
	for _, name := range w.disk.order {
		data, ok := w.disk.data[name]
		if !ok || len(data) == 0 || !w.god.isNamed(name) || !w.chance(0.2) {
			continue
		}
		w.god.corrupted = true
		w.logf("an object is damaged")
		if w.chance(0.5) {
			delete(w.disk.data, name)
			return
		}
		data[w.rng.IntN(len(data))] ^= 1
		return
	}
}

// corruptNewest takes the newest record's manifest away and makes the pipeline
// start again.
func (w *world) corruptNewest() {
	var newest *storedState
	for _, s := range w.god.ever {
		if newest == nil || s.record.N > newest.record.N {
			newest = s
		}
	}
	if newest != nil && w.run != nil {
		w.god.corrupted = true
		w.logf("the newest checkpoint is damaged")
		delete(w.disk.data, newest.record.Manifest.Name)
		w.taskFails(w.run)
	}
}

// play runs a schedule to its end and returns the first violation.
func (w *world) play() error {
	for !w.finished && !w.refused && w.step() {
	}
	w.calm = 0
	w.god.final()
	return w.err
}

// simulate plays the schedules of consecutive seeds on all cores until one
// violates an invariant.
func simulate(first uint64, schedules int, f flaw) (failed uint64, err error) {
	var next atomic.Uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !stop.Load() {
				i := next.Add(1) - 1
				if i >= uint64(schedules) {
					return
				}
				if e := newWorld(first+i, f).play(); e != nil {
					stop.Store(true)
					mu.Lock()
					if err == nil || first+i < failed {
						failed, err = first+i, e
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed, err
}

// TestSimulation drives coordinators and ledgers through random schedules of lost,
// late and doubled messages, crashes, zombies, unknown outcomes and damaged storage.
// WEIR_SCHEDULES says how many; WEIR_SEED plays one again and prints it.
func TestSimulation(t *testing.T) {
	if s := os.Getenv("WEIR_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		replay(t, seed, noFlaw)
		return
	}
	schedules := 20_000
	if testing.Short() || race.Enabled {
		schedules = 1000
	}
	if s := os.Getenv("WEIR_SCHEDULES"); s != "" {
		var err error
		if schedules, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	first := uint64(time.Now().UnixNano())
	t.Logf("%d schedules from seed %d", schedules, first)
	if seed, err := simulate(first, schedules, noFlaw); err != nil {
		t.Errorf("WEIR_SEED=%d: %v", seed, err)
		replay(t, seed, noFlaw)
	}
}

// replay plays one seed and prints what happened.
func replay(t *testing.T, seed uint64, f flaw) {
	t.Helper()
	w := newWorld(seed, f)
	w.tracing = true
	if err := w.play(); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	tail := w.trace[max(0, len(w.trace)-400):]
	t.Logf("seed %d, %+v:\n%s", seed, w.shape, strings.Join(tail, "\n"))
}

// TestAScheduleReplaysFromItsSeed holds the simulation to one order of events a seed.
func TestAScheduleReplaysFromItsSeed(t *testing.T) {
	random := regexp.MustCompile(`[0-9A-Za-z]{20,}`)
	play := func(seed uint64) string {
		w := newWorld(seed, noFlaw)
		w.tracing = true
		_ = w.play()
		return random.ReplaceAllString(strings.Join(w.trace, "\n"), "*")
	}
	for seed := range uint64(100) {
		if first, second := play(seed), play(seed); first != second {
			t.Fatalf("seed %d plays as\n%s\nand as\n%s", seed, first, second)
		}
	}
}

// TestSimulationFindsEachBrokenRule shows that the invariants have teeth.
func TestSimulationFindsEachBrokenRule(t *testing.T) {
	for _, f := range flaws {
		t.Run(strings.ReplaceAll(string(f), " ", "-"), func(t *testing.T) {
			seed, err := simulate(1, 40_000, f)
			if err == nil || errors.Is(err, errStuck) {
				t.Fatalf("no schedule finds it: %s (%v)", f, err)
			}
			t.Logf("seed %d: %v", seed, err)
		})
	}
}

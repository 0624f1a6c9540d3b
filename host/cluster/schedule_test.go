package cluster

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
)

// seeded returns a random source whose seed is logged and can be given again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("replay with WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func topology(tasks ...int) engine.Topology {
	t := engine.Topology{Name: "p"}
	for i, n := range tasks {
		t.Chains = append(t.Chains, engine.TopologyChain{
			Name: fmt.Sprint("n", i), Plugin: []string{"weir", "acme"}[i%2], Parallelism: n, Source: i == 0,
		})
	}
	return t
}

func slotsOf(p engine.Placement) map[string]int {
	used := map[string]int{}
	for task, host := range p {
		if !strings.HasSuffix(task, "[enumerator]") {
			used[host]++
		}
	}
	return used
}

// TestScheduleKeepsItsPromises for random clusters that change at random: every task
// has one place, on an open host that can run the pipeline, no host has more than
// its slots, those that are used reach each other, a pipeline that fits is placed,
// and what need not move stays.
func TestScheduleKeepsItsPromises(t *testing.T) {
	rng := seeded(t)
	for range 3000 {
		var tasks []int
		total := 0
		for range 1 + rng.IntN(4) {
			n := 1 + rng.IntN(6)
			tasks, total = append(tasks, n), total+n
		}
		top := topology(tasks...)
		lacking, apart := rng.IntN(3) == 0, rng.IntN(3) == 0
		var rooms []Room
		for i := range 1 + rng.IntN(6) {
			r := Room{ID: fmt.Sprint("h", i), Slots: rng.IntN(12), Closed: rng.IntN(6) == 0}
			r.Used = rng.IntN(r.Slots + 1)
			if lacking && rng.IntN(3) == 0 {
				r.Unable = "there is no plugin acme"
			}
			if other := rng.IntN(6); apart && other != i {
				r.Apart = append(r.Apart, fmt.Sprint("h", other))
			}
			rooms = append(rooms, r)
		}
		before := engine.Placement{}
		for _, name := range top.Tasks() {
			if rng.IntN(3) > 0 {
				before[name] = fmt.Sprint("h", rng.IntN(7)) // it may be gone
			}
		}
		p, err := Schedule(top, rooms, before)
		free := mostFree(rooms)
		if err != nil {
			var why *Unplaceable
			if !errors.As(err, &why) || free >= total && free > 0 {
				t.Fatalf("%v, with %d free slots for %d tasks on %+v", err, free, total, rooms)
			}
			continue
		}
		if free < total {
			t.Fatalf("%d tasks were placed into %d slots", total, free)
		}
		byID := map[string]Room{}
		for _, r := range rooms {
			byID[r.ID] = r
		}
		for _, name := range top.Tasks() {
			r, ok := byID[p[name]]
			if !ok || r.Closed || r.Unable != "" {
				t.Fatalf("task %s is on %q", name, p[name])
			}
			for _, other := range top.Tasks() {
				if slices.Contains(r.Apart, p[other]) {
					t.Fatalf("%s and %s do not reach each other: %v", r.ID, p[other], p)
				}
			}
		}
		for id, n := range slotsOf(p) {
			if n+byID[id].Used > byID[id].Slots {
				t.Fatalf("host %s has %d of %d slots used", id, n+byID[id].Used, byID[id].Slots)
			}
		}
		again, err := Schedule(top, rooms, p)
		if err != nil || Moves(p, again) > 0 {
			t.Fatalf("with nothing changed %d tasks move: %v and then %v on %+v", Moves(p, again), p, again, rooms)
		}
		if same, _ := Schedule(top, rooms, before); !maps.Equal(p, same) {
			t.Fatal("the same twice gives two placements")
		}
	}
}

// mostFree is how many slots are free, at most, on hosts that can run the pipeline
// and that all reach each other.
func mostFree(rooms []Room) (most int) {
	for set := range 1 << len(rooms) {
		free, sound := 0, true
		for i, r := range rooms {
			if set&(1<<i) == 0 {
				continue
			}
			sound = sound && !r.Closed && r.Unable == ""
			free += r.Slots - r.Used
			for j, other := range rooms {
				sound = sound && (set&(1<<j) == 0 || !slices.Contains(r.Apart, other.ID))
			}
		}
		if sound {
			most = max(most, free)
		}
	}
	return most
}

// TestScheduleSpreadsEvenly: over equal hosts no two differ by more than one task.
func TestScheduleSpreadsEvenly(t *testing.T) {
	for hosts := 1; hosts <= 5; hosts++ {
		var rooms []Room
		for i := range hosts {
			rooms = append(rooms, Room{ID: fmt.Sprint("h", i), Slots: 20})
		}
		p, err := Schedule(topology(4, 4, 3), rooms, nil)
		if err != nil {
			t.Fatal(err)
		}
		least, most := 100, 0
		for _, r := range rooms {
			n := slotsOf(p)[r.ID]
			least, most = min(least, n), max(most, n)
		}
		if most-least > 1 {
			t.Errorf("%d hosts: %v", hosts, slotsOf(p))
		}
	}
}

// TestScheduleMovesOnlyWhatItMust: the tasks of a host that is lost, and to a host
// that joins no more than its share.
func TestScheduleMovesOnlyWhatItMust(t *testing.T) {
	rooms := []Room{{ID: "a", Slots: 10}, {ID: "b", Slots: 10}, {ID: "c", Slots: 10}}
	top := topology(5, 4)
	p, err := Schedule(top, rooms, nil)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := Schedule(top, rooms[:2], p)
	if err != nil {
		t.Fatal(err)
	}
	for task, host := range p {
		if host != "c" && lost[task] != host && !strings.HasSuffix(task, "[enumerator]") {
			t.Errorf("task %s moved from %s to %s although it had no need to", task, host, lost[task])
		}
	}
	back, err := Schedule(top, rooms, lost)
	if err != nil {
		t.Fatal(err)
	}
	if n := slotsOf(back)["c"]; n != 3 {
		t.Errorf("the host that joins gets %d of 9 tasks", n)
	}
}

// TestScheduleSaysWhatIsMissing in words that help.
func TestScheduleSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		rooms []Room
		want  string
	}{
		{nil, "no host takes tasks"},
		{[]Room{{ID: "a", Slots: 4, Closed: true}}, "no host takes tasks"},
		{[]Room{{ID: "a", Slots: 2}, {ID: "b", Slots: 1}}, "it has 4 tasks and 3 slots are free on a, b"},
		{[]Room{{ID: "a", Slots: 9, Unable: "host a: no plugin acme"}}, "no host can run it: host a: no plugin acme"},
		{[]Room{{ID: "a", Slots: 9, Unable: "host a: no plugin acme"}, {ID: "b", Slots: 1}}, "1 slots are free on b: start more hosts, or hosts with more --slots; host a: no plugin acme"},
		{[]Room{{ID: "a", Slots: 2, Apart: []string{"b"}}, {ID: "b", Slots: 3}}, "hosts a and b do not reach each other, so it is on one of them at most; without host a: it has 4 tasks and 3 slots are free on b"},
	} {
		if _, err := Schedule(topology(2, 2), c.rooms, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

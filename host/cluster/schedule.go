package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/engine"
)

// Room is a host as the scheduler sees it.
type Room struct {
	ID    string
	Slots int
	// Used are the slots that other pipelines' tasks take.
	Used int
	// Closed: no task may be there, such as on a host that drains.
	Closed bool
	// Unable says why it cannot run this pipeline, such as for want of a plugin.
	Unable string
	// Apart are hosts that it does not reach, or that do not reach it.
	Apart []string
}

// Unplaceable says why a pipeline's tasks do not fit anywhere at present.
type Unplaceable struct{ Reason string }

// Error gives the reason.
func (e *Unplaceable) Error() string { return e.Reason }

// Schedule places the tasks of a pipeline. It keeps a task where it was before as
// long as that host has room and is not crowded, and gives the others, one by one,
// to the host with the smallest share of its slots in use. A task takes a slot; an
// enumerator takes none and goes with the first reader. The result depends on
// nothing but the arguments.
//
// Crowded is a host that has more tasks of this pipeline than an even share, in
// proportion to the slots that are free on all open hosts, rounded up: so a host
// that joins gets some at the next epoch, and no more than necessary are moved.
//
// The hosts of a pipeline reach each other: of two that do not, one is left out.
func Schedule(t engine.Topology, rooms []Room, before engine.Placement) (engine.Placement, error) {
	return scheduleApart(t, rooms, before, 0)
}

// maxApart bounds how many ways of leaving hosts out are tried: two to its power.
const maxApart = 8

// scheduleApart leaves out hosts until all that remain reach each other.
func scheduleApart(t engine.Topology, rooms []Room, before engine.Placement, depth int) (engine.Placement, error) {
	worse, better := apart(rooms)
	if worse == "" {
		return scheduleTogether(t, rooms, before)
	}
	p, err := scheduleApart(t, without(rooms, worse), before, depth+1)
	if err == nil || depth >= maxApart {
		return p, err
	}
	if p, other := scheduleApart(t, without(rooms, better), before, depth+1); other == nil {
		return p, nil
	}
	return nil, &Unplaceable{fmt.Sprintf("hosts %s and %s do not reach each other, so it is on one of them at most; without host %s: %v",
		min(worse, better), max(worse, better), worse, err)}
}

// apart finds two hosts that do not reach each other, the one that is rather left
// out first: it is cut off from more hosts, or has less room. Where tasks are at
// present does not matter, so that the choice stays the same.
func apart(rooms []Room) (worse, better string) {
	byID := map[string]Room{}
	for _, r := range rooms {
		if !r.Closed && r.Unable == "" {
			byID[r.ID] = r
		}
	}
	cut := map[string]map[string]bool{}
	for id, r := range byID {
		for _, other := range r.Apart {
			if _, ok := byID[other]; !ok {
				continue
			}
			for _, pair := range [][2]string{{id, other}, {other, id}} { // either may have said it
				if cut[pair[0]] == nil {
					cut[pair[0]] = map[string]bool{}
				}
				cut[pair[0]][pair[1]] = true
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(cut), func(a, b string) int {
		x, y := byID[a], byID[b]
		return cmp.Or(cmp.Compare(len(cut[b]), len(cut[a])), cmp.Compare(x.Slots-x.Used, y.Slots-y.Used), cmp.Compare(b, a))
	})
	for i, worse := range order {
		for _, better := range order[i+1:] {
			if cut[worse][better] {
				return worse, better
			}
		}
	}
	return "", ""
}

func without(rooms []Room, id string) []Room {
	return slices.DeleteFunc(slices.Clone(rooms), func(r Room) bool { return r.ID == id })
}

// scheduleTogether places the tasks on hosts that all reach each other.
func scheduleTogether(t engine.Topology, rooms []Room, before engine.Placement) (engine.Placement, error) {
	s, err := newScheduler(t, rooms)
	if err != nil {
		return nil, err
	}
	var homeless []string
	for _, task := range s.tasks {
		if h := s.byID[before[task]]; h != nil && h.free() > 0 && h.mine < h.share {
			s.place(task, h)
		} else {
			homeless = append(homeless, task)
		}
	}
	for _, task := range homeless {
		s.place(task, s.best())
	}
	for _, c := range t.Chains {
		if c.Source {
			s.placement[engine.EnumeratorOf(c.Name)] = s.placement[engine.TaskOf(c.Name, 0)]
		}
	}
	return s.placement, nil
}

type room struct {
	Room
	mine  int // tasks of this pipeline
	share int // the most that it should have
}

func (r *room) free() int { return r.Slots - r.Used - r.mine }

type scheduler struct {
	tasks     []string
	open      []*room // sorted by id
	byID      map[string]*room
	placement engine.Placement
}

func newScheduler(t engine.Topology, rooms []Room) (*scheduler, error) {
	s := &scheduler{byID: map[string]*room{}, placement: engine.Placement{}}
	for _, c := range t.Chains {
		for i := range c.Parallelism {
			s.tasks = append(s.tasks, engine.TaskOf(c.Name, i))
		}
	}
	free := 0
	var unable []string
	for _, r := range slices.SortedFunc(slices.Values(rooms), func(a, b Room) int { return cmp.Compare(a.ID, b.ID) }) {
		if r.Unable != "" {
			unable = append(unable, r.Unable)
		}
		if r.Closed || r.Unable != "" {
			continue
		}
		h := &room{Room: r}
		s.open = append(s.open, h)
		s.byID[r.ID] = h
		free += max(h.free(), 0)
	}
	switch {
	case len(s.open) == 0 && len(unable) == 0:
		return nil, &Unplaceable{"no host takes tasks at present"}
	case len(s.open) == 0:
		return nil, &Unplaceable{"no host can run it: " + strings.Join(unable, "; ")}
	case free < len(s.tasks):
		why := fmt.Sprintf("it has %d tasks and %d slots are free on %s: start more hosts, or hosts with more --slots",
			len(s.tasks), free, strings.Join(slices.Sorted(maps.Keys(s.byID)), ", "))
		return nil, &Unplaceable{strings.Join(append([]string{why}, unable...), "; ")}
	}
	for _, h := range s.open {
		h.share = (len(s.tasks)*max(h.free(), 0) + free - 1) / free
	}
	return s, nil
}

func (s *scheduler) place(task string, h *room) {
	s.placement[task] = h.ID
	h.mine++
}

// best is, of the hosts that have less than their share, the one with the smallest
// part of its slots in use; of equals the one that has fewest of this pipeline's,
// then the first. There is one as long as a task has no place: the shares are
// rounded up.
func (s *scheduler) best() (best *room) {
	for _, h := range s.open {
		if h.mine < h.share && (best == nil || s.emptier(h, best)) {
			best = h
		}
	}
	return best
}

func (s *scheduler) emptier(a, b *room) bool {
	// used/slots, without division
	x, y := (a.Used+a.mine)*b.Slots, (b.Used+b.mine)*a.Slots
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.mine, b.mine), cmp.Compare(a.ID, b.ID)) < 0
}

// Moves counts the tasks that are elsewhere than before.
func Moves(before, after engine.Placement) int {
	n := 0
	for task, host := range after {
		if was, ok := before[task]; ok && was != host {
			n++
		}
	}
	return n
}

package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// routed is which entries each new task gets, by "kind id".
func routed(r *Router, tasks []Entries, parallelism int) [][]string {
	got := make([][]string, parallelism)
	for i, es := range tasks {
		for _, e := range es {
			for _, to := range r.Route(i, e) {
				got[to] = append(got[to], fmt.Sprintf("%s/%d.%s", KindName(e.GetKind()), e.GetKeyGroup(), e.GetId()))
			}
		}
	}
	return got
}

// stateOf is the state of old tasks with splits, their times, lists, a broadcast
// and writer entries.
func stateOf(tasks, splits int) []Entries {
	all := make([]Entries, tasks)
	for s := range splits {
		id := fmt.Sprint("s", s)
		all[s%tasks] = append(all[s%tasks], split(id, ""), entryOf(pluginv1.Entry_KIND_SPLIT_TIME, id, ""))
	}
	for i := range all {
		all[i] = append(all[i],
			entryOf(pluginv1.Entry_KIND_LIST, fmt.Sprint("l", i), ""),
			&pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: fmt.Sprint("u", i), Union: true},
			entryOf(pluginv1.Entry_KIND_BROADCAST, "b", fmt.Sprint(i)),
			entryOf(pluginv1.Entry_KIND_WRITER, fmt.Sprint("w", i), ""))
	}
	return all
}

func TestEveryEntryGoesWhereItBelongs(t *testing.T) {
	for from := 1; from <= 7; from++ {
		for to := 1; to <= 7; to++ {
			r := NewRouter(from, to, 128, nil)
			got := routed(r, stateOf(from, 20), to)
			count := map[string]int{}
			fewest, most := 1000, 0
			for task, names := range got {
				splits := 0
				for _, n := range names {
					count[n]++
					if id := n[len(n)-2:]; n[:7] == "split/0" {
						splits++
						if want := r.Splits()[n[8:]]; want != task || !slices.Contains(names, "split_time/0."+n[8:]) {
							t.Errorf("%d to %d: split %s without its time", from, to, id)
						}
					}
				}
				fewest, most = min(fewest, splits), max(most, splits)
			}
			if most-fewest > 1 {
				t.Errorf("%d to %d: tasks hold from %d to %d splits", from, to, fewest, most)
			}
			for n, c := range count {
				want := 1
				if n[:4] == "list" && n[7] == 'u' || n[:5] == "broad" {
					want = to
				}
				if c != want {
					t.Errorf("%d to %d: %s is there %d times", from, to, n, c)
				}
			}
			if want := 20*2 + from*3 + 1; len(count) != want {
				t.Errorf("%d to %d: %d different entries of %d", from, to, len(count), want)
			}
		}
	}
}

func TestAtTheSameParallelismEveryTaskKeepsItsEntries(t *testing.T) {
	tasks := stateOf(4, 20)
	for i, names := range routed(NewRouter(4, 4, 128, nil), tasks, 4) {
		var want []string
		for from, es := range tasks {
			for _, e := range es {
				kind := e.GetKind()
				if from == i && kind != pluginv1.Entry_KIND_BROADCAST || e.GetUnion() || kind == pluginv1.Entry_KIND_BROADCAST && from == 0 {
					want = append(want, fmt.Sprintf("%s/%d.%s", KindName(kind), e.GetKeyGroup(), e.GetId()))
				}
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("task %d has %v, want %v", i, names, want)
		}
	}
}

func TestAKeyGroupGoesToItsOwnerWhoeverHadIt(t *testing.T) {
	r := NewRouter(2, 3, 6, nil)
	for g := range uint32(6) {
		e := &pluginv1.Entry{Kind: pluginv1.Entry_KIND_KEY_GROUP, Id: "n", KeyGroup: g}
		if got := r.Route(int(g/3), e); len(got) != 1 || got[0] != int(g)/2 {
			t.Errorf("group %d goes to %v", g, got)
		}
	}
}

func TestThePartsOfAnEntryStayTogether(t *testing.T) {
	r := NewRouter(1, 3, 8, nil)
	part := func(more bool) *pluginv1.Entry {
		return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: "l", More: more}
	}
	var got []int
	for _, more := range []bool{true, true, false, false, true, false} {
		got = append(got, r.Route(0, part(more))...)
	}
	if fmt.Sprint(got) != "[0 0 0 1 2 2]" {
		t.Errorf("parts go to %v", got)
	}
}

func TestABroadcastIsOneTasksCopyWhole(t *testing.T) {
	r := NewRouter(2, 3, 8, nil)
	for _, c := range []struct{ task, copies int }{{0, 3}, {0, 3}, {1, 0}, {0, 3}} {
		if got := r.Route(c.task, entryOf(pluginv1.Entry_KIND_BROADCAST, "b", "")); len(got) != c.copies {
			t.Errorf("an entry of task %d goes to %v", c.task, got)
		}
	}
}

func TestEventTimeFollowsTheSplit(t *testing.T) {
	source := NewRouter(2, 3, 8, nil)
	for i := range 6 {
		source.Route(i%2, split(fmt.Sprint(i), ""))
	}
	operator := NewRouter(2, 3, 8, source.Splits())
	for id, want := range maps.All(source.Splits()) {
		if got := operator.Route(0, entryOf(pluginv1.Entry_KIND_SPLIT_TIME, id, "")); got[0] != want {
			t.Errorf("time of split %s goes to %v, the split to %d", id, got, want)
		}
	}
	if got := operator.Route(1, entryOf(pluginv1.Entry_KIND_SPLIT_TIME, "gone", "")); len(got) != 1 {
		t.Errorf("time of a split that is not held goes to %v", got)
	}
}

func TestOutputAndEnumeratorStateAreNotRouted(t *testing.T) {
	r := NewRouter(2, 2, 8, nil)
	for _, k := range []pluginv1.Entry_Kind{pluginv1.Entry_KIND_COMMITTABLE, pluginv1.Entry_KIND_ENUMERATOR} {
		if got := r.Route(0, entryOf(k, "x", "")); got != nil {
			t.Errorf("%s goes to %v", KindName(k), got)
		}
	}
}

package conformance

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const keyGroup = pluginv1.Entry_KIND_KEY_GROUP

// fewGroups is the number of key groups in cases where each is to have a task of its
// own.
const fewGroups = 8

var keepsByKey = claims("keyed_state", (*pluginv1.Capabilities).GetKeyedState)

var stateCases = []Case{
	{
		ID: "WC-STA-001", Title: "each step gives what is expected of it", Kinds: operators, Needs: inSteps,
		Demands: "Of each of the `steps`, its records and the watermark behind them, comes what its `expect` says before the next one: no sooner, no later, and in that order where it is `ordered`. A step without `expect` may give anything.",
		Why:     "A timer fires when the watermark has reached its time: once, and not when it was deleted.",
		Fix:     "Fire in the order of time all timers that the watermark has reached, the equal one too, and send what comes of them before the watermark is passed on.",
		run: func(t *T) {
			s := t.Start().Stage(t.Open(1, 1, nil))
			before := make(outcome)
			for i := range t.entry.Steps {
				t.sendStep(s, i)
				all := t.outcomeOf(s.Checkpoint(), 0)
				t.expectStep(i, all.since(before))
				before = all
			}
			s.Close()
		},
	},
	{
		ID: "WC-STA-002", Title: "restored behind each step, it goes on as if nothing had been", Kinds: operators, Needs: all(inSteps, repeatable),
		Demands: "The same `steps`, with a checkpoint behind each from which the next is restored, by turns in the same process and in another after SIGKILL: each step gives what it gives without. A timer that was set fires by the same watermark, one that has fired does not fire again, and a record behind the restored watermark is as late as it was.",
		Why:     "A restart that shifts what fires, or forgets how far time has come, gives other results than none.",
		Fix:     "Put timers and the watermark into the snapshot with the state, and set the timers again when it is restored.",
		run: func(t *T) {
			o := t.Open(1, 1, nil)
			o.UID += "ref"
			ref := t.Start().Stage(o)
			before := make(outcome)
			p := t.Start()
			var cut *rig.Cut
			for i := range t.entry.Steps {
				t.sendStep(ref, i)
				all := t.outcomeOf(ref.Checkpoint(), 0)
				s := p.Stage(t.Open(uint64(i)+1, 1, cut))
				t.sendStep(s, i)
				cut = s.Checkpoint()
				t.compareBags(fmt.Sprintf("%s, restored from the checkpoint before it", t.entry.Steps[i].Path), all.since(before), t.outcomeOf(cut, 0))
				before = all
				if i%2 == 0 {
					p.SIGKILL()
					p = t.Start()
				} else {
					s.Close()
				}
			}
			ref.Close()
		},
	},
	{
		ID: "WC-STA-003", Title: "each key has state of its own", Kinds: operators, Needs: all(keepsByKey, repeatable),
		Demands: "What comes of all keys together, some of them of one key group, some that begin alike, is what comes of each third of them alone.",
		Why:     "Two keys that share state count each other's records, and one customer sees another's.",
		Fix:     "Look state up by the whole key, byte by byte. Nothing of the record before may be left when the next one comes: look for fields of the operator that are set for a key.",
		run: func(t *T) {
			line := t.timeline(t.ordinary(), false)
			t.giveKeys(line)
			want := t.undisturbed(line)
			got := make(outcome)
			for third := range 3 {
				part := make([]moment, len(line))
				for i, m := range line {
					part[i].watermark = m.watermark
					for _, p := range m.in {
						mine := piece{port: p.port}
						for _, r := range p.records {
							if int(keygroup.Hash(r.Key)>>8)%3 == third {
								mine.records = append(mine.records, r)
							}
						}
						part[i].in = append(part[i].in, mine)
					}
				}
				o := t.Open(1, 1, nil)
				o.UID += fmt.Sprint(third)
				s := t.Start().Stage(o)
				sendMoments(s, part)
				got.add(t.outcomeOf(endOf(s), 0))
				s.Close()
			}
			t.compareBags("a third of the keys at a time", want, got)
		},
	},
	{
		ID: "WC-STA-004", Title: "a snapshot holds the key groups of its task alone", Kinds: operators, Needs: all(keepsByKey, several),
		Demands: "Each entry of kind KEY_GROUP is of a group that Open gave to the task.",
		Why:     "A group of another task comes twice at the next start, and whoever is handed it has the state of keys that are not its own.",
		Fix:     "Take the key group from the key: murmur3 (x86, 32 bit, seed 0) modulo Open.max_parallelism. The range of the task is in Member.key_groups, both ends included.",
		run: func(t *T) {
			o := t.Open(1, 3, nil)
			o.MaxParallelism = fewGroups
			s := t.Start().Stage(o)
			sendMoments(s, t.timeline(t.ordinary(), false))
			cut := s.Checkpoint()
			found := 0
			for task, entries := range cut.Tasks {
				first, last := o.KeyGroups(task)
				for _, e := range entries {
					if e.GetKind() != keyGroup {
						continue
					}
					found++
					if g := int(e.GetKeyGroup()); g < first || g > last {
						t.Fatalf("task %d of 3 owns the key groups %d to %d of %d, and its snapshot has an entry %q of group %d", task, first, last, fewGroups, e.GetId(), g)
					}
				}
			}
			if found == 0 {
				t.Fatalf("the component claims keyed_state, and of %d records its snapshot has no entry of kind KEY_GROUP", t.ordinary())
			}
			s.Close()
		},
	},
	{
		ID: "WC-STA-005", Title: "state is divided anew, down to one key group a task and back", Kinds: operators, Needs: all(keepsByKey, repeatable, several),
		Demands: "One task, then as many as there are key groups, then three, then two, killed in between, each restored from the checkpoint before: together they give what one task gives. No key is lost, none is in two tasks, and each has its state and its timers.",
		Why:     "A pipeline grows and shrinks with its load, and keeps what it has counted.",
		Fix:     "Put the state of each key, and its timers, into the entry of its own key group, and nothing of another group beside it. Keep nothing by key outside of entries of kind KEY_GROUP.",
		run: func(t *T) {
			t.dividedAnew("with", t.Open)
		},
	},
	{
		ID: "WC-STA-006", Title: "a snapshot is what preceded its barrier, and all of it", Kinds: operators, Needs: all(keepsByKey, repeatable),
		Demands: "Three barriers follow each other in one stream of records, and nothing waits for their snapshots; the second checkpoint is given up. Restored from the first, and from the third, with the records behind it, the task gives what it gives undisturbed.",
		Why:     "Snapshots are made while the work goes on. One that holds a record of behind its barrier counts it twice; one that holds only what has changed since the last is not whole, and the last may be gone.",
		Fix:     "Copy, or freeze, the state before the next record is processed, and write it from the copy. Refer by `same_as` to completed checkpoints alone.",
		run: func(t *T) {
			line := t.withRareKeys(t.timeline(t.ordinary(), true))
			want := t.undisturbed(line)
			quarter := func(i int) []moment { return line[len(line)*i/4 : len(line)*(i+1)/4] }
			p := t.Start()
			s := p.Stage(t.Open(1, 1, nil))
			var barriers []*pluginv1.Barrier
			for i := range 4 {
				sendMoments(s, quarter(i))
				if i < 3 {
					barriers = append(barriers, s.Trigger())
				}
			}
			first, second, third := s.AwaitCut(barriers[0]), s.AwaitCut(barriers[1]), s.AwaitCut(barriers[2])
			first.Complete()
			second.Abort()
			p.SIGKILL()
			for i, c := range []*rig.Cut{third, first} {
				again := t.Start().Stage(t.Open(uint64(i)+2, 1, c))
				sendMoments(again, line[len(line)*int(c.Checkpoint)/4:])
				got := t.outcomeOf(c, 0)
				got.add(t.outcomeOf(endOf(again), 0))
				t.compareBags(fmt.Sprintf("restored from checkpoint %d", c.Checkpoint), want, got)
				again.Close()
			}
		},
	},
	{
		ID: "WC-STA-007", Title: "a barrier does not wait for much state", Kinds: operators, Needs: keepsByKey,
		Demands: "With state for 10,000 keys a barrier passes within five seconds.",
		Why:     "While a barrier waits in one task, all behind it wait, and latency is that of the largest state.",
		Fix:     "Pass the barrier on as soon as the state is frozen, and write the snapshot beside the work.",
		run: func(t *T) {
			const keys, limit = 10_000, 5 * time.Second
			s := t.Start().Stage(t.Open(1, 1, nil))
			s.Send(0, 0, t.distinct(keys)...)
			s.Checkpoint()
			s.Send(0, 0, t.distinct(1)...)
			began := time.Now()
			b := s.Trigger()
			s.AwaitBarrier(b)
			if took := time.Since(began); took > limit {
				t.Fatalf("with state for %d keys the barrier took %v to pass, more than %v", keys, took.Round(time.Millisecond), limit)
			}
			s.AwaitCut(b)
			s.Close()
		},
	},
}

func inSteps(t *Target) Missing {
	if len(t.Entry.Steps) == 0 {
		return notConfigured("`steps`, records with watermarks in between and what comes of each")
	}
	return ""
}

// dividedAnew checks that tasks of changing number, each lot killed and restored from the
// checkpoint of the one before, together give what one task gives. how says where they
// have their state.
func (t *T) dividedAnew(how string, open func(epoch uint64, parallelism int, restore *rig.Cut) rig.Open) {
	line := t.withRareKeys(t.timeline(t.ordinary(), true))
	want := t.undisturbed(line)
	got := make(outcome)
	var cut *rig.Cut
	tasks := []int{1, fewGroups, 3, 2}
	for i, n := range tasks {
		o := open(uint64(i)+1, n, cut)
		o.MaxParallelism = fewGroups
		p := t.Start()
		s := p.Stage(o)
		sendMoments(s, line[len(line)*i/len(tasks):len(line)*(i+1)/len(tasks)])
		if i < len(tasks)-1 {
			cut = s.Checkpoint()
		} else {
			cut = endOf(s)
		}
		got.add(t.outcomeOfAll(cut))
		p.SIGKILL()
	}
	t.compareBags(fmt.Sprintf("%s %v tasks, one after the other", how, tasks), want, got)
}

// distinct makes n records of as many keys.
func (t *T) distinct(n int) []exchange.Record {
	out := t.Records(n)
	if t.entry.Records.Key == nil {
		for i := range out {
			out[i].Key = fmt.Appendf(nil, "distinct %d", t.number-n+i)
		}
	}
	return out
}

// withRareKeys adds keys of which one record comes, at the beginning: their state is
// as it was from one snapshot to the next.
func (t *T) withRareKeys(line []moment) []moment {
	line[0].in = append(line[0].in, piece{0, t.distinct(20)})
	return line
}

// giveKeys gives the records keys that are easily mixed up, unless conformance.yaml
// says what keys are like.
func (t *T) giveKeys(line []moment) {
	if t.entry.Records.Key != nil || t.entry.Input != nil && t.entry.Records.Value == nil {
		return
	}
	keys := [][]byte{{}, {0}, {0, 0}, []byte("a"), []byte("a\x00"), []byte("ab"), []byte("A"), []byte("b")}
	// Some of one key group.
	group := keygroup.Of([]byte("a"), 128)
	for i := 0; len(keys) < 14; i++ {
		if k := fmt.Appendf(nil, "a%d", i); keygroup.Of(k, 128) == group {
			keys = append(keys, k)
		}
	}
	for _, m := range line {
		for _, p := range m.in {
			for i := range p.records {
				p.records[i].Key = keys[t.Rand.IntN(len(keys))]
			}
		}
	}
}

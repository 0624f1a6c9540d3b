package task

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// pipeline plays the host for source -> upper -> sink: it carries frames between
// tasks, completes checkpoints, commits from their records alone, and restores.
type pipeline struct {
	h       *host
	source  *fakeSource
	chained bool
	epoch   uint64
	next    uint64 // checkpoint

	// The newest record: entries by node.
	record    map[string][]*pluginv1.Entry
	completed uint64
	published map[string]int
}

// run is one epoch of it.
type run struct {
	p          *pipeline
	enumerator *hostTask
	// lines are the workers, of each index one or three tasks in a row.
	lines  [][]*hostTask
	group  sync.WaitGroup
	cancel context.CancelFunc
}

func (p *pipeline) start(workers int, shuffle func(int, func(i, j int))) *run {
	p.epoch++
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{p: p, cancel: cancel}
	open := func(index int, o *pluginv1.Open, entries []*pluginv1.Entry) *hostTask {
		o.Task.Epoch, o.Task.Index, o.Parallelism = p.epoch, uint32(index), uint32(workers)
		o.RestoredCheckpoint = p.completed
		return p.h.open(o, entries...)
	}
	var held [][]*pluginv1.Entry
	for range workers {
		held = append(held, nil)
	}
	e := enumeratorOf(memberOf("source"), uint32(workers))
	splits := slices.Clone(p.record["split"])
	shuffle(len(splits), func(i, j int) { splits[i], splits[j] = splits[j], splits[i] })
	for i, s := range splits {
		e.HeldSplits = append(e.HeldSplits, s.Id)
		held[i%workers] = append(held[i%workers], s)
	}
	for i := range workers {
		if p.chained {
			r.lines = append(r.lines, []*hostTask{open(i, openOf(
				memberOf("source", toNext("out")), fed(memberOf("upper", toNext("out"))), fed(memberOf("sink"))), held[i])})
		} else {
			r.lines = append(r.lines, []*hostTask{
				open(i, openOf(memberOf("source", toHost("out"))), held[i]),
				open(i, openOf(fed(memberOf("upper", toHost("out")))), nil),
				open(i, openOf(fed(memberOf("sink"))), nil),
			})
		}
	}
	r.enumerator = open(0, e, p.record["enumerator"])
	r.group.Go(func() {
		r.enumerator.follow(ctx, func(f seenFrame) {
			if f.h.Target > 0 {
				r.lines[f.h.Target-1][0].frame(&pluginv1.Frame{Kind: f.message.Kind})
				return
			}
			for _, line := range r.lines {
				line[0].frame(&pluginv1.Frame{Kind: f.message.Kind})
			}
		}, nil)
	})
	for _, line := range r.lines {
		for i, t := range line {
			r.group.Go(func() {
				t.follow(ctx, func(f seenFrame) {
					if i+1 < len(line) {
						f.pass(line[i+1])
					}
				}, func(m *pluginv1.ControlResponse) {
					if s := m.GetSplitRequest(); s != nil {
						r.enumerator.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_SplitRequest{SplitRequest: s}})
					}
				})
			})
		}
	}
	return r
}

// pass carries a reader's or operator's frame to the task behind it.
func (f seenFrame) pass(next *hostTask) {
	switch {
	case f.message == nil:
		w := next.h.pool.NewBuilder(1 << 20)
		for _, r := range f.records {
			w.Append(nil, []byte(r.value), r.time, nil, r.split, r.ordinal)
		}
		next.feedBatch(0, w.Freeze())
	case f.message.GetBarrier() != nil:
		next.frame(&pluginv1.Frame{Kind: f.message.Kind})
	}
}

// follow hands over what the task says, in order, until ctx ends.
func (t *hostTask) follow(ctx context.Context, frame func(seenFrame), say func(*pluginv1.ControlResponse)) {
	frames, said := 0, 0
	for {
		t.mu.Lock()
		newFrames, newSaid, changed := t.frames[frames:], t.said[said:], t.changed
		t.mu.Unlock()
		frames, said = frames+len(newFrames), said+len(newSaid)
		for _, f := range newFrames {
			frame(f)
		}
		for _, m := range newSaid {
			if say != nil {
				say(m)
			}
		}
		if len(newFrames)+len(newSaid) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (r *run) tasks() []*hostTask {
	return append([]*hostTask{r.enumerator}, slices.Concat(r.lines...)...)
}

// checkpoint takes one, and commits it where its record is made.
func (r *run) checkpoint(makeRecord bool, flags ...func(*pluginv1.Barrier)) {
	p := r.p
	p.next++
	n := p.next
	r.enumerator.barrier(n, flags...)
	record := map[string][]*pluginv1.Entry{}
	var committables []*pluginv1.Entry
	for _, t := range r.tasks() {
		for _, e := range t.snapshot(n) {
			switch e.Kind {
			case pluginv1.Entry_KIND_SPLIT:
				record["split"] = append(record["split"], e)
			case pluginv1.Entry_KIND_ENUMERATOR:
				record["enumerator"] = append(record["enumerator"], e)
			case pluginv1.Entry_KIND_COMMITTABLE:
				committables = append(committables, e)
			}
		}
	}
	// What a checkpoint without a record prepared belongs to the next one.
	committables = append(slices.Clone(p.record["pending of this epoch"]), committables...)
	if !makeRecord {
		if p.record == nil {
			p.record = map[string][]*pluginv1.Entry{}
		}
		p.record["pending of this epoch"] = committables
		for _, t := range r.tasks() {
			t.say(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Aborted{Aborted: &pluginv1.Aborted{Checkpoint: n}}})
		}
		return
	}
	p.record, p.completed = record, n
	for _, e := range committables {
		var values []string
		if err := json.Unmarshal(e.GetPayload(), &values); err != nil {
			p.h.t.Fatal(err)
		}
		for _, v := range values {
			p.published[v]++
		}
	}
	for _, t := range r.tasks() {
		t.completed(n)
	}
}

// kill drops all streams at once, as the death of a host does.
func (r *run) kill() {
	for _, t := range r.tasks() {
		t.cancel()
	}
	r.end()
	delete(r.p.record, "pending of this epoch")
}

func (r *run) end() {
	r.cancel()
	r.group.Wait()
	for _, t := range r.tasks() {
		eventually(r.p.h.t, "the task has ended", func() bool { return r.p.h.server.find(t.open.Task) == nil })
	}
}

// finish runs to the end of input.
func (r *run) finish() {
	for _, line := range r.lines {
		exhausted(line[0])
	}
	r.checkpoint(true, atEnd)
	for _, t := range r.tasks() {
		t.close()
	}
	r.end()
}

// TestRecordsArePublishedOnceWhateverIsKilled runs a bounded source through random
// kills, aborted checkpoints and changes of parallelism: every record is published
// once.
func TestRecordsArePublishedOnceWhateverIsKilled(t *testing.T) {
	for _, chained := range []bool{true, false} {
		t.Run(fmt.Sprintf("chained=%v", chained), func(t *testing.T) {
			rng := seeded(t)
			source := &fakeSource{counts: map[string]int{}, perRead: 20, concurrent: 2}
			want := map[string]int{}
			var splits []Split
			for i := range 9 {
				id := fmt.Sprint("s", i)
				source.counts[id] = 500 + rng.IntN(3000)
				s := Split{ID: id, Data: []byte(`{}`)}
				if i > 2 && i%2 == 0 {
					s.After = []string{fmt.Sprint("s", i-3)}
				}
				splits = append(splits, s)
				for n := range source.counts[id] {
					want[fmt.Sprintf("S%d:%d", i, n)] = 1
				}
			}
			// Found in three steps.
			source.interval = time.Millisecond
			var calls sync.Map
			source.list = func(context.Context, []byte) ([]Split, []byte, bool, error) {
				n, _ := calls.LoadOrStore("n", 0)
				calls.Store("n", n.(int)+1)
				upTo := min(len(splits), 3*(n.(int)+1))
				return splits[:upTo], nil, upTo < len(splits), nil
			}
			// Each read takes a moment, so that kills come amid the input.
			source.read = func(_ context.Context, r *fakeReader, out *Output) (any, error) {
				time.Sleep(200 * time.Microsecond)
				return r.readSome(out)
			}
			sinks := sinkNamed("sink", nil)
			sinks.OpenSink = func(context.Context, []byte, *Env) (Sink, error) { return &fakeSink{twoPhase: true}, nil }
			h := newHost(t, []*Component{sourceNamed("source", source), operatorNamed("upper", mapped(strings.ToUpper)), sinks})
			h.unread = true
			p := &pipeline{h: h, source: source, chained: chained, published: map[string]int{}}
			for range 6 {
				r := p.start(1+rng.IntN(3), rng.Shuffle)
				for range rng.IntN(4) {
					time.Sleep(time.Duration(rng.IntN(8)) * time.Millisecond)
					r.checkpoint(rng.IntN(4) > 0)
				}
				time.Sleep(time.Duration(rng.IntN(8)) * time.Millisecond)
				r.kill()
			}
			r := p.start(2, rng.Shuffle)
			r.finish()
			for v, n := range want {
				if p.published[v] != n {
					t.Errorf("%s was published %d times", v, p.published[v])
				}
			}
			if len(p.published) != len(want) {
				t.Errorf("%d records were published, %d exist", len(p.published), len(want))
			}
		})
	}
}

package sdktest

import (
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk"
)

// Parallel runs several tasks of one operator, and restarts them as another number
// of tasks, as a pipeline does whose parallelism changes. Records go to the task
// that owns their key, those without a key to each in turn.
type Parallel struct {
	t         testing.TB
	component sdk.Component
	config    any
	options   []Option
	clock     *clock
	epoch     uint64
	tasks     []*Operator
	turn      int
	saved     [][]*pluginv1.Entry // of the newest checkpoint, by task
	number    uint64              // of that checkpoint
}

// NewParallel opens an operator with that many tasks. See [NewOperator].
func NewParallel(t testing.TB, c sdk.Component, config any, tasks int, options ...Option) *Parallel {
	t.Helper()
	p := &Parallel{t: t, component: c, config: config, options: options, clock: newClock()}
	p.open(tasks, func(int) []*pluginv1.Entry { return nil })
	return p
}

func (p *Parallel) open(tasks int, restored func(task int) []*pluginv1.Entry) {
	p.t.Helper()
	p.epoch++
	p.tasks = nil
	for i := range tasks {
		mine := func(s *settings) {
			s.index, s.parallelism, s.clock = i, tasks, p.clock
			s.owner.Epoch += p.epoch - 1
		}
		o, err := openOperator(p.t, p.component, p.config, append(slices.Clone(p.options), mine), p.number, restored(i))
		if err != nil {
			p.t.Fatal(err)
		}
		p.tasks = append(p.tasks, o)
	}
}

// Process gives each record to its task, in order, and returns what they sent, task
// by task.
func (p *Parallel) Process(records ...Record) Result {
	p.t.Helper()
	return p.process(records, (*Operator).Process)
}

// ProcessByKey does the same by an input port that is partitioned by key.
func (p *Parallel) ProcessByKey(input string, records ...Record) Result {
	p.t.Helper()
	return p.process(records, func(o *Operator, part ...Record) Result { return o.ProcessOn(input, part...) })
}

func (p *Parallel) process(records []Record, give func(*Operator, ...Record) Result) Result {
	p.t.Helper()
	parts := make([][]Record, len(p.tasks))
	for _, r := range records {
		to := p.turn % len(p.tasks)
		if r.Key != nil {
			to = keygroup.Owner(keygroup.Of(r.Key, maxParallelism), maxParallelism, len(p.tasks))
		} else {
			p.turn++
		}
		parts[to] = append(parts[to], r)
	}
	return p.all(func(i int, o *Operator) Result {
		if len(parts[i]) == 0 {
			return Result{}
		}
		return give(o, parts[i]...)
	})
}

// ProcessOn gives the records to every task, by an input port of partition
// [sdk.Broadcast].
func (p *Parallel) ProcessOn(input string, records ...Record) Result {
	p.t.Helper()
	return p.all(func(_ int, o *Operator) Result { return o.ProcessOn(input, records...) })
}

// Task returns one of the tasks.
func (p *Parallel) Task(i int) *Operator { return p.tasks[i] }

// Watermark tells all tasks that event time has come to w.
func (p *Parallel) Watermark(w sdk.Time) Result {
	p.t.Helper()
	return p.all(func(_ int, o *Operator) Result { return o.Watermark(w) })
}

// Advance lets processing time pass for all tasks.
func (p *Parallel) Advance(d time.Duration) Result {
	p.t.Helper()
	p.clock.advance(d)
	return p.all(func(_ int, o *Operator) Result { return o.Advance(0) })
}

// Checkpoint sends a barrier to all tasks.
func (p *Parallel) Checkpoint() Result {
	p.t.Helper()
	r := p.all(func(_ int, o *Operator) Result { return o.Checkpoint() })
	p.saved = nil
	for _, o := range p.tasks {
		p.saved = append(p.saved, o.entries)
		p.number = o.checkpoint
	}
	return r
}

// End ends the input of all tasks.
func (p *Parallel) End() Result {
	p.t.Helper()
	return p.all(func(_ int, o *Operator) Result { return o.End() })
}

func (p *Parallel) all(f func(int, *Operator) Result) Result {
	sum := Result{Outputs: map[string][]Record{}}
	for i, o := range p.tasks {
		r := f(i, o)
		sum.Out = append(sum.Out, r.Out...)
		sum.Failed = append(sum.Failed, r.Failed...)
		for name, records := range r.Outputs {
			sum.Outputs[name] = append(sum.Outputs[name], records...)
		}
	}
	return sum
}

// Restart closes all tasks as a crash does and opens that many from the newest
// Checkpoint.
func (p *Parallel) Restart(tasks int) {
	p.t.Helper()
	parts := make([][]*pluginv1.Entry, tasks)
	broadcast := map[string]int{}
	next := 0
	for _, o := range p.tasks {
		o.run.close()
	}
	for from, entries := range p.saved {
		first, last := keygroup.Range(from, maxParallelism, len(p.saved))
		for _, e := range entries {
			switch {
			case e.Kind == pluginv1.Entry_KIND_FILE:
				for to := keygroup.Owner(first, maxParallelism, tasks); to <= keygroup.Owner(last, maxParallelism, tasks); to++ {
					parts[to] = append(parts[to], e)
				}
			case e.Kind == pluginv1.Entry_KIND_KEY_GROUP:
				to := keygroup.Owner(int(e.KeyGroup), maxParallelism, tasks)
				parts[to] = append(parts[to], e)
			case e.Kind == pluginv1.Entry_KIND_BROADCAST:
				// One task's copy is enough.
				if first, ok := broadcast[e.Id]; ok && first != from {
					continue
				}
				broadcast[e.Id] = from
				fallthrough
			case e.Union:
				for i := range parts {
					parts[i] = append(parts[i], e)
				}
			default:
				parts[next%tasks] = append(parts[next%tasks], e)
				next++
			}
		}
	}
	p.open(tasks, func(i int) []*pluginv1.Entry { return parts[i] })
}

package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// TapPoint is one output of a node.
type TapPoint struct{ Node, Output string }

// String is "node.output".
func (p TapPoint) String() string { return p.Node + "." + p.Output }

// Passed is a record that has passed a tap.
type Passed struct {
	TapPoint
	Task       int
	Key, Value []byte // nil where they are null
	Time       int64  // [wire.NoTime] where there is none
	Headers    []PassedHeader
	// Split and Ordinal are the record's origin, where it carries one.
	Split   string
	Ordinal int64
}

// PassedHeader is one header of a record.
type PassedHeader struct {
	Name  string
	Value []byte
}

// Bounds of taps. A task offers so many records of one output in one window, a tap
// shows so many of all, and so many batches wait for whoever reads it.
const (
	tapWindow  = 100 * time.Millisecond
	tapOffered = 50
	tapShown   = 50
	tapQueued  = 8
)

// Tap shows records that pass on some outputs of a pipeline's tasks on this host,
// from one epoch to the next. What it cannot show without holding anything up it
// counts. Next is called from one goroutine.
type Tap struct {
	taps    *taps
	points  map[TapPoint]bool
	queue   chan offered
	dropped atomic.Uint64
	window  window // only Next uses it
}

// offered is a batch on its way from a task to a tap.
type offered struct {
	point TapPoint
	task  int
	frame wire.Frame
	head  wire.Header
	take  int // so many of its records are for the tap
}

// window counts what passed since it began.
type window struct {
	since time.Time
	used  int
}

// room says how many of n there is room for, and counts them.
func (w *window) room(now time.Time, n, limit int) int {
	if now.Sub(w.since) >= tapWindow {
		*w = window{since: now}
	}
	n = min(n, limit-w.used)
	w.used += n
	return n
}

// taps are a worker's, whatever its epoch.
type taps struct {
	pool *wire.Pool

	mu   sync.RWMutex
	open map[*Tap]struct{}
}

func newTaps() *taps { return &taps{pool: wire.NewPool(), open: map[*Tap]struct{}{}} }

// points are those that somebody taps.
func (t *taps) points() map[TapPoint]bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := map[TapPoint]bool{}
	for tap := range t.open {
		maps.Copy(all, tap.points)
	}
	return all
}

// offer gives take records of a batch to who taps the point; the rest of them, and
// those that were dropped before, it counts. It never waits, and clones the frame.
func (t *taps) offer(p TapPoint, index int, f *wire.Frame, h wire.Header, take int, before uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for tap := range t.open {
		if !tap.points[p] {
			continue
		}
		missed := before + uint64(int(h.Records)-take)
		if take > 0 {
			o := offered{point: p, task: index, frame: f.Clone(), head: h, take: take}
			select {
			case tap.queue <- o:
			default:
				o.frame.Free()
				missed += uint64(take)
			}
		}
		if missed > 0 {
			tap.dropped.Add(missed)
		}
	}
}

// Tap begins to show what passes on an output of a node: on all of them where output
// is empty, on all of the pipeline where node is. Of a sink it is what comes into it. A
// name that there is not shows nothing. The caller closes the tap with Untap.
func (w *Worker) Tap(node, output string) *Tap {
	tap := &Tap{taps: w.taps, points: tapPoints(w.Pipeline, node, output), queue: make(chan offered, tapQueued)}
	w.taps.mu.Lock()
	w.taps.open[tap] = struct{}{}
	w.taps.mu.Unlock()
	w.retap()
	return tap
}

// Untap closes a tap.
func (w *Worker) Untap(tap *Tap) {
	w.taps.mu.Lock()
	delete(w.taps.open, tap)
	w.taps.mu.Unlock()
	w.retap()
	for {
		select {
		case o := <-tap.queue:
			o.frame.Free()
		default:
			return
		}
	}
}

func (w *Worker) retap() {
	if g := w.generation(); g != nil {
		g.tap()
	}
}

// tap tells the tasks of the epoch which of their outputs are tapped. It may be
// called again, and does nothing before they are open.
func (g *generation) tap() {
	g.mu.Lock()
	defer g.mu.Unlock()
	points := g.worker.taps.points()
	if g.wiring == nil || len(points) == 0 && g.tapped == nil {
		return
	}
	if g.tapped == nil {
		g.tapped = map[insideTap]bool{}
	}
	for id, t := range g.tasks {
		if id.Role == pluginv1.Role_ROLE_ENUMERATOR {
			continue
		}
		plan := g.plans[id]
		ports := map[[2]uint32]*tapPort{}
		for i, n := range plan.chain.Members {
			for port, o := range n.Outputs {
				p := TapPoint{n.Name, o.Name}
				switch {
				case outlet(plan.chain, i, o).Exclusive:
					if at := (insideTap{id, p}); points[p] != g.tapped[at] {
						g.tapped[at] = points[p]
						t.SetTap(uint32(i), uint32(port), points[p])
					}
				case points[p]:
					ports[[2]uint32{uint32(i), uint32(port)}] = &tapPort{point: p}
				}
			}
		}
		g.wiring.routers[id].SetTap(g.tapOf(id.Index, ports))
	}
}

// insideTap is an output of a task that never leaves its plugin, which therefore has
// to be told whether it is tapped.
type insideTap struct {
	task  task.ID
	point TapPoint
}

// tapPort is a tapped output of one task; the task's goroutine alone uses the window.
type tapPort struct {
	point  TapPoint
	window window
}

// tapOf offers what passes a router on these ports; nil where there are none.
func (g *generation) tapOf(index int, ports map[[2]uint32]*tapPort) edge.Tap {
	if len(ports) == 0 {
		return nil
	}
	taps := g.worker.taps
	return func(f *wire.Frame, h wire.Header) {
		if p := ports[[2]uint32{h.Component, h.Port}]; p != nil {
			taps.offer(p.point, index, f, h, p.window.room(time.Now(), int(h.Records), tapOffered), 0)
		}
	}
}

// Next waits for records that pass. With them it returns how many have passed that
// were not shown, since it was last called. The error is ctx's.
func (t *Tap) Next(ctx context.Context) ([]Passed, uint64, error) {
	var o offered
	select {
	case o = <-t.queue:
	default:
		select {
		case o = <-t.queue:
		case <-ctx.Done():
			return nil, t.dropped.Swap(0), ctx.Err()
		}
	}
	take := t.window.room(time.Now(), o.take, tapShown)
	missed := uint64(o.take - take)
	var out []Passed
	if take == 0 {
		o.frame.Free()
	} else if b, err := t.taps.pool.Decode(&o.frame, o.head); err != nil {
		missed += uint64(take) // the receiver will say what is wrong with it
	} else {
		for i := range min(take, b.Len()) {
			out = append(out, passed(b, i, o))
		}
		b.Release()
	}
	return out, missed + t.dropped.Swap(0), nil
}

// passed copies a record.
func passed(b *wire.Batch, i int, o offered) Passed {
	p := Passed{TapPoint: o.point, Task: o.task, Key: slices.Clone(b.Key(i)), Value: slices.Clone(b.Value(i)), Time: b.Time(i)}
	for name, value := range b.Headers(i).All() {
		p.Headers = append(p.Headers, PassedHeader{string(name), slices.Clone(value)})
	}
	if b.HasOrigin() {
		p.Split, p.Ordinal = b.Origin(i)
	}
	return p
}

// tapPoints are the outputs that are meant; none where there are no such.
func tapPoints(p *pipeline.Pipeline, node, output string) map[TapPoint]bool {
	points := map[TapPoint]bool{}
	for _, n := range p.Nodes {
		if node != "" && n.Name != node {
			continue
		}
		for _, o := range n.Outputs {
			if output == "" || output == o.Name {
				points[TapPoint{n.Name, o.Name}] = true
			}
		}
		if node == "" || n.Kind != pluginv1.Kind_KIND_SINK {
			continue
		}
		for _, in := range n.Inputs {
			for _, e := range in.Edges {
				points[TapPoint{e.From, e.Output}] = true
			}
		}
	}
	return points
}

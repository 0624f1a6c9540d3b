package checkpoint_test

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
)

// god sees everything that has taken effect, and knows what must never happen.
type god struct {
	w         *world
	opened    map[uint64]bool         // numbers that were allocated
	completed map[uint64]bool         // announced so
	abortedN  map[uint64]bool         // announced so
	listed    map[string]uint64       // files that a record listed, and the first one
	current   map[string]*storedState // records and savepoints that are retained, by path
	ever      map[uint64]*storedState // every record there was
	swept     map[uint64]int          // stamps of the last sweep of an epoch
	savepoint []string
	corrupted bool
	fellBack  bool
	duplicate bool // doubled output is accepted
}

// storedState is a record with what its manifest names.
type storedState struct {
	record  checkpoint.Record
	objects []string
	files   []string
}

const (
	epochPath     = "pipelines/p/epoch"
	recordsDir    = "pipelines/p/checkpoints/records"
	savepointsDir = "pipelines/p/checkpoints/savepoints"
	pendingDir    = "pipelines/p/checkpoints/pending"
	committedPath = "pipelines/p/checkpoints/committed"
)

var errStuck = errors.New("the pipeline does not finish")

func newGod(w *world) *god {
	return &god{
		w: w, opened: map[uint64]bool{}, completed: map[uint64]bool{}, abortedN: map[uint64]bool{},
		listed: map[string]uint64{}, current: map[string]*storedState{}, ever: map[uint64]*storedState{},
		swept: map[uint64]int{},
	}
}

// applied looks at every commit that took effect.
func (g *god) applied(ops []coordination.Op) {
	for _, op := range ops {
		_, pending := below(op.Path, pendingDir)
		_, record := below(op.Path, recordsDir)
		_, savepoint := below(op.Path, savepointsDir)
		switch {
		case op.Kind == coordination.OpCheck, op.Kind == coordination.OpCheckAbsent:
		case pending && op.Kind == coordination.OpCreate:
			p := parse[checkpoint.Pending](op.Data)
			if g.opened[p.N] {
				g.w.violated("checkpoint number %d is used twice", p.N)
			}
			g.opened[p.N] = true
		case record || savepoint:
			g.recorded(op, record)
		case op.Path == epochPath:
			lineage := parse[checkpoint.Lineage](op.Data)
			g.duplicate = g.duplicate || len(lineage.AcceptedDuplicates) > 0
		case op.Path == committedPath:
			g.committed(parse[checkpoint.Committed](op.Data).Through)
		}
	}
}

func parse[T any](data []byte) (v T) {
	if err := json.Unmarshal(data, &v); err != nil {
		panic(err)
	}
	return v
}

func (g *god) lineage() checkpoint.Lineage {
	return parse[checkpoint.Lineage](g.w.tree.nodes[epochPath].data)
}

func (g *god) recorded(op coordination.Op, isRecord bool) {
	if op.Kind == coordination.OpDelete {
		delete(g.current, op.Path)
		return
	}
	r := parse[checkpoint.Record](op.Data)
	if s := g.current[op.Path]; s != nil { // its state changes
		s.record = r
		g.fellBack = g.fellBack || r.State == checkpoint.Abandoned
		return
	}
	s := &storedState{record: r}
	g.current[op.Path] = s
	if !isRecord {
		if r.Committables != 0 {
			g.w.violated("savepoint %s lists output", r.Savepoint)
		}
	} else {
		g.ever[r.N] = s
		if l := g.lineage(); l.Epoch != r.Epoch {
			g.w.violated("checkpoint %d of epoch %d gets its record in epoch %d", r.N, r.Epoch, l.Epoch)
		}
		if g.abortedN[r.N] {
			g.w.violated("checkpoint %d has a record after it was announced as aborted", r.N)
		}
	}
	data, ok := g.w.disk.data[r.Manifest.Name]
	if !ok || !json.Valid(data) {
		g.w.violated("the manifest of checkpoint %d does not exist", r.N)
		return
	}
	m := parse[checkpoint.Manifest](data)
	for _, o := range m.Objects() {
		s.objects = append(s.objects, o.Name)
		if _, ok := g.w.disk.data[o.Name]; !ok && !g.corrupted {
			g.w.violated("checkpoint %d names an object that does not exist", r.N)
		}
	}
	for _, es := range m.Committables(0) {
		for _, e := range es {
			name := decode[string](e)
			s.files = append(s.files, name)
			if g.listed[name] == 0 {
				g.listed[name] = r.N
			}
		}
	}
}

// committed checks that everything up to committed_through is published.
func (g *god) committed(through uint64) {
	for _, s := range g.ever {
		for _, name := range s.files {
			if f := g.w.out.files[name]; s.record.N <= through && f.state != published && !g.fellBack {
				g.w.violated("committed_through is %d, but file %s of checkpoint %d is not published", through, name, s.record.N)
			}
		}
	}
}

// deletes checks that no retained record names an object.
func (g *god) deletes(name string) {
	if g.isNamed(name) {
		g.w.violated("an object that a retained checkpoint names is deleted")
	}
}

func (g *god) isNamed(name string) bool {
	for _, s := range g.current {
		if s.record.State != checkpoint.Abandoned && (s.record.Manifest.Name == name || slices.Contains(s.objects, name)) {
			return true
		}
	}
	return false
}

func (g *god) publishes(name string) {
	if g.listed[name] == 0 {
		g.w.violated("file %s is published, and no record lists it", name)
	}
}

// lost is called where a file that is to be published was removed.
func (g *god) lost(f *file) {
	if !g.fellBack {
		g.w.violated("file %s of checkpoint %d is to be published, and was swept", f.name, f.checkpoint)
	}
}

func (g *god) completes(n uint64) {
	g.completed[n] = true
	if g.abortedN[n] {
		g.w.violated("checkpoint %d was aborted and is completed", n)
	}
	if g.ever[n] == nil {
		g.w.violated("checkpoint %d is completed without a record", n)
	}
}

func (g *god) aborts(n uint64) {
	g.abortedN[n] = true
	if g.completed[n] || g.ever[n] != nil {
		g.w.violated("checkpoint %d has its record and is aborted", n)
	}
}

// restores checks that output beyond the restored checkpoint is withdrawn, or its
// doubling accepted.
func (g *god) restores(c checkpoint.Choice) {
	if c.Retract || c.AcceptedDuplicates {
		return
	}
	for _, f := range g.w.out.order {
		at := g.ever[g.listed[f.name]]
		if f.state == published && at.record.N > c.N() && at.record.State != checkpoint.Abandoned {
			g.w.violated("checkpoint %d is restored although file %s of checkpoint %d is published", c.N(), f.name, g.listed[f.name])
		}
	}
}

// refuses is what happens where no checkpoint can be restored.
func (g *god) refuses(err *checkpoint.RestoreError) {
	w := g.w
	w.logf("refused: %v", err)
	if !g.corrupted {
		w.violated("refused without a reason: %v", err)
	}
	if w.accept || w.chance(0.5) {
		w.refused = true
		return
	}
	w.accept = true
	w.after(time.Second, w.self, "a person accepts duplicates", func() {
		if l := w.leader; l != nil {
			w.soon(&l.actor, "start again", l.begin)
		}
	})
}

func (g *god) savepointDone(name string) { g.savepoint = append(g.savepoint, name) }

// final checks the whole after the end.
func (g *god) final() {
	w := g.w
	if w.err != nil || w.refused {
		return
	}
	if !w.finished {
		w.violated("%w", errStuck)
		return
	}
	g.output()
	g.leftovers()
	for _, name := range g.savepoint {
		if g.current[savepointsDir+"/"+name] == nil {
			w.violated("savepoint %s is complete and not stored", name)
		}
	}
	if w.err == nil && !g.corrupted {
		g.stored()
	}
}

// output checks that what is published is the input.
func (g *god) output() {
	times := map[record]int{}
	for _, f := range g.w.out.order {
		newest := map[int]int{}
		for i, r := range f.records {
			if f.state != published {
				break
			}
			times[r]++
			if at, ok := newest[r.split]; ok && f.records[at].ordinal >= r.ordinal {
				g.w.violated("file %s holds split %d out of order", f.name, r.split)
			}
			newest[r.split] = i
		}
	}
	want := []record{endMark}
	for s := range g.w.shape.splits {
		for o := range g.w.shape.records {
			want = append(want, record{s, o})
		}
	}
	for _, r := range want {
		n := times[r]
		if n == 0 || n > 1 && !g.duplicate {
			g.w.violated("record %d of split %d is published %d times", r.ordinal, r.split, n)
		}
		delete(times, r)
	}
	if len(times) > 0 {
		g.w.violated("%d records are published that were never read", len(times))
	}
}

// leftovers checks that hidden files are known to whoever sweeps next.
func (g *god) leftovers() {
	lineage := g.lineage()
	for _, f := range g.w.out.order {
		if f.state == published || f.state == removed {
			continue
		}
		at, swept := g.swept[f.epoch]
		known := slices.ContainsFunc(lineage.Generations, func(l checkpoint.Generation) bool { return l.Epoch == f.epoch })
		if !known && swept && f.touched <= at {
			g.w.violated("file %s of epoch %d is left for ever", f.name, f.epoch)
		}
	}
}

// stored checks that everything retained can be read, and that nothing else is left
// once the epoch is over.
func (g *god) stored() {
	w := g.w
	ledger := checkpoint.NewLedger(w.session(w.self), w.tree.lead(), "p")
	st := w.storage(w.self)
	if _, err := ledger.Begin(background, checkpoint.Generation{}); err != nil {
		w.violated("begin after the end: %v", err)
	}
	verdicts, err := ledger.VerifyAll(background, st)
	for _, v := range verdicts {
		if v.Err != nil {
			w.violated("checkpoint %d: %v", v.N, v.Err)
		}
	}
	if err == nil {
		err = ledger.Collect(background, st)
	}
	if err != nil {
		w.violated("after the end: %v", err)
	}
	named := map[string]bool{}
	for _, s := range g.current {
		named[s.record.Manifest.Name] = true
		for _, o := range s.objects {
			named[o] = true
		}
	}
	for name := range w.disk.data {
		if !named[name] {
			w.violated("object %s is left for ever", name)
		}
	}
}

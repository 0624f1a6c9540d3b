package clustersim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/simulated"
)

const (
	hosts   = 3
	tasks   = 4
	timeout = 4 * time.Second // of a session
	name    = "p"
)

// flaw is a condition that is left out of commits, to see that it is needed.
type flaw string

const (
	sound        flaw = ""
	noGuard      flaw = "the leader's guard"
	noEpochCheck flaw = "the guard, and the check of the epoch by a checkpoint"
	noEpochSet   flaw = "the guard, and the version of the epoch that a new one replaces"
	noSequence   flaw = "the guard, and the version of the last number by a new checkpoint"
	noPending    flaw = "the check of the pending record by what decides it"
	noAckCheck   flaw = "the check of the pending record by an ack"
	noEpoch      flaw = "the epoch: a host acks whatever is pending"
	noLease      flaw = "the lease: a host that is suspended goes on"
	noInstance   flaw = "the instance: an assignment to a host's name is taken by who bears it"
	staleRestore flaw = "reading what to restore after the epoch was begun"
)

// world is one schedule.
type world struct {
	ensemble *simulated.Ensemble
	flaw     flaw
	calm     time.Time // no faults from here on
	done     chan struct{}

	mu     sync.Mutex
	random *rand.Rand
	parts  map[string]part
	made   map[string][]part // manifests
	left   []coordination.Op // conditions that were left out
	faults []string
	judge  judge
}

// part is what one host stores of a checkpoint.
type part struct {
	Host, Instance string
	Epoch          uint64
	Base           uint64 // the checkpoint that the epoch began from
	Positions      map[int]int
}

// assignment is what the leader gives hosts to do.
type assignment struct {
	Leader uint64            `json:"leader"`
	Epoch  uint64            `json:"epoch"`
	Base   uint64            `json:"base"`
	Start  map[int]int       `json:"start"`
	Tasks  map[int]string    `json:"tasks"` // host by task
	Hosts  map[string]string `json:"hosts"` // instance by host
}

// play runs a schedule to its end and returns what was wrong. It has to be called in
// a bubble of synctest.
func play(seed uint64, f flaw) []string {
	w := &world{
		flaw: f, random: rand.New(rand.NewPCG(seed, 0x73696d)), done: make(chan struct{}),
		parts: map[string]part{}, made: map[string][]part{},
	}
	w.judge = judge{w: w, base: map[uint64]uint64{}}
	w.calm = time.Now().Add(w.upTo(20*time.Second) + 5*time.Second)
	w.ensemble = simulated.New(simulated.Options{
		Seed: seed, Timeout: timeout, Delay: 15 * time.Millisecond, Lag: 150 * time.Millisecond, Loss: 0.04,
		Ask: w.ask, Committed: w.judge.committed,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for i := range hosts {
		group.Go(func() { w.host(ctx, fmt.Sprintf("host-%d", i)) })
	}
	const patience = 2 * time.Minute
	select {
	case <-w.done:
	case <-time.After(time.Until(w.calm) + patience):
		w.wrong("no checkpoint was made within %s after the last fault", patience)
	}
	cancel()
	group.Wait()
	w.ensemble.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults
}

func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrongLocked(format, args...)
}

func (w *world) wrongLocked(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *world) upTo(most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.random.Int64N(int64(most)))
}

func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.Float64() < p
}

// leftOut, and below it a number, stands in a commit for the condition that was left
// out of it.
const leftOut = "left-out/"

// ask leaves conditions out of a commit.
func (w *world) ask(ops []coordination.Op) []coordination.Op {
	var out []coordination.Op
	acks := slices.ContainsFunc(ops, func(op coordination.Op) bool {
		_, name := coordination.Split(op.Path)
		return op.Kind == coordination.OpCreate && strings.HasPrefix(name, "host-")
	})
	for _, op := range ops {
		parent, _ := coordination.Split(op.Path)
		check, set, remove := op.Kind == coordination.OpCheck, op.Kind == coordination.OpSet, op.Kind == coordination.OpDelete
		guard := check && parent == coordination.ElectionPath("leader")
		switch {
		case op.Version == coordination.AnyVersion:
		case guard && w.secondLine():
			w.oversleep()
			continue
		case w.flaw == noGuard && guard,
			w.flaw == noEpochCheck && check && op.Path == epochPath,
			w.flaw == noPending && remove && parent == pendingDir:
			out = append(out, w.without(op))
			continue
		case w.flaw == noAckCheck && check && acks:
			continue
		case w.flaw == noEpochSet && set && op.Path == epochPath,
			w.flaw == noSequence && set && op.Path == sequencePath:
			out = append(out, w.without(op))
			op.Version = coordination.AnyVersion
		}
		out = append(out, op)
	}
	return out
}

// secondLine says that the flaw is in a condition which only matters where the guard
// is left out too.
func (w *world) secondLine() bool {
	return w.flaw == noEpochCheck || w.flaw == noEpochSet || w.flaw == noSequence
}

// oversleep lets time pass now and then between what a leader has read and what it
// writes.
func (w *world) oversleep() {
	if w.chance(0.1) {
		time.Sleep(w.upTo(2 * timeout))
	}
}

// without notes what was left out, for the judge.
func (w *world) without(op coordination.Op) coordination.Op {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = append(w.left, op)
	return coordination.CheckAbsent(leftOut + strconv.Itoa(len(w.left)-1))
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func decode[T any](data []byte) (v T, ok bool) {
	return v, len(data) > 0 && json.Unmarshal(data, &v) == nil
}

// judge sees every commit as it takes effect and says what must not be.
type judge struct {
	w         *world
	last      checkpoint.Record
	positions map[int]int
	epoch     uint64
	base      map[uint64]uint64 // by epoch: the newest record when it began
	assigned  assignment
}

const (
	epochPath      = "pipelines/" + name + "/epoch"
	assignmentPath = "pipelines/" + name + "/assignment"
	failedDir      = "pipelines/" + name + "/failed"
	pendingDir     = "pipelines/" + name + "/checkpoints/pending"
	sequencePath   = "pipelines/" + name + "/checkpoints/sequence"
	recordsDir     = "pipelines/" + name + "/checkpoints/records"
)

func (j *judge) committed(ops []coordination.Op, before, now simulated.View) {
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	for _, op := range ops {
		parent, last := coordination.Split(op.Path)
		switch {
		case op.Kind == coordination.OpCheckAbsent && parent+"/" == leftOut:
			n, _ := strconv.Atoi(last)
			left := j.w.left[n]
			if rec, ok := before.Get(left.Path); !ok || rec.Version != left.Version {
				j.w.wrongLocked("a commit took effect that rests on version %d of %s, which is gone", left.Version, left.Path)
			}
		case op.Path == epochPath && op.Kind != coordination.OpCheck:
			j.begun(op.Data)
		case op.Path == assignmentPath && op.Kind != coordination.OpCheck:
			if a, ok := decode[assignment](op.Data); ok {
				j.assigned = a
			}
		case parent == recordsDir && op.Kind == coordination.OpCreate:
			j.recorded(op.Data)
		case op.Kind == coordination.OpCreate && strings.HasPrefix(parent, pendingDir+"/"):
			if rec, _ := now.Get(parent); len(rec.Data) == 0 {
				j.w.wrongLocked("an ack by %s lies where no checkpoint is pending", last)
			}
		}
	}
}

func (j *judge) begun(data []byte) {
	l, ok := decode[checkpoint.Lineage](data)
	if !ok || l.Epoch == j.epoch {
		return
	}
	if l.Epoch < j.epoch {
		j.w.wrongLocked("epoch %d comes after %d", l.Epoch, j.epoch)
	}
	j.epoch = l.Epoch
	j.base[l.Epoch] = j.last.N
}

func (j *judge) recorded(data []byte) {
	r, _ := decode[checkpoint.Record](data)
	if r.Epoch != j.epoch {
		j.w.wrongLocked("checkpoint %d of epoch %d exists, and epoch %d has begun", r.N, r.Epoch, j.epoch)
	}
	if r.N <= j.last.N {
		j.w.wrongLocked("checkpoint %d comes after %d", r.N, j.last.N)
	}
	owners, positions := map[int]string{}, map[int]int{}
	for _, p := range j.w.made[r.Manifest.Name] {
		if p.Epoch != r.Epoch {
			j.w.wrongLocked("checkpoint %d of epoch %d has a part of epoch %d", r.N, r.Epoch, p.Epoch)
		}
		if p.Base != j.base[r.Epoch] {
			j.w.wrongLocked("a part of checkpoint %d began from %d, and the newest was %d", r.N, p.Base, j.base[r.Epoch])
		}
		for task, at := range p.Positions {
			if other, twice := owners[task]; twice {
				j.w.wrongLocked("task %d of checkpoint %d is of %s and of %s", task, r.N, other, p.Host)
			}
			owners[task], positions[task] = p.Host, at
			if at < j.positions[task] {
				j.w.wrongLocked("task %d goes back from %d to %d in checkpoint %d", task, j.positions[task], at, r.N)
			}
		}
	}
	if len(owners) != tasks {
		j.w.wrongLocked("checkpoint %d has %d of %d tasks", r.N, len(owners), tasks)
	}
	j.last, j.positions = r, positions
	if time.Now().After(j.w.calm) {
		select {
		case <-j.w.done:
		default:
			close(j.w.done)
		}
	}
}

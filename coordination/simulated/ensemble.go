package simulated

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirstream/weir/coordination"
)

// Options say how an ensemble behaves.
type Options struct {
	Seed uint64
	// Timeout is the session timeout. Zero is four seconds.
	Timeout time.Duration
	// Delay is the longest that a request, an answer or a notification takes; zero
	// takes no time.
	Delay time.Duration
	// Lag is the longest that what others have committed stays unseen by reads.
	Lag time.Duration
	// Loss is the probability that a commit's request or answer is lost.
	Loss float64
	// Ask, where set, returns the operations that are carried out in place of those
	// of a commit. It runs in the client's goroutine.
	Ask func(ops []coordination.Op) []coordination.Op
	// Committed, where set, is told of each commit that takes effect, in order,
	// with the states before and after it. It must not call the ensemble.
	Committed func(ops []coordination.Op, before, now View)
}

// Ensemble is the service. Its methods may be called concurrently.
type Ensemble struct {
	options Options
	stopped chan struct{}
	servers sync.WaitGroup // one a session, until it has ended

	mu       sync.Mutex
	random   *rand.Rand
	tree     tree
	zxid     uint64
	changed  chan struct{} // closed, and replaced, with each commit
	sessions uint64        // that were opened
}

// New returns an ensemble without a record.
func New(o Options) *Ensemble {
	if o.Timeout == 0 {
		o.Timeout = 4 * time.Second
	}
	return &Ensemble{
		options: o, random: rand.New(rand.NewPCG(o.Seed, 0x7a6b)),
		tree: tree{}, changed: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// Close stops the clocks of sessions that were lost but have not expired, and waits
// for the ensemble's goroutines. Every Store was closed before. Only a bubble of
// synctest needs it, which waits for what it started.
func (e *Ensemble) Close() {
	close(e.stopped)
	e.servers.Wait()
}

// chance says yes with this probability.
func (e *Ensemble) chance(p float64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return p > 0 && e.random.Float64() < p
}

// upTo returns a random duration.
func (e *Ensemble) upTo(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Duration(e.random.Int64N(int64(most)))
}

// commit carries out ops for a session, all or none, and returns the transaction's
// number, of a refused one too.
func (e *Ensemble) commit(ops []coordination.Op, session uint64) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.zxid++
	tx := transaction{tree: e.tree, zxid: e.zxid, at: time.Now(), written: map[string]node{}}
	for i, op := range ops {
		if err := tx.apply(op, session); err != nil {
			return e.zxid, &coordination.ConflictError{Index: i, Kind: op.Kind, Path: op.Path, Err: err}
		}
	}
	e.publish(tx, ops)
	return e.zxid, nil
}

// expire removes a session's records.
func (e *Ensemble) expire(session uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ops []coordination.Op
	for path, versions := range e.tree {
		if n := versions[len(versions)-1]; n.there && n.owner == session {
			ops = append(ops, coordination.Delete(path, coordination.AnyVersion))
		}
	}
	if ops == nil {
		return
	}
	e.zxid++
	tx := transaction{tree: e.tree, zxid: e.zxid, at: time.Now(), written: map[string]node{}}
	for _, op := range ops {
		if err := tx.apply(op, session); err != nil {
			panic("simulated: " + err.Error()) // ephemeral records have no children
		}
	}
	e.publish(tx, ops)
}

// publish makes a transaction visible. The mutex is held.
func (e *Ensemble) publish(tx transaction, ops []coordination.Op) {
	for path, n := range tx.written {
		e.tree[path] = append(e.tree[path], n)
	}
	if e.options.Committed != nil {
		e.options.Committed(ops, View{tree: e.tree, zxid: e.zxid - 1}, View{tree: e.tree, zxid: e.zxid})
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// view returns what a session sees that has seen this much, and the channel that is
// closed when there is more. How much more it sees is chance, within the lag.
func (e *Ensemble) view(seen uint64) (View, <-chan struct{}) {
	lag := e.upTo(e.options.Lag)
	e.mu.Lock()
	defer e.mu.Unlock()
	zxid := e.tree.upTo(time.Now().Add(-lag), e.zxid)
	return View{tree: e.tree, zxid: max(seen, zxid), mu: &e.mu}, e.changed
}

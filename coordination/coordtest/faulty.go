package coordtest

import (
	"context"
	"fmt"
	"sync"

	"github.com/weirstream/weir/coordination"
)

// Fault is what befalls a commit.
type Fault int

const (
	// NoFault lets it pass.
	NoFault Fault = iota
	// LoseRequest drops it before it takes effect: ErrUnknownOutcome.
	LoseRequest
	// LoseReply lets it take effect, or be refused, and drops the answer:
	// ErrUnknownOutcome.
	LoseReply
	// Unreachable drops it and says so: ErrUnavailable.
	Unreachable
)

// Faulty is a Store whose commits meet faults. Everything else passes through.
type Faulty struct {
	coordination.Store
	decide func(ops []coordination.Op) Fault
}

// NewFaulty wraps a Store. decide is asked before each commit, possibly by
// several goroutines at once.
func NewFaulty(s coordination.Store, decide func(ops []coordination.Op) Fault) *Faulty {
	return &Faulty{Store: s, decide: decide}
}

// Commit implements coordination.Store.
func (f *Faulty) Commit(ctx context.Context, ops ...coordination.Op) error {
	switch fault := f.decide(ops); fault {
	case LoseRequest:
		return fmt.Errorf("%w: the request was lost", coordination.ErrUnknownOutcome)
	case LoseReply:
		err := f.Store.Commit(context.WithoutCancel(ctx), ops...) // it is on its way
		return fmt.Errorf("%w: the reply was lost (%v)", coordination.ErrUnknownOutcome, err)
	case Unreachable:
		return fmt.Errorf("%w: the request was not sent", coordination.ErrUnavailable)
	default:
		return f.Store.Commit(ctx, ops...)
	}
}

// Randomly decides by seed: each commit meets one of the faults with this
// probability.
func Randomly(seed uint64, probability float64) func([]coordination.Op) Fault {
	var mu sync.Mutex
	r := newRand(seed)
	faults := []Fault{LoseRequest, LoseReply, Unreachable}
	return func([]coordination.Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.Float64() >= probability {
			return NoFault
		}
		return faults[r.IntN(len(faults))]
	}
}

// Once decides that the first commit for which match says so meets the fault,
// and no other.
func Once(fault Fault, match func(ops []coordination.Op) bool) func([]coordination.Op) Fault {
	var mu sync.Mutex
	over := false
	return func(ops []coordination.Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		if over || !match(ops) {
			return NoFault
		}
		over = true
		return fault
	}
}

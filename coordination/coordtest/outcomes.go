package coordtest

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/weirstream/weir/coordination"
)

var outcomeRules = []rule{
	{"reading back after an unknown outcome tells it", readBack},
	{"an election survives lost requests and replies", electionWithFaults},
	{"a cancelled campaign whose entry is unknown leaves nothing", cancelWithFaults},
}

// readBack counts up through faults as a careful caller does: it repeats the
// commit only when a read shows that it did not take effect.
func readBack(t *testing.T, b Backend) {
	const count = 40
	s := NewFaulty(b.Open(t), Randomly(Seed(t), 0.5))
	ctx := testContext(t)
	if err := s.Store.Commit(ctx, coordination.Create("n", []byte("0"))); err != nil {
		t.Fatal(err)
	}
	unknown := 0
	for i := range int64(count) {
		for {
			err := s.Commit(ctx, coordination.Set("n", strconv.AppendInt(nil, i+1, 10), i))
			if err == nil {
				break
			}
			if errors.Is(err, coordination.ErrUnavailable) {
				continue
			}
			if !errors.Is(err, coordination.ErrUnknownOutcome) {
				t.Fatalf("count %d: %v", i, err)
			}
			unknown++
			if rec := get(t, s, "n"); rec.Version == i+1 {
				break
			}
		}
	}
	rec := get(t, s, "n")
	if string(rec.Data) != strconv.Itoa(count) || rec.Version != count {
		t.Fatalf("counted to %s in %d sets, want %d", rec.Data, rec.Version, count)
	}
	if unknown == 0 {
		t.Fatal("no outcome was ever unknown")
	}
}

func electionWithFaults(t *testing.T, b Backend) {
	const rounds = 4
	seed := Seed(t)
	observer := b.Open(t)
	var epoch uint64
	for i := range rounds {
		first := NewFaulty(b.Open(t), Randomly(seed+uint64(i), 0.4))
		second := NewFaulty(b.Open(t), Randomly(seed+uint64(rounds+i), 0.4))
		l := startCampaign(t, first, "").won(t)
		next := enter(t, second, 2)
		if l.Epoch() <= epoch {
			t.Fatalf("epoch %d, not after %d", l.Epoch(), epoch)
		}
		resign(t, l)
		after := next.won(t)
		epoch = after.Epoch()
		resign(t, after)
		seeChildren(t, observer, coordination.ElectionPath(job), 0)
	}
}

// cancelWithFaults cancels a campaign just when the reply to its entry is lost,
// or the entry itself, and again when the reply to its withdrawal is.
func cancelWithFaults(t *testing.T, b Backend) {
	observer := b.Open(t)
	for _, fault := range []Fault{LoseReply, LoseRequest, Unreachable} {
		ctx, cancel := context.WithCancel(testContext(t))
		s := NewFaulty(b.Open(t), nil)
		entry := Once(fault, func(ops []coordination.Op) bool {
			return ops[0].Kind == coordination.OpCreateEphemeral
		})
		withdrawal := Once(fault, func(ops []coordination.Op) bool {
			return ops[0].Kind == coordination.OpDelete
		})
		s.decide = func(ops []coordination.Op) Fault {
			if f := entry(ops); f != NoFault {
				cancel()
				return f
			}
			return withdrawal(ops)
		}
		_, err := coordination.Campaign(ctx, s, job, nil)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("campaign: %v, want %v", err, context.Canceled)
		}
		seeChildren(t, observer, coordination.ElectionPath(job), 0)
	}
}

package coordtest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/weirstream/weir/coordination"
)

var electionRules = []rule{
	{"who came first leads, and epochs grow", electionOrder},
	{"epochs grow across a restart", epochsAcrossRestart},
	{"a guard refuses the commit of a former leader", guardFences},
	{"a cancelled campaign leaves no contender", cancelLeavesNothing},
	{"a campaign ends with its session or its record", campaignEnds},
	{"a leadership ends with its session or its record", leadershipEnds},
	{"elections of different names are apart", electionsApart},
	{"no two lead at once, whoever comes and goes", electionChurn},
}

const job = "job"

// campaign is a running Campaign.
type campaign struct {
	cancel context.CancelFunc
	over   chan struct{}
	leader *coordination.Leadership
	err    error
}

// enter starts a campaign and returns once it has joined as the count-th.
func enter(t testing.TB, s coordination.Store, count int) *campaign {
	t.Helper()
	c := startCampaign(t, s, strconv.Itoa(count))
	seeChildren(t, s, coordination.ElectionPath(job), count)
	return c
}

func startCampaign(t testing.TB, s coordination.Store, candidate string) *campaign {
	ctx, cancel := context.WithCancel(testContext(t))
	c := &campaign{cancel: cancel, over: make(chan struct{})}
	t.Cleanup(cancel)
	go func() {
		defer close(c.over)
		c.leader, c.err = coordination.Campaign(ctx, s, job, []byte(candidate))
	}()
	return c
}

func (c *campaign) won(t testing.TB) *coordination.Leadership {
	t.Helper()
	done(t, c.over, "the election")
	if c.err != nil {
		t.Fatalf("campaign: %v", c.err)
	}
	return c.leader
}

func (c *campaign) failed(t testing.TB, want error) {
	t.Helper()
	done(t, c.over, "the end of the campaign")
	if !errors.Is(c.err, want) || c.leader != nil {
		t.Fatalf("campaign: %v, want %v", c.err, want)
	}
}

func (c *campaign) waits(t testing.TB) {
	t.Helper()
	select {
	case <-c.over:
		t.Fatalf("the campaign is over with %v, want it to wait", c.err)
	default:
	}
}

func resign(t testing.TB, l *coordination.Leadership) {
	t.Helper()
	if err := l.Resign(testContext(t)); err != nil {
		t.Fatalf("resign: %v", err)
	}
	done(t, l.Lost(), "the loss")
	if l.Err() == nil {
		t.Fatal("no reason is given for the loss")
	}
}

func electionOrder(t *testing.T, b Backend) {
	observer := b.Open(t)
	if _, err := coordination.Leader(testContext(t), observer, job); !errors.Is(err, coordination.ErrNotFound) {
		t.Fatalf("leader before any campaign: %v", err)
	}
	var campaigns []*campaign
	for i := range 4 {
		campaigns = append(campaigns, enter(t, b.Open(t), i+1))
	}
	seeChildren(t, observer, coordination.ElectionPath(job), len(campaigns))
	var epoch uint64
	for i, c := range campaigns {
		l := c.won(t)
		for _, later := range campaigns[i+1:] {
			later.waits(t)
		}
		if l.Epoch() <= epoch {
			t.Fatalf("epoch %d, not after %d", l.Epoch(), epoch)
		}
		epoch = l.Epoch()
		seeChildren(t, observer, coordination.ElectionPath(job), len(campaigns)-i)
		rec, err := coordination.Leader(testContext(t), observer, job)
		if err != nil || string(rec.Data) != strconv.Itoa(i+1) || rec.Created != epoch {
			t.Fatalf("leader is %+v, %v; want candidate %d at epoch %d", rec, err, i+1, epoch)
		}
		if err := l.Err(); err != nil {
			t.Fatalf("lost while leading: %v", err)
		}
		resign(t, l)
		resign(t, l) // again is no error
	}
}

func epochsAcrossRestart(t *testing.T, b Backend) {
	var epoch uint64
	for range 3 {
		l := startCampaign(t, b.Open(t), "").won(t)
		if l.Epoch() <= epoch {
			t.Fatalf("epoch %d, not after %d", l.Epoch(), epoch)
		}
		epoch = l.Epoch()
		b.Restart(t) // nobody resigned
		done(t, l.Lost(), "the loss")
	}
}

func guardFences(t *testing.T, b Backend) {
	s, other := b.Open(t), b.Open(t)
	former := startCampaign(t, s, "").won(t)
	next := enter(t, other, 2)
	must(t, s, former.Guard(), coordination.Create("a", nil))
	must(t, s, former.Guard(), coordination.Set("a", nil, 0))
	if err := s.Commit(testContext(t), former.Guard(), coordination.Create("a", nil)); former.Fenced(err) || err == nil {
		t.Fatalf("another conflict counts as fenced: %v", err)
	}
	resign(t, former)
	l := next.won(t)
	for _, who := range []coordination.Store{s, other} {
		err := who.Commit(testContext(t), coordination.Set("a", nil, 1), former.Guard())
		if !former.Fenced(err) || l.Fenced(err) {
			t.Fatalf("commit of the former leader: %v", err)
		}
	}
	must(t, s, l.Guard(), coordination.Check("a", 1)) // a guard is good in any session
	b.Expire(t, other)
	seeChildren(t, s, coordination.ElectionPath(job), 0)
	if err := s.Commit(testContext(t), l.Guard(), coordination.Set("a", nil, 1)); !l.Fenced(err) {
		t.Fatalf("commit of the expired leader: %v", err)
	}
	if rec := get(t, s, "a"); rec.Version != 1 {
		t.Fatalf("a refused commit left version %d", rec.Version)
	}
}

func cancelLeavesNothing(t *testing.T, b Backend) {
	s := b.Open(t)
	first := startCampaign(t, s, "").won(t)
	second, third := enter(t, b.Open(t), 2), enter(t, b.Open(t), 3)
	second.cancel()
	second.failed(t, context.Canceled)
	seeChildren(t, s, coordination.ElectionPath(job), 2)
	third.waits(t)
	resign(t, first)
	resign(t, third.won(t))
	wantNames(t, seeChildren(t, s, coordination.ElectionPath(job), 0))

	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := coordination.Campaign(ctx, s, job, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("campaign with an ended context: %v", err)
	}
	if _, err := coordination.Campaign(testContext(t), s, "a//b", nil); !errors.Is(err, coordination.ErrInvalid) {
		t.Fatalf("campaign of a malformed name: %v", err)
	}
	wantNames(t, children(t, s, coordination.ElectionPath(job)))
}

func campaignEnds(t *testing.T, b Backend) {
	s := b.Open(t)
	startCampaign(t, s, "").won(t)
	lost := b.Open(t)
	expired := enter(t, lost, 2)
	b.Expire(t, lost)
	expired.failed(t, coordination.ErrSessionLost)
	seeChildren(t, s, coordination.ElectionPath(job), 1)
	closing := b.Open(t)
	closed := enter(t, closing, 2)
	if err := closing.Close(); err != nil {
		t.Fatal(err)
	}
	closed.failed(t, coordination.ErrClosed)
	seeChildren(t, s, coordination.ElectionPath(job), 1)
	removed := enter(t, b.Open(t), 2)
	for _, n := range seeChildren(t, s, coordination.ElectionPath(job), 2) {
		if rec := get(t, s, coordination.ElectionPath(job)+"/"+n); string(rec.Data) == "2" {
			must(t, s, coordination.Delete(rec.Path, 0))
		}
	}
	removed.failed(t, coordination.ErrNotFound)
}

func leadershipEnds(t *testing.T, b Backend) {
	s := b.Open(t)
	for what, end := range map[string]func(coordination.Store, *coordination.Leadership){
		"session lost": func(own coordination.Store, _ *coordination.Leadership) { b.Expire(t, own) },
		"store closed": func(own coordination.Store, _ *coordination.Leadership) {
			if err := own.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"record removed": func(_ coordination.Store, l *coordination.Leadership) {
			must(t, s, coordination.Delete(l.Guard().Path, coordination.AnyVersion))
		},
	} {
		own := b.Open(t)
		l := startCampaign(t, own, "").won(t)
		next := enter(t, b.Open(t), 2)
		end(own, l)
		done(t, l.Lost(), what)
		if l.Err() == nil {
			t.Errorf("%s: no reason is given", what)
		}
		after := next.won(t)
		if after.Epoch() <= l.Epoch() {
			t.Errorf("%s: epoch %d, not after %d", what, after.Epoch(), l.Epoch())
		}
		resign(t, l) // of what is lost is no error
		resign(t, after)
	}
}

func electionsApart(t *testing.T, b Backend) {
	s := b.Open(t)
	for _, name := range []string{"one", "two", "one-more"} {
		if _, err := coordination.Campaign(testContext(t), s, name, nil); err != nil {
			t.Fatalf("campaign %s: %v", name, err)
		}
	}
}

// electionChurn lets contenders come, win, resign, expire and give up by seed.
// Each leader writes its epoch under its guard. Were there ever two whose guards
// hold, or an epoch that does not grow, a leader would find a higher epoch
// written and yet be able to write.
func electionChurn(t *testing.T, b Backend) {
	const contenders, rounds = 5, 8
	seed := Seed(t)
	observer := b.Open(t)
	must(t, observer, coordination.Create("highest", []byte("0")))
	ctx := testContext(t)
	var wg sync.WaitGroup
	wins := make(chan int, contenders*rounds)
	for i := range contenders {
		r, s := newRand(seed+uint64(i)), b.Open(t)
		wg.Go(func() {
			for range rounds {
				cctx, cancel := context.WithCancel(ctx)
				if r.IntN(3) == 0 {
					go func() { // cancel at any step
						for range r.IntN(1000) {
							if cctx.Err() != nil {
								break
							}
						}
						cancel()
					}()
				}
				l, err := coordination.Campaign(cctx, s, job, nil)
				if err == nil {
					wins <- i
					err = writeEpoch(ctx, s, l)
				}
				switch {
				case errors.Is(err, context.Canceled):
				case err != nil:
					t.Errorf("contender %d: %v", i, err)
				case r.IntN(3) == 0:
					b.Expire(t, s)
					s = b.Open(t)
				default:
					if err := l.Resign(ctx); err != nil {
						t.Errorf("contender %d: %v", i, err)
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	close(wins)
	if len(wins) == 0 {
		t.Error("nobody ever won")
	}
	seeChildren(t, observer, coordination.ElectionPath(job), 0)
}

func writeEpoch(ctx context.Context, s coordination.Store, l *coordination.Leadership) error {
	for range 3 {
		rec, err := s.Get(ctx, "highest")
		if err != nil {
			return err
		}
		highest, err := strconv.ParseUint(string(rec.Data), 10, 64)
		if err != nil {
			return err
		}
		mine := strconv.AppendUint(nil, l.Epoch(), 10)
		err = s.Commit(ctx, l.Guard(), coordination.Set("highest", mine, rec.Version))
		if errors.Is(err, coordination.ErrVersion) {
			continue // the read lagged behind the former leader
		}
		if err == nil && highest > l.Epoch() {
			return errors.New("epoch " + string(mine) + " wrote over " + string(rec.Data))
		}
		return err
	}
	return errors.New("somebody writes while we lead")
}

package coordtest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/weirstream/weir/coordination"
)

// Steady is a Store that repeats what was unavailable and finds out what was
// unknown, until the caller's context ends: with it the suite runs while the
// service fails.
//
// Each commit also creates a marker with a name of its own, which tells afterwards
// whether the commit took effect. Markers lie below one record at the root, which
// the Store does not show.
type Steady struct{ coordination.Store }

const (
	markers     = "coordtest-markers"
	steadyPause = 10 * time.Millisecond
)

// Get implements coordination.Reader.
func (s Steady) Get(ctx context.Context, path string) (rec coordination.Record, err error) {
	err = s.available(ctx, func() (err error) { rec, err = s.Store.Get(ctx, path); return err })
	return rec, err
}

// Children implements coordination.Reader.
func (s Steady) Children(ctx context.Context, path string) (names []string, err error) {
	err = s.available(ctx, func() (err error) { names, err = s.Store.Children(ctx, path); return err })
	return hide(path, names), err
}

// WatchChildren implements coordination.Store.
func (s Steady) WatchChildren(ctx context.Context, path string) <-chan coordination.Listing {
	in := s.Store.WatchChildren(ctx, path)
	if path != "" {
		return in
	}
	out := make(chan coordination.Listing, 1)
	go func() {
		defer close(out)
		var last []string
		for first := true; ; first = false {
			l, ok := <-in
			if !ok {
				return
			}
			l.Names = hide(path, l.Names)
			if !first && l.Err == nil && slices.Equal(l.Names, last) {
				continue
			}
			last = l.Names
			select {
			case <-out:
			default:
			}
			out <- l
		}
	}()
	return out
}

func hide(path string, names []string) []string {
	if path != "" {
		return names
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == markers })
}

// available repeats do while the service is unavailable.
func (s Steady) available(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !errors.Is(err, coordination.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(steadyPause):
		}
	}
}

// Commit implements coordination.Store.
func (s Steady) Commit(ctx context.Context, ops ...coordination.Op) error {
	marker := markers + "/" + rand.Text()
	marked := append(slices.Clone(ops), coordination.Create(marker, nil))
	if coordination.CheckOps(ops) != nil {
		return s.Store.Commit(ctx, ops...)
	}
	if coordination.CheckOps(marked) != nil { // no room for it
		marked, marker = ops, ops[0].Path
	}
	for {
		err := s.available(ctx, func() error { return s.Store.Commit(ctx, marked...) })
		if !errors.Is(err, coordination.ErrUnknownOutcome) || ctx.Err() != nil {
			return err
		}
		if _, err := s.Get(ctx, marker); !errors.Is(err, coordination.ErrNotFound) {
			return err // it took effect, or nobody knows
		}
	}
}

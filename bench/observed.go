package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/local"
)

// observeEvery is how often the observer asks: as `weir status --watch` does, and far
// more often than Prometheus would.
const observeEvery = time.Second

// observed runs a pipeline under full load with somebody who watches its status,
// scrapes its metrics, follows its log and taps every output, and without, interleaved. It reports what
// that costs, and how long an answer of status took.
func observed(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	var with, without []Result
	var o observer
	defer func() { l.beside = nil }()
	type side struct {
		beside func(context.Context, string)
		into   *[]Result
	}
	sides := []side{{o.watch, &with}, {nil, &without}}
	for range max(runs, 3) {
		slices.Reverse(sides) // the one that comes first finds memory that is colder
		for _, side := range sides {
			l.beside = side.beside
			r, err := l.once(ctx, name, func(out string) (string, error) { return fill(l, chainedYAML, true, records, out) }, records, true)
			if err != nil {
				return Result{}, err
			}
			*side.into = append(*side.into, r)
		}
	}
	if len(o.took) == 0 || o.tapped.Load() == 0 {
		return Result{}, fmt.Errorf("no status was answered, or no record tapped: %w", o.err)
	}
	r := median(with)
	r.OverheadPercent = 100 * (r.CPUNsPerRecord/median(without).CPUNsPerRecord - 1)
	slices.Sort(o.took)
	r.P50us = float64(o.took[len(o.took)/2].Microseconds())
	r.P99us = float64(o.took[len(o.took)*99/100].Microseconds())
	return r, nil
}

// observer watches the pipeline called chained.
type observer struct {
	took []time.Duration // of each status
	err  error           // the newest

	tapped atomic.Uint64 // records that were seen
}

// watch watches until ctx ends.
func (o *observer) watch(ctx context.Context, stateDir string) {
	const name = "chained"
	p := local.Pipelines{StateDir: stateDir}
	var follower sync.WaitGroup
	defer follower.Wait()
	following := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(observeEvery):
		}
		began := time.Now()
		s, err := p.Status(ctx, name)
		if err != nil || s.State != api.StateRunning {
			o.err = err
			continue
		}
		o.took = append(o.took, time.Since(began))
		if err := scrape(ctx, filepath.Join(stateDir, name, "run")); err != nil {
			o.err = err
		}
		if !following {
			following = true
			follower.Go(func() {
				for range p.Logs(ctx, name, api.LogQuery{Tail: -1, Follow: true}) {
				}
			})
			follower.Go(func() {
				for range p.Tap(ctx, name, api.TapQuery{}) {
					o.tapped.Add(1)
				}
			})
		}
	}
}

// scrape reads /metrics over the socket in a folder, as Prometheus would.
func scrape(ctx context.Context, dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "api.sock"))
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

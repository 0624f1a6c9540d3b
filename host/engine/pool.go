package engine

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirstream/weir/host/pipeline"
)

// stopTimeout bounds how long a process may take to end by itself.
const stopTimeout = 5 * time.Second

// pool keeps the plugin processes of a pipeline. Sound ones outlive a rollback.
type pool struct {
	start   StartFunc
	mu      sync.Mutex
	running map[processKey]Process
}

func newPool(start StartFunc) *pool {
	return &pool{start: start, running: map[processKey]Process{}}
}

// ensure starts those of the processes that are not running. On an error those that were started stay.
// From then on until the next call, get knows a process for each key, dead or
// alive: one that dies right after its start is one that dies later.
func (p *pool) ensure(ctx context.Context, pl *plan, keys []processKey) error {
	plugins := map[string]pipeline.Plugin{}
	for _, pg := range pl.pipeline.Plugins {
		plugins[pg.Name] = pg
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, key := range keys {
		if alive(p.get(key)) {
			continue
		}
		group.Go(func() error {
			proc, err := p.start(ctx, plugins[key.plugin])
			if err != nil {
				return err
			}
			p.mu.Lock()
			p.running[key] = proc
			p.mu.Unlock()
			return nil
		})
	}
	return group.Wait()
}

// get returns a process, dead or alive, or nil.
func (p *pool) get(key processKey) Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[key]
}

func alive(proc Process) bool {
	if proc == nil {
		return false
	}
	select {
	case <-proc.Done():
		return false
	default:
		return true
	}
}

// kill ends a process at once and waits until it is reaped.
func (p *pool) kill(key processKey, reason string) {
	p.mu.Lock()
	proc := p.running[key]
	delete(p.running, key)
	p.mu.Unlock()
	if proc != nil {
		proc.Kill(reason)
		<-proc.Done()
	}
}

// close stops every process, the sound ones in their own time.
func (p *pool) close() {
	p.mu.Lock()
	procs := p.running
	p.running = map[processKey]Process{}
	p.mu.Unlock()
	var group sync.WaitGroup
	for _, proc := range procs {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
			defer cancel()
			// How a process ended that nobody needs any more is of no interest.
			_ = proc.Stop(ctx)
		})
	}
	group.Wait()
}

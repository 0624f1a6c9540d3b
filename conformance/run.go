package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/weirstream/weir/conformance/spec"
)

type job struct {
	c *Case
	t *Target
}

// runAll runs every case that applies and returns the results in the order of
// targets and cases.
func (k *kit) runAll(ctx context.Context) []Result {
	var jobs []job
	for _, t := range k.targets {
		for _, c := range Cases() {
			if (t.Component == nil) != c.Once || t.Component != nil && !c.of(t.Component.GetKind()) {
				continue
			}
			if k.opts.Run != nil && !k.opts.Run.MatchString(c.ID+" "+c.Title) {
				continue
			}
			jobs = append(jobs, job{c, t})
		}
	}
	workers := k.opts.Parallel
	if workers == 0 {
		workers = min(4, max(2, runtime.GOMAXPROCS(0)))
	}
	results := make([]Result, len(jobs))
	var wg sync.WaitGroup
	var told sync.Mutex
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				r := k.one(ctx, jobs[i])
				told.Lock()
				results[i] = r
				if k.opts.Done != nil {
					k.opts.Done(r)
				}
				told.Unlock()
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

// mostHung is the number of cases of a target that may run out of time: the others
// are not tried then, so that a plugin that hangs costs only so much.
const mostHung = 3

var errCaseTime = errors.New("the case's time is over")

// one runs a case on a target.
func (k *kit) one(ctx context.Context, j job) Result {
	r := Result{Case: j.c.ID, Title: j.c.Title, Target: j.t.Name(), Seed: k.opts.Seed}
	if m := j.c.missing(j.t); m != "" {
		r.Status, r.Message = Skip, string(m)
		return r
	}
	k.mu.Lock()
	k.cases++
	n := k.cases
	stopped, hung := k.stopped[j.t], k.hung[j.t]
	k.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		r.Status, r.Message = Broken, "not run: the run was stopped"
		return r
	case stopped != "":
		r.Status, r.Message = Broken, "not run: "+stopped
		return r
	case hung >= mostHung:
		r.Status, r.Message = Fail, fmt.Sprintf("not run: %d cases of this component have run out of time", hung)
		return r
	}
	began := time.Now()
	t := &T{
		Target: j.t, Case: j.c, Rand: seedOf(k.opts.Seed, j.c, j.t), kit: k,
		CaseID: caseID(j.c.ID, k.nonce, n), TMP: filepath.Join(k.tmp, fmt.Sprintf("%s-%d", j.c.ID, n), "tmp"),
	}
	t.uid = fmt.Sprintf("u%s%d", k.nonce, n)
	timeout := spec.DefaultCaseTimeout
	if k.config != nil {
		timeout = k.file(t).CaseTimeout
	}
	var cancel context.CancelFunc
	t.ctx, cancel = context.WithTimeoutCause(ctx, timeout, errCaseTime)
	defer cancel()
	t.run()
	r.Seconds = time.Since(began).Seconds()
	switch {
	case t.broken != "":
		r.Status, r.Message = Broken, t.broken
		k.mu.Lock()
		k.stopped[j.t] = "the means of conformance.yaml failed in " + j.c.ID
		k.mu.Unlock()
	case t.failure != "":
		r.Status, r.Message, r.Notes, r.Log = Fail, t.failure, t.notes, t.lastLines()
		if errors.Is(context.Cause(t.ctx), errCaseTime) {
			r.Message += fmt.Sprintf(" (the case's %v were over)", timeout)
			k.mu.Lock()
			k.hung[j.t]++
			k.mu.Unlock()
		}
	default:
		r.Status = Pass
	}
	return r
}

// run carries the case out with its set-up and tear-down.
func (t *T) run() {
	defer func() { _ = os.RemoveAll(filepath.Dir(t.TMP)) }()
	inner := func(f func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					stack := make([]byte, 8<<10)
					t.mu.Lock()
					t.broken = fmt.Sprintf("a defect of the kit: %v\n%s", p, stack[:runtime.Stack(stack, false)])
					t.mu.Unlock()
				}
			}()
			f()
		}()
		<-done
	}
	inner(func() {
		if err := os.MkdirAll(t.TMP, 0o700); err != nil {
			t.Brokenf("%v", err)
		}
		if t.Entry != nil {
			t.entry = t.kit.file(t).Components[t.index]
			t.shell("setup", t.entry.Setup)
		}
		t.Case.run(t)
	})
	inner(t.clean)
	if t.entry != nil && t.entry.Teardown != nil {
		// It has a time of its own: the case may have used all of it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), t.kit.file(t).CommandTimeout)
		defer cancel()
		t.ctx, ctx = ctx, t.ctx
		inner(func() { t.shell("teardown", t.entry.Teardown) })
		t.ctx = ctx
	}
}

// lastLines are the last that the processes of the case have logged.
func (t *T) lastLines() []string {
	const most = 15
	var out []string
	for _, p := range t.processes {
		lines := p.Logs.Lines()
		for _, l := range lines[max(0, len(lines)-most):] {
			out = append(out, l.Text)
		}
	}
	return out[max(0, len(out)-most):]
}

func (t *T) shell(what string, c spec.Command) {
	if c == nil {
		return
	}
	if _, err := t.command(what, c, nil, nil, 0); err != nil {
		t.Brokenf("%s: %s: %v", t.kit.config.Name(), what, err)
	}
}

// file is conformance.yaml with the case's references.
func (k *kit) file(t *T) *spec.File {
	f, _ := k.config.Parse(spec.Vars{CaseID: t.CaseID, TMP: t.TMP})
	return f
}

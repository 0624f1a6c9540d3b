package process

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// ping asks the health service once.
func (p *Process) ping(ctx context.Context) error {
	res, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if err == nil && res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("it says %s", res.GetStatus())
	}
	return err
}

// watchHealth asks at an interval until the process ends, and ends a process that
// has not answered well for too long.
func (p *Process) watchHealth() {
	interval := p.opts.HealthInterval
	if interval < 0 {
		interval = time.Second // the log has its turn all the same
	}
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	good := time.Now()
	for {
		select {
		case <-p.child.exited.Done():
			return
		case <-ticks.C:
		}
		p.out.tick()
		if p.opts.HealthInterval < 0 {
			continue
		}
		err := p.askHealth()
		switch since := time.Since(good); {
		case err == nil:
			good = time.Now()
		case since >= p.opts.HealthTimeout && p.child.exited.Err() == nil:
			p.endHung(since, err)
			return
		}
	}
}

// askHealth gives an answer the time it may take. It asks again before it gives
// up: a host that was itself paused finds the time over and the answer waiting.
func (p *Process) askHealth() error {
	ctx, cancel := context.WithTimeout(p.child.exited, p.opts.HealthTimeout)
	defer cancel()
	err := p.ping(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	again, cancel := context.WithTimeout(p.child.exited, min(p.opts.HealthTimeout, time.Second))
	defer cancel()
	return p.ping(again)
}

// endHung ends a process that does not answer.
func (p *Process) endHung(since time.Duration, err error) {
	why := fmt.Sprintf("it did not answer for %v", since.Round(100*time.Millisecond))
	switch {
	case stopped(p.PID()):
		why += ": it is stopped by a signal or a debugger"
	case status.Code(err) != codes.DeadlineExceeded:
		why += fmt.Sprintf(" (%v)", err)
	}
	p.setReason(why, true)
	p.quit()
	p.child.kill()
}

// quit asks a Go program for its goroutines, which ends it, and waits a moment. A
// program that is stopped would not hear it before it runs on.
func (p *Process) quit() {
	if _, err := buildinfo.ReadFile(p.path); err != nil || stopped(p.PID()) {
		return
	}
	p.child.signal(syscall.SIGQUIT)
	wait := time.NewTimer(p.opts.DumpTimeout)
	defer wait.Stop()
	select {
	case <-p.child.exited.Done():
	case <-wait.C:
	}
}

// Package proc runs a test server as a process that ends with its test, and that a
// test can kill, pause and start again.
package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Process is a running server. Its methods may be called concurrently.
type Process struct {
	cmd     *exec.Cmd
	logPath string
	done    chan struct{} // closed when it has ended and was waited for
}

// Start starts name with its output in the file at logPath, which is written anew,
// and returns once the log holds a line with ready. On Linux it is killed when
// this process ends, however it does; detach leaves it running instead.
func Start(ctx context.Context, logPath, ready string, detach bool, name string, args ...string) (*Process, error) {
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(name, args...), logPath: logPath, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	attributes(p.cmd, detach)
	started := make(chan error)
	go func() {
		// The kernel kills it when the thread that started it ends.
		runtime.LockOSThread()
		err := p.cmd.Start()
		log.Close()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.await(ctx, ready); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// await waits for a line of the log.
func (p *Process) await(ctx context.Context, ready string) error {
	for {
		text, err := os.ReadFile(p.logPath)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), ready) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended before it was ready; %s ends with\n%s", p.logPath, tail(p.logPath))
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w; %s ends with\n%s", ctx.Err(), p.logPath, tail(p.logPath))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail returns the last lines of a file.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Pause stops it, as a machine does that hangs.
func (p *Process) Pause() error { return pause(p.cmd.Process) }

// Resume ends a pause.
func (p *Process) Resume() error { return resume(p.cmd.Process) }

// Kill ends it at once and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop ends it as an operator would, and kills it if that takes longer than
// patience.
func (p *Process) Stop(patience time.Duration) {
	_ = p.Resume()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.Kill()
	}
}

// Ports returns n loopback ports that are free now. They lie below those that the
// kernel gives to outgoing connections, so that a server that was killed finds its
// own free when it starts again.
func Ports(n int) ([]int, error) {
	var ports []int
	// Processes that look at the same time begin at different places.
	next := firstPort + (os.Getpid()*37+int(time.Now().UnixNano()/1000))%(lastPort-firstPort)
	for range lastPort - firstPort {
		if next++; next >= lastPort {
			next = firstPort
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next))
		if err != nil {
			continue
		}
		l.Close()
		if ports = append(ports, next); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free port on 127.0.0.1")
}

const firstPort, lastPort = 15000, 32000

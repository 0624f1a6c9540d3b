package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Process is one running plugin process. All methods may be called concurrently.
type Process struct {
	cmd  Command
	path string
	opts Options
	log  *slog.Logger

	child     *child
	out       *output
	socketDir string // made by go-plugin below Options.SocketDir
	pipes     sync.WaitGroup
	conn      *grpc.ClientConn
	manifest  *pluginv1.Manifest
	protocol  int

	done chan struct{}

	mu       sync.Mutex
	stopping bool
	hung     bool
	reason   string
	exit     *ExitError
}

// Client speaks weir.plugin.v1 to the process. Calls fail with the gRPC status
// UNAVAILABLE once the process is gone; then wait for Done and ask Err for the
// cause. The streams of Run take *wire.Frame in SendMsg and RecvMsg.
func (p *Process) Client() pluginv1.PluginClient { return pluginv1.NewPluginClient(p.conn) }

// Name is the plugin's name as the command has it.
func (p *Process) Name() string { return p.cmd.Name }

// Path is the program that runs.
func (p *Process) Path() string { return p.path }

// PID is the process id; also of the process group on Unix.
func (p *Process) PID() int { return p.child.pid() }

// Manifest is the plugin's answer to Describe. It must not be changed.
func (p *Process) Manifest() *pluginv1.Manifest { return p.manifest }

// Protocol is the version of the plugin protocol that was agreed on.
func (p *Process) Protocol() int { return p.protocol }

// Done is closed when the process has ended and nothing of it is left: it is
// reaped, its output read, its dump written, its connection and sockets removed.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended. It is nil before Done is closed, and nil for a
// process that ended after Stop. Compare with nil before storing it in an error.
func (p *Process) Err() *ExitError {
	select {
	case <-p.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stopping {
			return nil
		}
		return p.exit
	default:
		return nil
	}
}

// Stop asks the process to end, waits until it has, and kills it when ctx ends or
// Options.StopTimeout has passed. Close its tasks first: what they hold is not
// flushed. On return nothing is left of the process; the error says that it had
// to be killed or did not end cleanly. Stop on an ended process does nothing.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		p.stopping = true
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.opts.StopTimeout)
	defer cancel()
	// go-plugin's own farewell first: the plugin's main function returns. A plugin
	// that does not know it ends with its lifeline.
	asked, cancelAsk := context.WithTimeout(ctx, p.opts.StopTimeout/4)
	defer cancelAsk()
	_ = p.conn.Invoke(asked, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	select {
	case <-p.done:
	case <-asked.Done():
	}
	p.child.cutLifeline()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill("it did not end when it was asked to")
		<-p.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping && p.exit != nil && (p.exit.Signal != nil || p.exit.Status != 0) {
		return fmt.Errorf("stopping: %w", p.exit)
	}
	return nil
}

// Kill ends the process group at once. It does not wait: Done is closed when the
// process is gone. The reason, a clause such as "task out[3] did not close in
// time", becomes part of Err.
func (p *Process) Kill(reason string) {
	p.setReason(reason, false)
	p.child.kill()
}

func (p *Process) setReason(reason string, hung bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == "" {
		p.reason, p.hung = reason, hung
	}
}

// supervise asks for the process's health until it ends, and cleans up.
func (p *Process) supervise() {
	p.watchHealth()
	p.finish()
}

// finish waits for the end of the process and leaves nothing of it.
func (p *Process) finish() {
	defer close(p.done)
	<-p.child.exited.Done()
	p.child.cutLifeline()
	p.drain()
	removeAll(p.socketDir)

	state := p.child.cmd.ProcessState
	e := &ExitError{Plugin: p.cmd.Name, PID: state.Pid(), Status: state.ExitCode(), Stderr: p.out.lastLines()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	if dump := p.out.dumped(); e.Status != 0 && len(dump) > 0 {
		var err error
		if e.Dump, err = writeDump(p.opts.DumpDir, p.cmd.Name, e.PID, dump); err != nil {
			p.log.Warn("the plugin's goroutine dump could not be kept", "error", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Reason, e.Hung = p.reason, p.hung
	// It may have ended by itself just before it was killed.
	if !p.hung && e.Signal != syscall.SIGKILL && runtime.GOOS != "windows" {
		e.Reason = ""
	}
	p.exit = e
}

// drain waits until the output has been read. A process outside the group may
// hold it open: it is given up after a moment.
func (p *Process) drain() {
	read := make(chan struct{})
	go func() {
		p.pipes.Wait()
		close(read)
	}()
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-read:
	case <-grace.C:
	}
	p.child.closeOutput()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	<-read
	p.out.close()
}

// removeAll removes the folder of the process's sockets.
func removeAll(dir string) {
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
}

package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// exitGrace is how long a process whose pipes or connection broke may take to end
// by itself and leave its own exit status.
const exitGrace = time.Second

// Start starts a plugin process and returns when it has answered Describe and the
// first health question. ctx bounds the start alone: the process goes on when ctx
// ends later. The error is a *[StartError], save for wrong options; nothing is
// left of a process that could not be started.
func Start(ctx context.Context, cmd Command, opts Options) (*Process, error) {
	opts = opts.withDefaults()
	if len(opts.SocketDir) > maxSocketDir {
		return nil, fmt.Errorf("folder for sockets %s: the path is longer than the %d bytes that a Unix socket leaves it", opts.SocketDir, maxSocketDir)
	}
	path, err := cmd.Program()
	if err != nil {
		return nil, err
	}
	if err := cmd.verify(path); err != nil {
		return nil, err
	}
	p := &Process{
		cmd: cmd, path: path, opts: opts, log: opts.Log.With("plugin", cmd.Name),
		done: make(chan struct{}),
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, opts.StartTimeout)
	defer cancel()
	if failed := p.start(ctx); failed != nil {
		return nil, failed
	}
	go p.supervise()
	p.log.Debug("plugin started", "pid", p.PID(), "path", path, "version", p.manifest.GetVersion(), "took", time.Since(began))
	return p, nil
}

// start launches the process and speaks to it until it is ready.
func (p *Process) start(ctx context.Context) *StartError {
	began := time.Now()
	r := newRunner(p)
	config := &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(), // what it has to say is said here
		StartTimeout:     p.opts.StartTimeout + time.Minute,
		AutoMTLS:         p.opts.AutoMTLS,
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: p.opts.SocketDir},
		RunnerFunc:       r.prepare,
	}
	for _, v := range p.opts.versions {
		config.VersionedPlugins[v] = plugin.PluginSet{}
	}
	unwatch := context.AfterFunc(ctx, r.giveUp)
	defer unwatch()

	client := plugin.NewClient(config)
	addr, err := client.Start()
	if p.child == nil {
		removeAll(p.socketDir)
		switch {
		case ctx.Err() != nil:
			return p.failed(context.Cause(ctx), "the start was cancelled")
		case r.startErr != nil:
			return p.diagnose(r.startErr)
		}
		return p.failed(err, fmt.Sprintf("cannot be started: %v", err))
	}
	if err != nil {
		return p.abandon(ctx, began, fmt.Errorf("%w: %w", errNoHandshake, err), r.refused)
	}
	p.protocol = client.NegotiatedVersion()
	if err := p.introduce(ctx, addr, config.TLSConfig); err != nil {
		return p.abandon(ctx, began, err, nil)
	}
	return nil
}

var errNoHandshake = errors.New("no handshake")

// introduce connects and asks for the manifest and the health. go-plugin's own
// client is not used for this: it takes no context, and it leaks a connection
// when the process ends while it is being made.
func (p *Process) introduce(ctx context.Context, addr net.Addr, encrypt *tls.Config) error {
	creds := insecure.NewCredentials()
	if encrypt != nil {
		creds = credentials.NewTLS(encrypt)
	}
	dial := wire.DialOptions()
	if p.opts.StreamWindow > 0 {
		dial = append(dial, grpc.WithStaticStreamWindowSize(p.opts.StreamWindow))
	}
	conn, err := grpc.NewClient("passthrough:///localhost", append(dial,
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, addr.Network(), addr.String())
		}))...)
	if err != nil {
		return err
	}
	p.conn = conn
	p.pipes.Go(p.readStdio)
	res, err := p.Client().Describe(ctx, &pluginv1.DescribeRequest{HostVersion: p.opts.HostVersion})
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if p.manifest = res.GetManifest(); p.manifest == nil {
		return errors.New("describe: no manifest in the answer")
	}
	if err := p.ping(ctx); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	return nil
}

// abandon ends a process that did not start properly and says why.
func (p *Process) abandon(ctx context.Context, began time.Time, err error, refused *StartError) *StartError {
	timedOut := false
	if refused != nil {
		p.Kill(refused.Reason.Error())
	} else if !p.endsItself(ctx) {
		if timedOut = errors.Is(ctx.Err(), context.DeadlineExceeded); timedOut {
			p.setReason("it was not ready in time", true)
			p.quit()
		}
		p.Kill("it did not start")
	}
	p.finish()

	took := time.Since(began).Round(time.Millisecond)
	var e *StartError
	switch unshaken := errors.Is(err, errNoHandshake); {
	case refused != nil:
		return refused
	case p.exit.Reason == "" && unshaken && p.exit.Signal == nil && p.exit.Dump == "":
		e = p.failed(ErrNotPlugin, fmt.Sprintf("exited with status %d without a handshake: it is no Weir plugin, or one that fails while starting", p.exit.Status))
	case p.exit.Reason == "":
		e = p.failed(ErrCrashed, "while starting, it "+p.exit.how())
	case timedOut && unshaken:
		e = p.failed(ErrStartTimeout, fmt.Sprintf("no handshake within %v: it is no Weir plugin, or one that hangs while starting", took))
	case timedOut:
		e = p.failed(ErrStartTimeout, fmt.Sprintf("not ready within %v: %v", took, err))
	case ctx.Err() != nil:
		e = p.failed(context.Cause(ctx), "the start was cancelled")
	case unshaken:
		e = p.failed(ErrNotPlugin, "closed its standard output without a handshake: it is no Weir plugin")
	case status.Code(err) == codes.Unimplemented:
		e = p.failed(ErrNotPlugin, fmt.Sprintf("does not serve weir.plugin.v1: it is a plugin of another program (%v)", err))
	default:
		e = p.failed(err, fmt.Sprintf("failed while starting: %v", err))
	}
	e.Exit = p.exit
	return e
}

// endsItself gives a process whose pipes or connection broke a moment to end.
func (p *Process) endsItself(ctx context.Context) bool {
	grace := time.NewTimer(exitGrace)
	defer grace.Stop()
	select {
	case <-p.child.exited.Done():
	case <-grace.C:
	case <-ctx.Done():
	}
	select {
	case <-p.child.exited.Done():
		return true
	default:
		return false
	}
}

func (p *Process) failed(reason error, detail string) *StartError {
	return &StartError{Plugin: p.cmd.Name, Path: p.path, Reason: reason, Detail: detail}
}

package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/task"
	hostv1 "github.com/weirstream/weir/proto/weir/host/v1"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

const (
	// pingInterval and pingTimeout find out that a host is gone.
	pingInterval = time.Second
	pingTimeout  = 5 * time.Second
	// endTimeout is how long a stream may take to end when its epoch has.
	endTimeout = time.Second
	// acceptTimeout bounds the opening of a channel: connecting, and the other
	// side's being ready for it.
	acceptTimeout = expectTimeout + 5*time.Second
)

// Address says where a host is reached, and which instance of it is meant.
type Address struct {
	Address, Instance string
}

// Directory finds a host for one epoch of a pipeline; it fails where the host has no
// part in that.
type Directory func(r engine.Run, host string) (Address, error)

// Mesh is one host's connections with all others. It implements [engine.Peers].
// All methods may be called concurrently.
type Mesh struct {
	server *Server
	find   Directory
	creds  credentials.TransportCredentials

	mu    sync.Mutex
	conns map[Address]*conn
	pings sync.WaitGroup
}

var _ engine.Peers = (*Mesh)(nil)

// NewMesh returns a mesh that takes channels in through the server, and has no
// connection yet. Without creds it speaks plain text.
func NewMesh(s *Server, find Directory, creds credentials.TransportCredentials) *Mesh {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	return &Mesh{server: s, find: find, creds: creds, conns: map[Address]*conn{}}
}

// Close waits for the goroutines of connections that nobody uses any more.
func (m *Mesh) Close() { m.pings.Wait() }

// Accept implements [engine.Peers].
func (m *Mesh) Accept(r engine.Run, in engine.Inlets) (end func()) { return m.server.accept(r, in) }

// conn is the connection to one instance of a host.
type conn struct {
	host   string
	to     Address
	grpc   *grpc.ClientConn
	client hostv1.PeerClient
	ctx    context.Context // ends when the host does not answer, or nobody uses it
	cancel context.CancelCauseFunc
	users  int
}

// connect returns the connection to a host, which the caller lets go of.
func (m *Mesh) connect(r engine.Run, host string) (*conn, func(), error) {
	to, err := m.find(r, host)
	if err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.conns[to]
	if c == nil {
		opts := append(wire.DialOptions(), grpc.WithTransportCredentials(m.creds))
		g, err := grpc.NewClient("passthrough:///"+to.Address, opts...)
		if err != nil {
			return nil, nil, fmt.Errorf("address %s of host %s: %w", to.Address, host, err)
		}
		c = &conn{host: host, to: to, grpc: g, client: hostv1.NewPeerClient(g)}
		c.ctx, c.cancel = context.WithCancelCause(context.Background())
		m.conns[to] = c
		m.pings.Go(func() { m.ping(c) })
	}
	c.users++
	return c, sync.OnceFunc(func() { m.leave(c) }), nil
}

func (m *Mesh) leave(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.users--; c.users == 0 {
		m.drop(c, context.Canceled)
	}
}

// drop ends a connection; the lock is held.
func (m *Mesh) drop(c *conn, why error) {
	if m.conns[c.to] == c {
		delete(m.conns, c.to)
	}
	c.cancel(why)
}

// ping asks the host over and over whether it is there, and ends the connection
// when it is not.
func (m *Mesh) ping(c *conn) {
	defer c.grpc.Close()
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(c.ctx, pingTimeout)
		_, err := c.client.Ping(ctx, &hostv1.PingCall{ToHost: c.host, ToInstance: c.to.Instance})
		cancel()
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = fmt.Errorf("%w from %s within %v", errSilent, c.to.Address, pingTimeout)
			}
			m.mu.Lock()
			m.drop(c, err)
			m.mu.Unlock()
			return
		}
	}
}

func (m *Mesh) route(c *conn, r engine.Run) *hostv1.Route {
	id := m.server.identity()
	return &hostv1.Route{
		Cluster: id.Cluster, FromHost: id.Host, ToHost: c.host, ToInstance: c.to.Instance, Uid: r.UID, Epoch: r.Epoch,
	}
}

// Send implements [engine.Peers].
func (m *Mesh) Send(ctx context.Context, host string, r engine.Run, id edge.ID, from *edge.Input, ready func()) error {
	err := m.send(ctx, host, r, id, from, ready)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return m.broken(host, id, err)
}

// errSilent says that a host does not answer.
var errSilent = errors.New("no answer")

func (m *Mesh) broken(host string, id edge.ID, err error) error {
	silent := errors.Is(err, errSilent) || status.Code(err) == codes.Unavailable
	return &ChannelError{From: m.server.identity().Host, To: host, Channel: id, Unreachable: silent, Err: err}
}

func (m *Mesh) send(ctx context.Context, host string, r engine.Run, id edge.ID, from *edge.Input, ready func()) error {
	c, leave, err := m.connect(r, host)
	if err != nil {
		return err
	}
	defer leave()
	hello, err := proto.Marshal(&hostv1.Channel{Route: m.route(c, r), Edge: id.Edge, From: uint32(id.From), To: uint32(id.To)})
	if err != nil {
		return err
	}
	// What ends the stream says why.
	stream, cancel := context.WithCancelCause(metadata.AppendToOutgoingContext(context.WithoutCancel(ctx), channelKey, string(hello)))
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })()
	out, err := m.open(ctx, stream, cancel, c)
	if err != nil {
		return because(stream, err)
	}
	ready()
	// The stream is ended in good order with the epoch; one that is blocked then
	// has nothing more to say.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTimeout, func() { cancel(context.Canceled) }) })()
	// A receiver that ends the stream is to be noticed also where nothing is sent.
	gone := make(chan error, 1)
	sending, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		gone <- out.RecvMsg(&hostv1.ChannelEnd{})
		stop()
	}()
	for {
		it, err := from.Next(sending)
		if err == nil {
			if err = out.SendMsg(&it.Frame); err == nil {
				continue
			}
			it.Frame.Free()
		}
		switch {
		case ctx.Err() != nil:
			_ = out.CloseSend()
			<-gone // whatever it says: the receiver may have ended its epoch before
			return nil
		case errors.Is(err, edge.ErrProtocol):
			cancel(err)
			<-gone
			return err
		}
		if err = <-gone; err == nil {
			err = errors.New("the receiver ended it")
		}
		return because(stream, err)
	}
}

// open opens a stream and waits until the other side has accepted it.
func (m *Mesh) open(ctx, stream context.Context, cancel context.CancelCauseFunc, c *conn) (grpc.ClientStreamingClient[pluginv1.Frame, hostv1.ChannelEnd], error) {
	timer := time.AfterFunc(acceptTimeout, func() {
		cancel(fmt.Errorf("it was not accepted within %v", acceptTimeout))
	})
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	out, err := c.client.Channel(stream)
	if err != nil {
		return nil, err
	}
	header, err := out.Header()
	if err == nil && header == nil { // it was refused
		if err = out.RecvMsg(&hostv1.ChannelEnd{}); err == nil {
			err = errors.New("the receiver ended it at once")
		}
	}
	return out, err
}

// because prefers the reason for which a stream was ended from this side.
func because(stream context.Context, err error) error {
	if cause := context.Cause(stream); cause != nil {
		return cause
	}
	return err
}

// Split implements [engine.Peers].
func (m *Mesh) Split(ctx context.Context, host string, r engine.Run, enumerator task.ID, req *pluginv1.SplitRequest) error {
	id := edge.ID{Edge: "split request to " + enumerator.String(), From: int(req.GetReader())}
	c, leave, err := m.connect(r, host)
	if err == nil {
		defer leave()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, acceptTimeout)
		defer cancel()
		_, err = c.client.Split(ctx, &hostv1.SplitCall{Route: m.route(c, r), Node: enumerator.Node, Request: req})
	}
	if err != nil {
		return m.broken(host, id, err)
	}
	return nil
}

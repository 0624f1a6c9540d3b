package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
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
	// channelKey is the metadata key under which a stream says what it carries.
	channelKey = "weir-channel-bin"
	// expectTimeout is how long a stream waits for its epoch to begin here: hosts
	// open an epoch at their own pace.
	expectTimeout = 30 * time.Second
)

// Identity says which host this is. Another instance of it has nothing in common
// with the one before.
type Identity struct {
	Cluster, Host, Instance string
}

// Server takes the channels of other hosts in. All methods may be called
// concurrently.
type Server struct {
	hostv1.UnimplementedPeerServer
	grpc *grpc.Server

	mu      sync.Mutex
	id      Identity
	runs    map[engine.Run]*inlets
	changed chan struct{} // closed and replaced when runs changes
}

// inlets are what one epoch takes in.
type inlets struct {
	engine.Inlets
	ctx context.Context // ends with the epoch here
	use sync.WaitGroup  // streams that push into the channels

	mu    sync.Mutex
	taken map[edge.ID]bool
}

// NewServer returns a server that does not listen yet. Without creds it speaks
// plain text.
func NewServer(id Identity, creds credentials.TransportCredentials) *Server {
	s := &Server{id: id, runs: map[engine.Run]*inlets{}, changed: make(chan struct{})}
	opts := append(wire.ServerOptions(),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingTimeout, Timeout: pingTimeout}))
	if creds != nil {
		opts = append(opts, grpc.Creds(creds))
	}
	s.grpc = grpc.NewServer(opts...)
	hostv1.RegisterPeerServer(s.grpc, s)
	return s
}

// Renew makes the host another instance: what was meant for the former one is
// refused from now on.
func (s *Server) Renew(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id.Instance = instance
}

func (s *Server) identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Serve answers on a listener until Stop.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Stop ends all streams and the listener, and waits for them.
func (s *Server) Stop() { s.grpc.Stop() }

// accept expects the channels of an epoch until end is called, which waits for the
// streams into them.
func (s *Server) accept(r engine.Run, in engine.Inlets) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	i := &inlets{Inlets: in, ctx: ctx, taken: map[edge.ID]bool{}}
	s.mu.Lock()
	s.runs[r] = i
	s.announce()
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		if s.runs[r] == i {
			delete(s.runs, r)
		}
		s.announce()
		s.mu.Unlock()
		cancel()
		i.use.Wait()
	}
}

// announce wakes whoever waits for an epoch; the lock is held.
func (s *Server) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// expect waits until the epoch that a route names runs here, and takes part in it;
// the caller calls leave.
func (s *Server) expect(ctx context.Context, r *hostv1.Route) (i *inlets, leave func(), err error) {
	if err := s.meant(r.GetCluster(), r.GetToHost(), r.GetToInstance()); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, expectTimeout)
	defer cancel()
	run := engine.Run{UID: r.GetUid(), Epoch: r.GetEpoch()}
	for {
		s.mu.Lock()
		i, changed, newer := s.runs[run], s.changed, s.newer(run)
		if i != nil {
			i.use.Add(1)
		}
		s.mu.Unlock()
		switch {
		case i != nil:
			return i, i.use.Done, nil
		case newer != 0:
			return nil, nil, status.Errorf(codes.FailedPrecondition, "epoch %d is over: host %s runs epoch %d", run.Epoch, r.GetToHost(), newer)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, status.Errorf(codes.NotFound, "host %s does not run epoch %d of pipeline uid %s", r.GetToHost(), run.Epoch, run.UID)
		}
	}
}

// meant refuses what is for another host, or for an earlier life of this one.
func (s *Server) meant(cluster, host, instance string) error {
	id := s.identity()
	if cluster != id.Cluster || host != id.Host || instance != id.Instance {
		return status.Errorf(codes.FailedPrecondition,
			"this is host %s (instance %s) of cluster %q, not host %s (instance %s) of cluster %q: do two hosts advertise one address?",
			id.Host, id.Instance, id.Cluster, host, instance, cluster)
	}
	return nil
}

// newer is a later epoch of the same uid that runs here, or 0; the lock is held.
func (s *Server) newer(r engine.Run) uint64 {
	for other := range s.runs {
		if other.UID == r.UID && other.Epoch > r.Epoch {
			return other.Epoch
		}
	}
	return 0
}

// Channel implements [hostv1.PeerServer].
func (s *Server) Channel(stream grpc.ClientStreamingServer[pluginv1.Frame, hostv1.ChannelEnd]) error {
	hello, err := helloOf(stream.Context())
	if err != nil {
		return err
	}
	in, leave, err := s.expect(stream.Context(), hello.GetRoute())
	if err != nil {
		return err
	}
	defer leave()
	id := edge.ID{Edge: hello.GetEdge(), From: int(hello.GetFrom()), To: int(hello.GetTo())}
	ch, err := in.take(id)
	if err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- receive(stream, ch) }()
	select {
	case <-in.ctx.Done(): // what still comes is refused by the closed channel
		return status.Error(codes.Aborted, "the epoch is over here")
	case err = <-received:
	}
	if err == nil {
		return stream.SendAndClose(&hostv1.ChannelEnd{})
	}
	if in.ctx.Err() == nil {
		in.Broken(&ChannelError{From: hello.GetRoute().GetFromHost(), To: hello.GetRoute().GetToHost(), Channel: id, Err: err})
	}
	return status.Error(codes.Aborted, err.Error())
}

// helloOf reads what a stream says of itself.
func helloOf(ctx context.Context) (*hostv1.Channel, error) {
	hello := &hostv1.Channel{}
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get(channelKey)
	if len(values) != 1 {
		return nil, status.Errorf(codes.InvalidArgument, "a channel without %s", channelKey)
	}
	if err := proto.Unmarshal([]byte(values[0]), hello); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "%s: %v", channelKey, err)
	}
	return hello, nil
}

// take hands a channel to the one stream that feeds it.
func (i *inlets) take(id edge.ID) (*edge.Channel, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	ch := i.Channels[id]
	switch {
	case ch == nil:
		return nil, status.Errorf(codes.FailedPrecondition, "channel %s does not end here", id)
	case i.taken[id]:
		return nil, status.Errorf(codes.AlreadyExists, "channel %s is open already", id)
	}
	i.taken[id] = true
	return ch, nil
}

// receive pushes what a stream brings until the sender ends it.
func receive(stream grpc.ServerStream, ch *edge.Channel) error {
	for {
		var f wire.Frame
		if err := stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		it, err := edge.ItemOf(f)
		if err != nil {
			f.Free()
			return err
		}
		if err := ch.Push(stream.Context(), it); err != nil {
			return err
		}
	}
}

// Split implements [hostv1.PeerServer].
func (s *Server) Split(ctx context.Context, call *hostv1.SplitCall) (*hostv1.SplitAnswer, error) {
	in, leave, err := s.expect(ctx, call.GetRoute())
	if err != nil {
		return nil, err
	}
	defer leave()
	if call.GetRequest() == nil {
		return nil, status.Error(codes.InvalidArgument, "no request")
	}
	in.Split(task.ID{Node: call.GetNode(), Role: pluginv1.Role_ROLE_ENUMERATOR}, call.GetRequest())
	return &hostv1.SplitAnswer{}, nil
}

// Ping implements [hostv1.PeerServer].
func (s *Server) Ping(_ context.Context, call *hostv1.PingCall) (*hostv1.PingAnswer, error) {
	if err := s.meant(s.identity().Cluster, call.GetToHost(), call.GetToInstance()); err != nil {
		return nil, err
	}
	return &hostv1.PingAnswer{}, nil
}

package wire

import (
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
)

const (
	// ProtocolVersion is the major version of weir.plugin.v1, negotiated by
	// go-plugin: the highest that both sides know is used.
	ProtocolVersion = 1

	// PluginName is the name of the one go-plugin plugin that a process serves.
	PluginName = "weir"

	// MaxMessageBytes bounds every gRPC message in both directions. A batch is
	// far smaller; one record of the largest configurable size still fits.
	MaxMessageBytes = 256 << 20

	// windowBytes is the flow-control window of a stream: what one side may have
	// sent that the other has not read. It is part of a channel's bound.
	windowBytes = 1 << 20
	// connWindowBytes is the window of a connection, which all of a process's
	// tasks share. Its size bounds nothing: gRPC returns it as bytes arrive.
	connWindowBytes = 16 << 20
	bufferBytes     = 256 << 10
)

// Variables through which a plugin learns the numbers of the files that it
// inherits from its host.
const (
	// EnvLifeline: the file that ends when the host is gone or wants the plugin
	// gone; the plugin then exits at once.
	EnvLifeline = "WEIR_LIFELINE_FD"
	// EnvLock: a file to keep open and hand to no child; absent where there is none.
	EnvLock = "WEIR_LOCK_FD"
	// EnvStdout: the host's standard output, lent to components that write there;
	// absent where it is not.
	EnvStdout = "WEIR_STDOUT_FD"
	// EnvSecrets: names of the variables that hold secrets, by commas. No message of
	// the plugin repeats them; absent where there are none.
	EnvSecrets = "WEIR_SECRET_ENV"
)

// EnvOverwrite is set, to anything, by whoever tests a plugin: memory that a
// component must not use any more is overwritten at once, so that its use shows.
const EnvOverwrite = "WEIR_OVERWRITE"

// Handshake is what host and plugin show each other before they speak. It keeps
// a plugin from being started by hand by mistake; it is not a secret.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "WEIR_PLUGIN",
		MagicCookieValue: "weir.plugin",
	}
}

// DialOptions are the host's gRPC options for a plugin connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(Codec{}),
			grpc.MaxCallRecvMsgSize(MaxMessageBytes),
			grpc.MaxCallSendMsgSize(MaxMessageBytes),
		),
		grpc.WithStaticStreamWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(connWindowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		// A retry buffer would keep a copy of every message sent.
		grpc.WithDisableRetry(),
		// gRPC's own pool clears each buffer before it is read into.
		experimental.WithBufferPool(NewPool()),
	}
}

// ServerOptions are the plugin's gRPC options.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec{}),
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.StaticStreamWindowSize(windowBytes),
		grpc.InitialConnWindowSize(connWindowBytes),
		grpc.ReadBufferSize(bufferBytes),
		grpc.WriteBufferSize(bufferBytes),
		experimental.BufferPool(NewPool()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{PermitWithoutStream: true}),
	}
}

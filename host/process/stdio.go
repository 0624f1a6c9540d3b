package process

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weirstream/weir/proto/wire"
)

// Fields and values of go-plugin's plugin.StdioData.
const (
	stdioChannel = 1
	stdioData    = 2
	stdioStdout  = 1
)

// readStdio takes what go-plugin's stdio service sends: in a Go plugin it holds
// what is printed to os.Stdout and os.Stderr, and who does not read it blocks the
// printing plugin. A plugin without the service has none. It returns when the
// connection ends.
func (p *Process) readStdio() {
	ctx, cancel := context.WithCancel(p.child.exited)
	defer cancel()
	stream, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil {
		return
	}
	if stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	var writers [2]*io.PipeWriter // standard error, standard output
	for i := range writers {
		r, w := io.Pipe()
		writers[i] = w
		defer func() { _ = w.Close() }()
		p.pipes.Go(func() { p.out.readFrom(r, i == 1) })
	}
	for {
		var msg wire.Frame
		if stream.RecvMsg(&msg) != nil {
			return
		}
		data, stdout := parseStdio(msg.Data.Materialize())
		msg.Free()
		w := writers[0]
		if stdout {
			w = writers[1]
		}
		_, _ = w.Write(data)
	}
}

// parseStdio reads a plugin.StdioData, whose generated type go-plugin keeps to
// itself. What cannot be read is empty.
func parseStdio(b []byte) (data []byte, stdout bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return data, stdout
		}
		b = b[n:]
		switch {
		case num == stdioChannel && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			stdout = v == stdioStdout
		case num == stdioData && typ == protowire.BytesType:
			data, _ = protowire.ConsumeBytes(b)
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return data, stdout
		}
		b = b[n:]
	}
	return data, stdout
}

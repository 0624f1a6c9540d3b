package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

func TestHeaderReadsWhatFrameOfWrites(t *testing.T) {
	cases := map[Kind]*pluginv1.Frame{
		KindAttach:       {Kind: &pluginv1.Frame_Attach{Attach: &pluginv1.Attach{Task: &pluginv1.TaskRef{Uid: "u"}}}},
		KindBatch:        {Kind: &pluginv1.Frame_Batch{Batch: good()}},
		KindWatermark:    {Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: 5}}},
		KindBarrier:      {Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 9}}},
		KindAssign:       {Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{}}},
		KindNoMoreSplits: {Kind: &pluginv1.Frame_NoMoreSplits{NoMoreSplits: &pluginv1.NoMoreSplits{}}},
		KindSplitOpened:  {Kind: &pluginv1.Frame_SplitOpened{SplitOpened: &pluginv1.SplitOpened{Id: "s"}}},
		KindSplitEnded:   {Kind: &pluginv1.Frame_SplitEnded{SplitEnded: &pluginv1.SplitEnded{Id: "s"}}},
		KindIdle:         {Kind: &pluginv1.Frame_Idle{Idle: &pluginv1.Idle{}}},
	}
	for kind, m := range cases {
		m.Component, m.Port, m.Target = 1, 300, 70000
		f, err := FrameOf(m)
		if err != nil {
			t.Fatal(err)
		}
		h, err := f.Header()
		if err != nil || h.Kind != kind || h.Component != 1 || h.Port != 300 || h.Target != 70000 {
			t.Fatalf("kind %d: %+v, %v", kind, h, err)
		}
	}
}

func TestHeaderRefusesAFrameOutOfOrder(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"empty":                     {},
		"a header alone":            {0x08, 1},
		"a header behind the body":  {0x3a, 0, 0x08, 1},
		"two bodies":                {0x3a, 0, 0x32, 0},
		"a body that is cut short":  {0x32, 2, 0x08},
		"a body of absurd length":   {0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"a batch without a count":   {0x2a, 2, 0x12, 0},
		"a batch of no records":     {0x2a, 2, 0x08, 0},
		"a port beyond any":         {0x10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x3a, 0},
		"a header that is repeated": append(make([]byte, 0), repeat([]byte{0x08, 1}, 40)...),
	} {
		f := Frame{Data: mem.BufferSlice{mem.SliceBuffer(bytes)}}
		if h, err := f.Header(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func repeat(b []byte, n int) (out []byte) {
	for range n {
		out = append(out, b...)
	}
	return out
}

// TestRewriteLeavesTheBodyAndItsCounts rewrites frames that came in pieces of
// any size, beside a clone that must not notice.
func TestRewriteLeavesTheBodyAndItsCounts(t *testing.T) {
	p := NewPoisonedPool()
	want := []record{{key: []byte("k"), value: make([]byte, 3000), time: NoTime}}
	for _, piece := range []int{1, 2, 3, 5, 100, 1 << 20} {
		b := build(p, want)
		f := Encode(0, 200, 3, b)
		b.Release()
		f = asReceived(p, &f, piece)
		for _, to := range [][3]uint32{{0, 0, 0}, {1, 2, 3}, {1, 2, 3}, {0, 70000, 0}, {0, 0, 1 << 30}} {
			h, err := f.Header()
			if err != nil {
				t.Fatal(err)
			}
			g := f.Clone()
			f.Rewrite(h, to[0], to[1], to[2])
			if again, _ := g.Header(); again != h {
				t.Fatalf("the clone's header became %+v", again)
			}
			g.Free()
			if h, err = f.Header(); err != nil || [3]uint32{h.Component, h.Port, h.Target} != to {
				t.Fatalf("rewritten to %v: %+v, %v", to, h, err)
			}
		}
		d := mustDecode(t, p, &f)
		expectRecords(t, "rewritten", recordsOf(d), want)
		d.Release()
		expectNothingLive(t, p)
	}
}

// TestGRPCGivesBackWhatItSent sends batches through a server that echoes frames
// raw, and waits until every buffer of ours is back in the pool.
func TestGRPCGivesBackWhatItSent(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(ServerOptions(), grpc.UnknownServiceHandler(echo))...)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+socket, append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/echo/echo")
	if err != nil {
		t.Fatal(err)
	}
	p, rng := NewPoisonedPool(), newRand(t)
	for range 30 {
		rs := randomRecords(rng, 1+rng.IntN(1000))
		b := build(p, rs)
		out := Encode(0, 1, 2, b)
		b.Release()
		if err := stream.SendMsg(&out); err != nil {
			t.Fatal(err)
		}
		var in Frame
		if err := stream.RecvMsg(&in); err != nil {
			t.Fatal(err)
		}
		d := mustDecode(t, p, &in)
		expectRecords(t, "echoed", recordsOf(d), rs)
		d.Release()
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(Frame)); err != io.EOF {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	expectNothingLive(t, p)
}

func echo(_ any, stream grpc.ServerStream) error {
	for {
		var f Frame
		if err := stream.RecvMsg(&f); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := stream.SendMsg(&f); err != nil {
			return err
		}
	}
}

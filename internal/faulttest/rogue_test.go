//go:build linux

package faulttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// rogue is a third-party plugin written against the wire contract alone. Its one
// operator passes records on, and once it has seen some, it misbehaves in the way
// that it is told on the command line.
type rogue struct {
	pluginv1.UnimplementedPluginServer
	how  string
	hung atomic.Bool

	mu    sync.Mutex
	tasks map[string]*rogueTask
}

// calm is how many batches and barriers the operator passes on properly first.
const calm = 3

// playRogue serves it as a stranger would, with nothing but go-plugin.
func playRogue(how string) {
	r := &rogue{how: how, tasks: map[string]*rogueTask{}}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginName: roguePlugin{server: r}}},
		Logger:           hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, wire.ServerOptions()...)
			return grpc.NewServer(append(opts, grpc.UnaryInterceptor(r.intercept))...)
		},
	})
}

type roguePlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *rogue
}

func (p roguePlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, p.server)
	return nil
}

func (roguePlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// intercept answers nothing while the plugin hangs, the health service included.
func (r *rogue) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if r.hung.Load() {
		select {}
	}
	return next(ctx, req)
}

func (r *rogue) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Manifest: &pluginv1.Manifest{Name: "rogue", Version: "1", Components: []*pluginv1.Component{{
		Kind: pluginv1.Kind_KIND_OPERATOR, Name: "rogue", Summary: "Misbehaves.",
		Capabilities: &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true},
	}}}}, nil
}

func (r *rogue) Validate(context.Context, *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	return &pluginv1.ValidateResponse{Capabilities: &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true}}, nil
}

type rogueTask struct {
	rogue   *rogue
	mu      sync.Mutex
	control pluginv1.Plugin_ControlServer
	run     pluginv1.Plugin_RunServer
	ended   chan struct{}
	batches int
	passed  int // barriers
}

func taskKey(ref *pluginv1.TaskRef) string {
	return fmt.Sprint(ref.GetUid(), ref.GetEpoch(), ref.GetNode(), ref.GetIndex())
}

func (r *rogue) Control(s pluginv1.Plugin_ControlServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	t := &rogueTask{rogue: r, control: s, ended: make(chan struct{})}
	defer close(t.ended)
	r.mu.Lock()
	r.tasks[taskKey(first.GetOpen().GetTask())] = t
	r.mu.Unlock()
	for {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		switch req.Kind.(type) {
		case *pluginv1.ControlRequest_Restored:
			t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}})
			if r.how == "opened twice" {
				t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Opened{Opened: &pluginv1.Opened{}}})
			}
		case *pluginv1.ControlRequest_Close:
			if r.how == "does not close" {
				continue
			}
			t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}})
			return nil
		}
	}
}

// say sends on Control.
func (t *rogueTask) say(r *pluginv1.ControlResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.control.Send(r)
}

// snapshot delivers an empty one, or these entries.
func (t *rogueTask) snapshot(n uint64, entries ...*pluginv1.Entry) {
	if len(entries) > 0 {
		t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotPart{SnapshotPart: &pluginv1.SnapshotPart{Checkpoint: n, Entries: entries}}})
	}
	t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SnapshotDone{SnapshotDone: &pluginv1.SnapshotDone{Checkpoint: n}}})
}

func (r *rogue) Run(s pluginv1.Plugin_RunServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	r.mu.Lock()
	t := r.tasks[taskKey(first.GetAttach().GetTask())]
	r.mu.Unlock()
	t.run = s
	for {
		var f wire.Frame
		if err := s.RecvMsg(&f); err != nil {
			<-t.ended
			return err
		}
		h, err := f.Header()
		if err != nil {
			return err
		}
		switch h.Kind {
		case wire.KindBatch:
			t.batches++
			if t.batches > calm {
				if misbehave := misbehaviour[r.how]; misbehave != nil {
					switch misbehave(t, &f, h) {
					case swallow:
						f.Free()
						continue
					case end:
						return nil
					}
				}
			}
			f.Rewrite(h, 0, 0, 0)
		case wire.KindBarrier:
			m, err := f.Message()
			if err != nil {
				return err
			}
			t.passed++
			if t.passed > calm {
				if misbehave := atBarrier[r.how]; misbehave != nil {
					misbehave(t, m.GetBarrier())
					f.Free()
					continue
				}
			}
			if err := s.SendMsg(&f); err != nil {
				return err
			}
			t.snapshot(m.GetBarrier().GetCheckpoint())
			continue
		}
		if err := s.SendMsg(&f); err != nil {
			return err
		}
	}
}

func (t *rogueTask) frame(f *pluginv1.Frame) { _ = t.run.Send(f) }

// raw sends bytes as a frame.
func (t *rogueTask) raw(b []byte) {
	_ = t.run.SendMsg(&wire.Frame{Data: mem.BufferSlice{mem.SliceBuffer(b)}})
}

// stderr writes past what go-plugin put in the place of os.Stderr.
func stderr(s string) { _, _ = syscall.Write(2, []byte(s)) }

// verdict is what becomes of the batch at which the plugin misbehaves.
type verdict int

const (
	pass    verdict = iota // it goes on
	swallow                // it is gone
	end                    // and with it the stream
)

// misbehaviour is what happens at a batch.
var misbehaviour = map[string]func(t *rogueTask, f *wire.Frame, h wire.Header) verdict{
	"exits 0": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		os.Exit(0)
		return swallow
	},
	"exits 7": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		stderr("the model has no more quota\n")
		os.Exit(7)
		return swallow
	},
	"panics": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		go panic("the author's mistake")
		select {}
	},
	"kills itself": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	},
	"stops": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return pass
	},
	"hangs": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.rogue.hung.Store(true)
		select {}
	},
	"floods": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		stderr(strings.Repeat("nothing to see here\n", 5000))
		return pass
	},
	"prints": func(*rogueTask, *wire.Frame, wire.Header) verdict {
		fmt.Println("1|1|unix|/tmp/nowhere|grpc")
		_, _ = syscall.Write(1, []byte("to the real standard output\n"))
		return pass
	},
	"sends garbage": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.raw(bytes.Repeat([]byte{0xfe, 0x01}, 300))
		return swallow
	},
	"cuts a batch short": func(t *rogueTask, f *wire.Frame, _ wire.Header) verdict {
		t.raw(f.Data.Materialize()[:f.Len()/2])
		return swallow
	},
	"sends a huge frame": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Batch{Batch: &pluginv1.Batch{Records: 1, Payload: &pluginv1.Batch_Inline{Inline: make([]byte, 64<<20)}}}})
		return swallow
	},
	"sends to no output": func(t *rogueTask, f *wire.Frame, h wire.Header) verdict {
		f.Rewrite(h, 0, 17, 0)
		_ = t.run.SendMsg(f)
		return swallow
	},
	"sends for another": func(t *rogueTask, f *wire.Frame, h wire.Header) verdict {
		f.Rewrite(h, 5, 0, 0)
		_ = t.run.SendMsg(f)
		return swallow
	},
	"assigns splits": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.frame(&pluginv1.Frame{Target: 1, Kind: &pluginv1.Frame_Assign{Assign: &pluginv1.Assign{Splits: []*pluginv1.Split{{Id: "x"}}}}})
		return swallow
	},
	"asks for splits": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_SplitRequest{SplitRequest: &pluginv1.SplitRequest{Want: 1}}})
		return pass
	},
	"makes a barrier up": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: 1 << 40}}})
		return swallow
	},
	"makes a snapshot up": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.snapshot(1 << 40)
		return pass
	},
	"ends the data": func(*rogueTask, *wire.Frame, wire.Header) verdict { return end },
	"says that it is closed": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Closed{Closed: &pluginv1.Closed{}}})
		return pass
	},
	"does not close": func(t *rogueTask, _ *wire.Frame, _ wire.Header) verdict {
		t.say(&pluginv1.ControlResponse{Kind: &pluginv1.ControlResponse_Failed{Failed: &pluginv1.Failed{Error: &pluginv1.Error{Message: "no luck today"}}}})
		time.Sleep(time.Hour)
		return swallow
	},
}

// atBarrier is what happens in place of a barrier's answer.
var atBarrier = map[string]func(t *rogueTask, b *pluginv1.Barrier){
	"passes a barrier twice": func(t *rogueTask, b *pluginv1.Barrier) {
		for range 2 {
			t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
		}
		t.snapshot(b.Checkpoint)
	},
	"changes a barrier": func(t *rogueTask, b *pluginv1.Barrier) {
		t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: &pluginv1.Barrier{Checkpoint: b.Checkpoint, Roll: !b.Roll}}})
		t.snapshot(b.Checkpoint)
	},
	"snapshots twice": func(t *rogueTask, b *pluginv1.Barrier) {
		t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
		t.snapshot(b.Checkpoint)
		t.snapshot(b.Checkpoint)
	},
	"snapshots what it is not": func(t *rogueTask, b *pluginv1.Barrier) {
		t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
		t.snapshot(b.Checkpoint, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Component: 9, Content: &pluginv1.Entry_Payload{Payload: []byte("x")}})
	},
	"commits as an operator": func(t *rogueTask, b *pluginv1.Barrier) {
		t.frame(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
		t.snapshot(b.Checkpoint, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_COMMITTABLE, Content: &pluginv1.Entry_Payload{Payload: []byte("{}")}})
	},
}

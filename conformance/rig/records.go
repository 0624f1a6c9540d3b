package rig

import (
	"math"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Send gives records to a task, at the index of an input, as one batch or as many
// as they need.
func (s *Stage) Send(to, port int, records ...exchange.Record) {
	s.SendFrom(to, port, "", 0, records...)
}

// SendByKey gives each record to the task that owns its key.
func (s *Stage) SendByKey(port int, records ...exchange.Record) {
	parts := make([][]exchange.Record, len(s.Tasks))
	for _, r := range records {
		to := keygroup.Owner(keygroup.Of(r.Key, s.Open.groups()), s.Open.groups(), len(s.Tasks))
		parts[to] = append(parts[to], r)
	}
	for to, part := range parts {
		s.Send(to, port, part...)
	}
}

// Watermark tells every task, at each of its inputs, how far event time has come.
func (s *Stage) Watermark(time int64) {
	for i := range s.Tasks {
		for port := range s.Open.Chain[0].Inputs {
			s.SendMessage(i, &pluginv1.Frame{Port: uint32(port), Kind: &pluginv1.Frame_Watermark{Watermark: &pluginv1.Watermark{Time: time}}})
		}
	}
}

// EndOfTime sends every task the watermark that ends event time.
func (s *Stage) EndOfTime() { s.Watermark(math.MaxInt64) }

// SendFrom does the same with records that come from a split, from an ordinal on.
func (s *Stage) SendFrom(to, port int, split string, ordinal int64, records ...exchange.Record) {
	t := s.Tasks[to]
	w := t.pool.NewBuilder(BatchBytes)
	flush := func() {
		if b := w.Freeze(); b != nil {
			f := wire.Encode(0, uint32(port), 0, b)
			b.Release()
			t.in.put(f, wire.KindBatch)
		}
	}
	for i, r := range records {
		var h wire.Headers
		for _, x := range r.Headers {
			h = wire.AppendHeader(h, x.Name, x.Value)
		}
		if w.Size()+r.Size() > BatchBytes {
			flush()
		}
		w.Append(r.Key, r.Value, r.Time, h, split, ordinal+int64(i))
	}
	flush()
}

// SendMessage gives a frame that is no batch to a task.
func (s *Stage) SendMessage(to int, m *pluginv1.Frame) { s.Tasks[to].message(m) }

func (t *Task) message(m *pluginv1.Frame) {
	f, err := wire.FrameOf(m)
	if err != nil {
		t.stage.t.Fatalf("%v", err)
	}
	h, err := f.Header()
	if err != nil {
		t.stage.t.Fatalf("%v", err)
	}
	t.in.put(f, h.Kind)
}

// SendRaw gives bytes that may be no frame to a task.
func (s *Stage) SendRaw(to int, f wire.Frame) { s.Tasks[to].in.put(f, 0) }

// Sent is the number of bytes that a task's stream has taken.
func (s *Stage) Sent(to int) int { return s.Tasks[to].in.sent() }

// Output is the index of an output of the chain's last member, or -1.
func (s *Stage) Output(name string) int {
	last := s.Open.Chain[len(s.Open.Chain)-1]
	for i, o := range last.Outputs {
		if o.Output == name {
			return i
		}
	}
	return -1
}

// Received are the records that a task has sent by an output, in order.
func (s *Stage) Received(from int, output string) []Received {
	return received(s.Tasks[from].Events(), uint32(len(s.Open.Chain)-1), s.Output(output))
}

func received(events []Event, component uint32, port int) (out []Received) {
	for _, e := range events {
		if e.Kind == wire.KindBatch && e.Component == component && int(e.Port) == port {
			out = append(out, e.Records...)
		}
	}
	return out
}

// ReceivedAll are the records of all tasks by an output, task by task.
func (s *Stage) ReceivedAll(output string) (out []Received) {
	for i := range s.Tasks {
		out = append(out, s.Received(i, output)...)
	}
	return out
}

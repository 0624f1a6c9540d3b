package conformance

import (
	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// piece is records that go into one port.
type piece struct {
	port    int
	records []exchange.Record
}

// input makes n records for a component with an input: those of conformance.yaml
// over and over, or the kit's own.
func (t *T) input(n int) []piece {
	ports := t.Ports()
	given := t.entry.Input
	if given == nil || t.entry.Records.Value != nil {
		var out []piece
		for i := range ports {
			out = append(out, piece{i, t.Records((n + len(ports) - 1) / len(ports))})
		}
		return out
	}
	var out []piece
	for i, port := range ports {
		list := given[port]
		if i == 0 {
			list = append(append([]exchange.Record{}, given[""]...), list...)
		}
		if len(list) == 0 {
			continue
		}
		p := piece{port: i}
		for len(p.records) < (n+len(ports)-1)/len(ports) {
			p.records = append(p.records, list[len(p.records)%len(list)])
		}
		out = append(out, p)
	}
	return out
}

// ready puts something outside for a source to read; before it is opened.
func (t *T) ready() {
	if t.Component.GetKind() == pluginv1.Kind_KIND_SOURCE && t.entry.Feed != nil {
		t.Feed(t.Records(t.ordinary()))
	}
}

// drive gives every task of a stage some input; a source has it already.
func (t *T) drive(s *rig.Stage, n int) {
	if t.Component.GetKind() == pluginv1.Kind_KIND_SOURCE {
		return
	}
	for i := range s.Tasks {
		for _, p := range t.input(n) {
			if t.Left.GetKeyedState() {
				s.SendByKey(p.port, p.records...)
			} else {
				s.Send(i, p.port, p.records...)
			}
		}
	}
}

// outputs are the names of what the component sends, `errors` last.
func (t *T) outputs() []string {
	var out []string
	if t.Component.GetKind() != pluginv1.Kind_KIND_SINK {
		out = append(append(out, pipeline.OutputMain), t.Outputs...)
	}
	return append(out, pipeline.OutputErrors)
}

// settled waits for a checkpoint and does with its output what a host does.
func (t *T) settled(p *rig.Plugin, s *rig.Stage, options ...rig.BarrierOption) *rig.Cut {
	cut := s.Checkpoint(options...)
	cut.Complete()
	if all := cut.Committables(); len(all) > 0 {
		n := rig.Node{Member: s.Open.Chain[0], UID: s.Open.UID, Epoch: s.Open.Epoch}
		if err := p.TryCommit(t.ctx, n, all); err != nil {
			t.Fatalf("Commit of checkpoint %d: %v", cut.Checkpoint, err)
		}
		s.Committed(cut.Checkpoint)
	}
	return cut
}

package conformance

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Feed puts records where the source under test reads them. Each call is one more
// piece of input.
func (t *T) Feed(records []exchange.Record) {
	t.feeds++
	t.Logf("fed %d records (piece %d): %s", len(records), t.feeds, list(records))
	o := t.entry.Feed
	if o.Command == nil {
		t.feedByComponent(o, records)
		return
	}
	var in bytes.Buffer
	if err := exchange.Write(&in, o.Format, records); err != nil {
		t.Brokenf("%v", err)
	}
	if _, err := t.command("feed", o.Command, in.Bytes(), map[string]string{"FEED": fmt.Sprint(t.feeds)}, o.Timeout); err != nil {
		t.Brokenf("%s: %v", t.place(o), err)
	}
}

// Committed is what the outside says that the sink under test has committed.
func (t *T) Committed() []exchange.Record {
	o := t.entry.Read
	if o.Command == nil {
		return t.readByComponent(o)
	}
	out, err := t.command("read", o.Command, nil, nil, o.Timeout)
	if err != nil {
		t.Brokenf("%s: %v", t.place(o), err)
	}
	records, err := exchange.Read(bytes.NewReader(out), o.Format)
	if err != nil {
		t.Fatalf("what is read outside is no record: %v (the sink has written that, or %s prints another form)", err, t.place(o))
	}
	return records
}

// place says where something stands in conformance.yaml.
func (t *T) place(o *spec.Outside) string {
	return fmt.Sprintf("%s:%d:%d: %s", t.kit.config.Name(), o.Pos.Line, o.Pos.Column, o.Path)
}

// other starts a process of the plugin that serves a component of conformance.yaml
// and returns how to open it.
func (t *T) other(o *spec.Outside) (*rig.Plugin, rig.Open) {
	launcher, name := t.kit.launcherOf(o.Component)
	p := t.start(launcher, t.mark()+"-outside", 0) // it is not among those that the case looks at
	for _, c := range p.Manifest().GetComponents() {
		if c.GetName() != name || c.GetKind() != o.Kind {
			continue
		}
		configured, report := pipeline.CheckConfig(t.ctx, asked{p.Manifest(), p.Client()}, pipeline.Plugin{}, c, o.Config.Path, o.Config.Value, o.Config.Pos)
		for _, f := range report {
			if f.Severity == pipeline.SeverityFault {
				f.File = t.kit.config.Name()
				t.Brokenf("%s", f)
			}
		}
		m := &pluginv1.Member{
			Node: "outside", Component: name, Config: configured.Config, SecretPaths: configured.SecretPaths,
			OnFailure: &pluginv1.FailurePolicy{}, Guarantee: pluginv1.Guarantee_GUARANTEE_AT_LEAST_ONCE,
		}
		if o.Kind == pluginv1.Kind_KIND_SINK {
			m.Inputs = []*pluginv1.Inlet{{Port: "in", Partition: pluginv1.Partition_PARTITION_FORWARD}}
		} else {
			m.Outputs = []*pluginv1.Outlet{{Output: pipeline.OutputMain}}
		}
		return p, rig.Open{Kind: o.Kind, Chain: []*pluginv1.Member{m}, UID: fmt.Sprintf("%sx%d", t.uid, t.started), Epoch: 1, Parallelism: 1}
	}
	t.Brokenf("%s: there is no %s %q", t.place(o), pipeline.KindName(o.Kind), o.Component)
	return nil, rig.Open{}
}

func (t *T) feedByComponent(o *spec.Outside, records []exchange.Record) {
	p, open := t.other(o)
	s := p.Stage(open)
	s.Send(0, 0, records...)
	cut := s.Checkpoint(rig.End, rig.Roll)
	n := rig.Node{Member: open.Chain[0], UID: open.UID, Epoch: 1}
	if all := cut.Committables(); len(all) > 0 {
		if err := p.TryCommit(t.ctx, n, all); err != nil {
			t.Brokenf("%s: %v", t.place(o), err)
		}
	}
	s.Close()
}

func (t *T) readByComponent(o *spec.Outside) []exchange.Record {
	p, open := t.other(o)
	s := p.Stage(open)
	s.AwaitExhausted()
	var out []exchange.Record
	for _, r := range s.Checkpoint(rig.End).ReceivedAll(pipeline.OutputMain) {
		out = append(out, r.Record)
	}
	s.Close()
	return out
}

// launcherOf finds the plugin of a component as pipelines name it: NAME is first
// party, PLUGIN/NAME the plugin under test.
func (k *kit) launcherOf(ref string) (rig.Launcher, string) {
	if plugin, name, ok := strings.Cut(ref, "/"); ok && plugin == k.manifest.GetName() {
		return k.launcher, name
	}
	return k.firstParty, ref
}

// Own says whether a component of conformance.yaml is of the plugin under test.
func (k *kit) own(ref string) bool {
	plugin, _, ok := strings.Cut(ref, "/")
	return ok && plugin == k.manifest.GetName()
}

// list shows a few records.
func list(records []exchange.Record) string {
	const most = 5
	var b strings.Builder
	for i, r := range records {
		if i == most {
			fmt.Fprintf(&b, ", ... and %d more", len(records)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.String())
	}
	return b.String()
}

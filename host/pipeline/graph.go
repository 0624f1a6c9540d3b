package pipeline

import (
	"fmt"
	"slices"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// link is an edge on its way.
type link struct {
	from, to     *draft
	output, port string
	at           field // what in the file makes the edge
	partition    pluginv1.Partition
	partitionAt  field // absent where the partition follows from the rules
}

func (k *link) deadLetter() bool { return k.output == OutputErrors }

// ports lists a node's input ports; nil where its component is not known.
func (d *draft) ports() []*pluginv1.Port {
	if d.component == nil {
		return nil
	}
	if ports := d.component.spec.GetInputs(); len(ports) > 0 {
		return ports
	}
	return []*pluginv1.Port{{Name: PortMain}}
}

func (d *draft) portNames() []string {
	var names []string
	for _, p := range d.ports() {
		names = append(names, p.GetName())
	}
	return names
}

// outputNames lists what an input may name behind the dot.
func (d *draft) outputNames() []string {
	var names []string
	if d.kind != pluginv1.Kind_KIND_SINK {
		names = append(names, OutputMain)
		for _, o := range d.outputs {
			if o != OutputMain && o != OutputErrors {
				names = append(names, o)
			}
		}
	}
	return append(names, OutputErrors)
}

func (l *loader) nodeNames(but *draft) []string {
	var names []string
	for _, d := range l.nodes {
		if d != but && d.kind != pluginv1.Kind_KIND_SINK {
			names = append(names, d.name)
		}
	}
	return names
}

// connect makes links of the nodes' inputs.
func (l *loader) connect() {
	for _, d := range l.nodes {
		for _, word := range d.misspelt {
			name, _, _ := strings.Cut(word, ".")
			if from := l.byName[name]; from != nil {
				from.mentioned = true
			}
		}
		for _, c := range d.inputs {
			from := l.origin(d, c)
			port, ok := l.port(d, c)
			if from == nil || !ok {
				d.unresolved = true
				if from != nil {
					from.mentioned = true
				}
				continue
			}
			k := &link{from: from, to: d, output: c.output, port: port, at: c.at, partition: c.partition, partitionAt: c.partitionAt}
			if slices.ContainsFunc(d.in, k.same) {
				l.fault(c.at, CodeDuplicateEdge, "remove one of them", "%s.%s leads into port %q twice", from.name, c.output, port)
				continue
			}
			l.join(k)
		}
	}
}

func (k *link) same(o *link) bool {
	return k.from == o.from && k.to == o.to && k.output == o.output && k.port == o.port
}

func (l *loader) join(k *link) {
	k.from.out = append(k.from.out, k)
	k.to.in = append(k.to.in, k)
}

// origin finds the node that a connection comes from, and checks its output.
func (l *loader) origin(d *draft, c connection) *draft {
	from := l.byName[c.node]
	if from == nil {
		names := l.nodeNames(d)
		if meant := l.byName[Nearest(c.node, names)]; meant != nil {
			meant.mentioned = true
		}
		l.fault(c.at, CodeUnknownNode, Suggest(c.node, names), "there is no node %q", c.node)
		return nil
	}
	names := from.outputNames()
	switch {
	case from.kind == pluginv1.Kind_KIND_UNSPECIFIED || from.kind != pluginv1.Kind_KIND_SINK && (from.component == nil || !from.outputsKnown):
		return from
	case slices.Contains(names, c.output):
		return from
	case from.kind == pluginv1.Kind_KIND_SINK:
		l.fault(c.at, CodeSinkAsInput, fmt.Sprintf("read from the node before it; the records that it fails are %s.%s", from.name, OutputErrors),
			"%q is a sink: nothing comes out of it", from.name)
	default:
		l.fault(c.at, CodeUnknownOutput, Suggest(c.output, names), "%q has no output %q", from.name, c.output)
	}
	from.mentioned = true
	return nil
}

// port finds the port that a connection leads into.
func (l *loader) port(d *draft, c connection) (string, bool) {
	names := d.portNames()
	switch {
	case d.component == nil && c.port != "":
		return c.port, true
	case d.component == nil:
		return PortMain, true
	case c.port != "" && slices.Contains(names, c.port):
		return c.port, true
	case c.port != "":
		if !d.portFault {
			hint := Suggest(c.port, names)
			if form := []string{"from", "partition"}; Nearest(c.port, names) == "" && Nearest(c.port, form) != "" {
				hint = Suggest(c.port, form)
			}
			l.faultKey(c.portAt, CodeUnknownPort, hint, "%s has no input port %q", d.component.fullName(), c.port)
		}
	case len(names) == 1:
		return names[0], true
	case !d.portFault:
		d.portFault = true
		l.faultKey(d.inputAt, CodeUnknownPort, "write {PORT: NODE, ...}", "%s has the input ports %s: say what goes where", d.component.fullName(), enumerate(names))
	}
	return "", false
}

// checkGraph looks at the links as a whole.
func (l *loader) checkGraph() {
	for _, d := range l.nodes {
		if d.kind != pluginv1.Kind_KIND_SOURCE {
			l.checkInputs(d)
		}
		if d.kind != pluginv1.Kind_KIND_SINK && d.kind != pluginv1.Kind_KIND_UNSPECIFIED {
			l.checkOutputs(d)
		}
	}
	l.cycles()
}

// checkInputs reports a node that nothing reaches, and ports that are left open.
func (l *loader) checkInputs(d *draft) {
	if d.unresolved {
		return
	}
	if len(d.in) == 0 {
		if d.kind != pluginv1.Kind_KIND_UNSPECIFIED {
			l.faultKey(d.at, CodeMissingInput, "add input: NODE", "nothing leads into this %s", KindName(d.kind))
		}
		return
	}
	for _, p := range d.ports() {
		connected := slices.ContainsFunc(d.in, func(k *link) bool { return k.port == p.GetName() })
		if !connected && !p.GetOptional() {
			at := d.at
			if d.inputAt.present() {
				at = d.inputAt
			}
			l.faultKey(at, CodeMissingInput, fmt.Sprintf("write input: {%s: NODE, ...}", p.GetName()), "nothing leads into port %q of %s", p.GetName(), d.component.fullName())
		}
	}
}

// checkOutputs reports outputs that lead nowhere. Only a component that names
// its own outputs may leave "out" open, since it need not send anything there.
func (l *loader) checkOutputs(d *draft) {
	leads := func(output string) bool {
		return slices.ContainsFunc(d.out, func(k *link) bool { return k.output == output })
	}
	if d.mentioned {
		return
	}
	own := d.component != nil && d.component.spec.GetDynamicOutputs()
	if !leads(OutputMain) && (!own || !slices.ContainsFunc(d.out, func(k *link) bool { return !k.deadLetter() })) {
		l.faultKey(d.at, CodeLeadsNowhere, "name it as the input of another node", "the output of this %s leads nowhere", KindName(d.kind))
		return
	}
	if d.component != nil && !d.sound {
		return // its outputs may be others once the configuration is mended
	}
	for _, output := range d.outputs {
		if output != OutputErrors && !leads(output) && (output != OutputMain || own) {
			l.warn(d.at, CodeLeadsNowhere, fmt.Sprintf("connect it with input: %s.%s", d.name, output),
				"its output %q leads nowhere: what is sent there is counted and dropped", output)
		}
	}
}

package pipeline

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// deadLetters makes links of the failure policies, and settles the policy of
// every node.
func (l *loader) deadLetters() {
	for _, d := range l.nodes {
		if d.failure != nil && d.failure.target != "" {
			if target := l.deadLetterTarget(d.failure); target != nil {
				l.deadLetter(d, target, d.failure.targetAt)
			}
		}
	}
	l.defaultDeadLetters()
	for _, d := range l.nodes {
		for _, k := range d.out {
			if k.deadLetter() && d.failure.policy.GetAction() != pluginv1.FailurePolicy_ACTION_DEAD_LETTER {
				l.fault(k.at, CodeNoDeadLetters, "give it on_error: {dead_letter: "+k.to.name+"}",
					"nothing comes out of %s.%s: its on_error does not send failed records anywhere", d.name, OutputErrors)
			}
		}
	}
}

// defaultDeadLetters applies the pipeline's policy to nodes without their own.
// Its target and the nodes behind that cannot send their failures to the
// target: they fail instead.
func (l *loader) defaultDeadLetters() {
	var target *draft
	if l.failure.target != "" {
		target = l.deadLetterTarget(l.failure)
	}
	behind := make(map[*draft]bool)
	var mark func(d *draft)
	mark = func(d *draft) {
		if behind[d] {
			return
		}
		behind[d] = true
		for _, k := range d.out {
			mark(k.to)
		}
	}
	if target != nil {
		mark(target)
	}
	for _, d := range l.nodes {
		if d.failure != nil {
			continue
		}
		d.failure = l.failure
		if behind[d] {
			policy := proto.CloneOf(l.failure.policy)
			policy.Action, policy.Limit, policy.LimitWindow = pluginv1.FailurePolicy_ACTION_FAIL, 0, nil
			d.failure = &failure{policy: policy}
		} else if target != nil {
			l.deadLetter(d, target, l.failure.targetAt)
		}
	}
}

func (l *loader) deadLetterTarget(f *failure) *draft {
	target := l.byName[f.target]
	var names []string
	for _, d := range l.nodes {
		if d.kind != pluginv1.Kind_KIND_SOURCE {
			names = append(names, d.name)
		}
	}
	switch {
	case target == nil:
		if meant := l.byName[Nearest(f.target, names)]; meant != nil {
			meant.unresolved = true
		}
		l.fault(f.targetAt, CodeDeadLetter, Suggest(f.target, names), "there is no node %q for dead letters", f.target)
	case target.kind == pluginv1.Kind_KIND_SOURCE:
		l.fault(f.targetAt, CodeDeadLetter, "", "%q is a source: dead letters cannot go there", f.target)
	case len(target.ports()) > 1 && !slices.Contains(target.portNames(), PortMain):
		l.fault(f.targetAt, CodeDeadLetter, "", "%q has the input ports %s: dead letters need a node with one", f.target, enumerate(target.portNames()))
	default:
		return target
	}
	return nil
}

// deadLetter links a node's failures to their target, unless an input of the
// target names them already.
func (l *loader) deadLetter(d, target *draft, at field) {
	port := PortMain
	if names := target.portNames(); len(names) == 1 {
		port = names[0]
	}
	k := &link{from: d, to: target, output: OutputErrors, port: port, at: at}
	if !slices.ContainsFunc(target.in, k.same) {
		l.join(k)
	}
}

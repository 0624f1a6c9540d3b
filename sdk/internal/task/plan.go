package task

import (
	"errors"
	"fmt"
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// plan checks what Open asks for and lays the chain out. Nothing is opened yet.
func (t *task) plan() error {
	open := t.open
	ref := open.GetTask()
	switch {
	case ref.GetUid() == "" || ref.GetNode() == "":
		return errors.New("the task has no uid or no node")
	case open.GetParallelism() == 0:
		return errors.New("the parallelism is 0")
	case !t.enumerates() && ref.GetIndex() >= open.GetParallelism():
		return fmt.Errorf("index %d at parallelism %d", ref.GetIndex(), open.GetParallelism())
	case len(open.GetChain()) == 0:
		return errors.New("the chain is empty")
	case open.GetChain()[0].GetNode() != ref.GetNode():
		return fmt.Errorf("the chain begins with node %q", open.GetChain()[0].GetNode())
	}
	chain := open.GetChain()
	if t.enumerates() {
		chain = chain[:1]
	}
	for i, spec := range chain {
		m, err := t.planMember(i, spec)
		if err != nil {
			return fmt.Errorf("node %q: %w", spec.GetNode(), err)
		}
		t.members = append(t.members, m)
	}
	if t.enumerates() {
		if !t.members[0].isSource() {
			return fmt.Errorf("component %q is no source, so it has no enumerator", t.members[0].spec.GetComponent())
		}
		return nil
	}
	// From the end, since whether a member's output needs its origin depends on
	// those behind it.
	for i := len(t.members) - 1; i >= 0; i-- {
		if err := t.members[i].connect(); err != nil {
			return fmt.Errorf("node %q: %w", t.members[i].spec.GetNode(), err)
		}
	}
	return nil
}

// planMember finds the component: the head may be of any kind, those behind it
// operators, the last one an operator or a sink.
func (t *task) planMember(i int, spec *pluginv1.Member) (*member, error) {
	kinds := []pluginv1.Kind{pluginv1.Kind_KIND_OPERATOR}
	if i == 0 {
		kinds = append(kinds, pluginv1.Kind_KIND_SOURCE)
	}
	if i == len(t.open.GetChain())-1 {
		kinds = append(kinds, pluginv1.Kind_KIND_SINK)
	}
	comp, err := t.pick(i, spec, kinds)
	if err != nil {
		return nil, err
	}
	m := &member{
		task:     t,
		index:    i,
		spec:     spec,
		comp:     comp,
		failures: newFailures(t.pool, t.late),
		single:   t.pool.NewBuilder(t.limits.record),
	}
	if m.policy, err = newPolicy(spec.GetOnFailure(), t.limits.checkpoint); err != nil {
		return nil, err
	}
	if spec.GetEventTime() != nil {
		if comp.Spec.GetKind() == pluginv1.Kind_KIND_SINK {
			return nil, errors.New("event_time on a sink")
		}
		m.timing, err = newTiming(m)
	}
	return m, err
}

// pick resolves a component name, which may serve a source and a sink at once: a
// member without inputs is a source, one without outputs a sink.
func (t *task) pick(i int, spec *pluginv1.Member, kinds []pluginv1.Kind) (*Component, error) {
	var found []*Component
	for _, kind := range kinds {
		if c := t.server.components[componentKey{kind, spec.GetComponent()}]; c != nil {
			found = append(found, c)
		}
	}
	if len(found) > 1 {
		source := i == 0 && (t.enumerates() || len(spec.GetInputs()) == 0)
		found = slices.DeleteFunc(found, func(c *Component) bool {
			if source {
				return c.Spec.GetKind() != pluginv1.Kind_KIND_SOURCE
			}
			return c.Spec.GetKind() == pluginv1.Kind_KIND_SOURCE
		})
	}
	if len(found) > 1 {
		sink := !slices.ContainsFunc(spec.GetOutputs(), func(o *pluginv1.Outlet) bool { return o.GetOutput() != errorsOutput })
		found = slices.DeleteFunc(found, func(c *Component) bool {
			return (c.Spec.GetKind() == pluginv1.Kind_KIND_SINK) != sink
		})
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("plugin %q has no component %q that can stand at place %d of a chain of %d",
			t.server.manifest.GetName(), spec.GetComponent(), i+1, len(t.open.GetChain()))
	}
	return found[0], nil
}

// connect lays out a member's outputs; the members behind it are connected.
func (m *member) connect() error {
	m.needsOrigin = m.policy.action == pluginv1.FailurePolicy_ACTION_DEAD_LETTER
	// A source's stage knows the split of what was read, but not the ordinal of what
	// it fails.
	timed := m.timing != nil && (!m.isSource() || m.needsOrigin)
	for port, spec := range m.spec.GetOutputs() {
		name := spec.GetOutput()
		switch {
		case name != errorsOutput && !m.declares(name):
			return fmt.Errorf("component %q has no output %q", m.spec.GetComponent(), name)
		case spec.GetTargets() > 0:
			return fmt.Errorf("output %q: this version of the SDK does not partition outputs itself", name)
		case spec.GetExclusive() && !spec.GetChained():
			return fmt.Errorf("output %q is exclusive but not chained", name)
		}
		o := &outlet{member: m, task: m.task, name: name, port: uint32(port), exclusive: spec.GetExclusive(), needsOrigin: spec.GetOrigin() || timed}
		if spec.GetChained() {
			if m.index+1 >= len(m.task.members) {
				return fmt.Errorf("output %q is chained, but no member follows", name)
			}
			o.next = m.task.members[m.index+1]
			in, err := o.next.inputPort(spec.GetChainedPort())
			if err != nil {
				return err
			}
			o.nextPort = in
			o.needsOrigin = o.needsOrigin || o.next.needsOrigin
		}
		o.gather = m.task.pool.NewBuilder(m.task.limits.batch)
		o.gather.SetOrigin(o.needsOrigin || name == errorsOutput)
		m.needsOrigin = m.needsOrigin || o.needsOrigin
		m.outlets = append(m.outlets, o)
		if name == errorsOutput {
			m.errors = o
		}
	}
	if m.errors == nil && m.policy.action == pluginv1.FailurePolicy_ACTION_DEAD_LETTER {
		return errors.New("failed records are to be dead-lettered, but the errors output leads nowhere")
	}
	m.col = newCollector(m, "")
	m.col.spill = m.spill
	return nil
}

// inputPort returns the number of the input port of that name.
func (m *member) inputPort(name string) (int, error) {
	for i, in := range m.spec.GetInputs() {
		if in.GetPort() == name || name == "" && i == 0 {
			return i, nil
		}
	}
	if len(m.spec.GetInputs()) == 0 {
		return 0, nil
	}
	return 0, fmt.Errorf("member %q has no input %q", m.spec.GetNode(), name)
}

// declares says whether the component has an output of that name.
func (m *member) declares(name string) bool {
	if name == mainOutput || m.comp.Spec.GetDynamicOutputs() {
		return name != errorsOutput
	}
	return slices.ContainsFunc(m.comp.Spec.GetOutputs(), func(o *pluginv1.Output) bool { return o.GetName() == name })
}

package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/internal/task"
)

// maxParallelism is the number of key groups.
const maxParallelism = 128

// host plays the host's part for one component.
type host struct {
	settings
	t      testing.TB
	server *task.Server
	spec   *pluginv1.Component
	config []byte
	// outputs are those that the component has, "errors" last.
	outputs []string
	inputs  []string
	plugin  *wire.Pool // of the component: overwrites what is released
	own     *wire.Pool
}

// newHost checks component and configuration as a host does before it starts.
func newHost(t testing.TB, c sdk.Component, kind pluginv1.Kind, config any, watch func(*task.Component), options []Option) (*host, error) {
	t.Helper()
	def, err := definition(c)
	if err != nil {
		return nil, err
	}
	if def.Spec.Kind != kind {
		return nil, fmt.Errorf("component %q is %s", def.Spec.Name, def.Spec.Kind)
	}
	raw, err := configJSON(config)
	if err != nil {
		return nil, err
	}
	valid := def.Validate(raw, nil)
	if err := faultsError(valid.Faults); err != nil {
		return nil, err
	}
	watched := *def
	watch(&watched)
	h := &host{
		settings: newSettings(options),
		t:        t,
		spec:     def.Spec,
		config:   raw,
		inputs:   []string{"in"},
		plugin:   wire.NewPoisonedPool(),
		own:      wire.NewPool(),
	}
	if h.fast {
		h.plugin = wire.NewPool()
	}
	h.server = task.NewServer(task.Plugin{Name: "test"}, []*task.Component{&watched}, task.Options{
		Pool: h.plugin, CloseTimeout: h.timeout, Clock: h.clock,
	})
	if len(def.Spec.Inputs) > 0 {
		h.inputs = nil
		for _, p := range def.Spec.Inputs {
			h.inputs = append(h.inputs, p.Name)
		}
	}
	if kind != pluginv1.Kind_KIND_SINK {
		h.outputs = append(h.outputs, "out")
	}
	for _, o := range slices.Concat(def.Spec.Outputs, valid.Outputs) {
		h.outputs = append(h.outputs, o.Name)
	}
	h.outputs = append(h.outputs, "errors")
	t.Cleanup(h.close)
	return h, nil
}

func definition(c sdk.Component) (*task.Component, error) {
	def, err := c.Definition()
	if err == nil && def == nil {
		err = errors.New("a component that no constructor has made")
	}
	return def, err
}

func configJSON(config any) ([]byte, error) {
	switch c := config.(type) {
	case nil:
		return []byte("{}"), nil
	case string:
		return []byte(c), nil
	case []byte:
		return c, nil
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("the test's configuration as JSON: %w", err)
	}
	return raw, nil
}

// close ends the server and looks for what was never released. Tasks are closed
// before: cleanups run in reverse.
func (h *host) close() {
	h.server.Close()
	if h.t.Failed() {
		return
	}
	if batches, _ := h.plugin.Live(); batches != 0 {
		h.t.Errorf("%d batches are still held: each Hold needs a Release", batches)
	}
}

func (h *host) context() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), h.timeout,
		fmt.Errorf("the component did not answer within %v", h.timeout))
}

func (h *host) protoOwner() *pluginv1.Owner {
	return &pluginv1.Owner{
		Cluster: h.owner.Cluster, Pipeline: h.owner.Pipeline, Uid: h.owner.UID, Node: h.owner.Node, Epoch: h.owner.Epoch,
	}
}

// chain is the task's one member.
func (h *host) chain() []*pluginv1.Member {
	m := &pluginv1.Member{
		Node:      h.owner.Node,
		Component: h.spec.Name,
		Config:    h.config,
		Guarantee: pluginv1.Guarantee_GUARANTEE_AT_LEAST_ONCE,
		OnFailure: h.onFailure(),
	}
	if h.guarantee == sdk.ExactlyOnce {
		m.Guarantee = pluginv1.Guarantee_GUARANTEE_EXACTLY_ONCE
	}
	if h.spec.Kind != pluginv1.Kind_KIND_SOURCE {
		for _, name := range h.inputs {
			m.Inputs = append(m.Inputs, &pluginv1.Inlet{Port: name})
		}
	}
	for _, name := range h.outputs {
		m.Outputs = append(m.Outputs, &pluginv1.Outlet{Output: name, Origin: !h.fast})
	}
	if h.spec.GetCapabilities().GetKeyedState() {
		first, last := keygroup.Range(h.index, maxParallelism, h.parallelism)
		if h.onDisk {
			m.State = pluginv1.StateBackend_STATE_BACKEND_ON_DISK
		}
		m.KeyGroups = &pluginv1.KeyGroups{First: uint32(first), Last: uint32(last)}
	}
	return []*pluginv1.Member{m}
}

// Error is an error of a component as a host sees it.
type Error struct {
	Message string
	// Retry and Fatal say how it was marked.
	Retry, Fatal bool
}

func (e *Error) Error() string { return e.Message }

func newError(e *pluginv1.Error) error {
	if e == nil {
		return nil
	}
	return &Error{
		Message: e.Message,
		Retry:   e.Class == pluginv1.Error_CLASS_RETRY,
		Fatal:   e.Class == pluginv1.Error_CLASS_FATAL,
	}
}

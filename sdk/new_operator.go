package sdk

import (
	"context"
	"reflect"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/task"
)

// NewOperator declares an operator. open makes an instance for a task; its context
// ends when the task is told to stop before it is open. See [PreservesOrder],
// [PreservesKey], [Inputs], [Outputs].
func NewOperator[Cfg any, T Operator](
	name, summary string,
	open func(ctx context.Context, cfg *Cfg, t *Task) (T, error),
	options ...Option,
) Component {
	d, s := declare[Cfg](pluginv1.Kind_KIND_OPERATOR, name, summary, Capabilities{}, options)
	t := reflect.TypeFor[T]()
	_, flush := t.MethodByName("Flush")
	d.unlessOfType(implements[Flusher](t), flush, "Flusher")
	_, watermark := t.MethodByName("OnWatermark")
	d.unlessOfType(implements[WatermarkHandler](t), watermark, "WatermarkHandler")

	return finish(d, s, &task.Component{
		OpenOperator: func(ctx context.Context, raw []byte, env *task.Env) (task.Operator, error) {
			cfg, _, hidden, err := s.open(raw, env.SecretPaths)
			if err != nil {
				return nil, err
			}
			t := taskOf(env)
			inner, err := open(ctx, cfg, t)
			if err == nil {
				err = t.checkState(inner)
			}
			if err != nil {
				return nil, hidden.in(err)
			}
			o := &operator{inner: inner, states: t.taskStates, inputs: env.Inputs, held: env.Held, secrets: hidden}
			o.flusher, _ = any(inner).(Flusher)
			o.watermark, _ = any(inner).(WatermarkHandler)
			return o, nil
		},
	})
}

// operator serves an Operator.
type operator struct {
	inner     Operator
	states    taskStates
	flusher   Flusher          // nil where it is none
	watermark WatermarkHandler // nil where it is none
	inputs    []string
	held      *task.Held
	secrets   secrets
	out       Collector // for one call at a time
}

func (o *operator) Process(ctx context.Context, port int, in *wire.Batch, out *task.Output) error {
	o.out.out, o.out.secrets = out, o.secrets
	return o.secrets.in(o.inner.Process(ctx, &Batch{in, inputName(o.inputs, port), o.held}, &o.out))
}

func (o *operator) OnWatermark(ctx context.Context, t int64, out *task.Output) error {
	if o.watermark == nil {
		return nil
	}
	o.out.out, o.out.secrets = out, o.secrets
	return o.secrets.in(o.watermark.OnWatermark(ctx, UnixNano(t), &o.out))
}

func (o *operator) Flush(ctx context.Context, final bool, out *task.Output) error {
	if o.flusher == nil {
		return nil
	}
	o.out.out, o.out.secrets = out, o.secrets
	return o.secrets.in(o.flusher.Flush(ctx, final, &o.out))
}

func (o *operator) Snapshot(context.Context) ([]*pluginv1.Entry, error) { return o.states.snapshot() }

func (o *operator) Close() error { return o.secrets.in(o.inner.Close()) }

// defaultInput is the port of a component that declares none.
const defaultInput = "in"

func inputName(inputs []string, port int) string {
	if port < len(inputs) {
		return inputs[port]
	}
	return defaultInput
}

package sdk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
	"github.com/weirstream/weir/sdk/internal/state"
	"github.com/weirstream/weir/sdk/internal/task"
)

// NewKeyedOperator declares an operator with state by key. Edges into it are
// partitioned by key, save into a port declared with [Broadcast]. open opens its
// states; see [NewOperator] for all else.
func NewKeyedOperator[Cfg any, T KeyedOperator](
	name, summary string,
	open func(ctx context.Context, cfg *Cfg, t *Task) (T, error),
	options ...Option,
) Component {
	d, s := declare[Cfg](pluginv1.Kind_KIND_OPERATOR, name, summary, Capabilities{keyedState: true}, options)
	t := reflect.TypeFor[T]()
	_, timer := t.MethodByName("OnTimer")
	d.unlessOfType(implements[TimerHandler](t), timer, "TimerHandler")
	_, flush := t.MethodByName("Flush")
	d.unlessOfType(implements[Flusher](t), flush, "Flusher")
	_, watermark := t.MethodByName("OnWatermark")
	d.unlessOfType(implements[WatermarkHandler](t), watermark, "WatermarkHandler")
	_, broadcast := t.MethodByName("ProcessBroadcast")
	d.unlessOfType(implements[BroadcastHandler](t), broadcast, "BroadcastHandler")
	ports := map[string]bool{}
	for _, p := range d.spec.Inputs {
		switch p.Partition {
		case pluginv1.Partition_PARTITION_BROADCAST:
			ports[p.Name] = true
			if !broadcast {
				d.fault("the input %q is Broadcast, and there is no ProcessBroadcast", p.Name)
			}
		case pluginv1.Partition_PARTITION_UNSPECIFIED, pluginv1.Partition_PARTITION_KEY:
		default:
			d.fault("the input %q leads into keyed state: its partition is Key or Broadcast", p.Name)
		}
	}
	return finish(d, s, &task.Component{
		OpenOperator: func(ctx context.Context, raw []byte, env *task.Env) (task.Operator, error) {
			cfg, _, hidden, err := s.open(raw, env.SecretPaths)
			if err != nil {
				return nil, err
			}
			t := taskOf(env)
			if t.keyed, err = restoreKeyed(t, env, d.disk); err != nil {
				return nil, err
			}
			inner, err := open(ctx, cfg, t)
			if err == nil {
				err = t.checkState(inner)
			}
			if err != nil {
				return nil, errors.Join(hidden.in(err), t.keyed.Close())
			}
			o := &keyedOperator{
				inner: inner, task: t, keyed: t.keyed, again: env.Again, secrets: hidden,
				inputs: env.Inputs, held: env.Held, broadcasts: make([]bool, max(1, len(env.Inputs))),
			}
			for i, port := range env.Inputs {
				o.broadcasts[i] = ports[port]
			}
			o.timer, _ = any(inner).(TimerHandler)
			o.flusher, _ = any(inner).(Flusher)
			o.watermark, _ = any(inner).(WatermarkHandler)
			o.broadcast, _ = any(inner).(BroadcastHandler)
			return o, nil
		},
	})
}

// restoreKeyed makes a task's keyed state of what was restored. What is left in the
// task is state that belongs to no key.
func restoreKeyed(t *Task, env *task.Env, disk state.Disk) (*state.Keyed, error) {
	g := env.KeyGroups
	if g == nil {
		return nil, Fatal(errors.New("the host gave the task no key groups: it is too old for state by key"))
	}
	groups := state.Groups{First: int(g.First), Last: int(g.Last), Of: env.MaxParallelism}
	var own, files, rest []*pluginv1.Entry
	for _, e := range t.restored {
		switch e.GetKind() {
		case pluginv1.Entry_KIND_KEY_GROUP:
			own = append(own, e)
		case pluginv1.Entry_KIND_FILE:
			files = append(files, e)
		default:
			rest = append(rest, e)
		}
	}
	t.restored = rest
	b, stored, err := openBackend(env, groups, disk, files)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", t.Node, err)
	}
	k, err := state.NewKeyed(b, groups, env.Now, own, stored)
	if err != nil {
		if stored != nil {
			err = errors.Join(err, stored.Close())
		}
		return nil, Fatal(fmt.Errorf("restore node %s: %w", t.Node, errors.Join(err, b.Close())))
	}
	return k, nil
}

// openBackend opens what the pipeline asks for, and the restored files.
func openBackend(env *task.Env, groups state.Groups, disk state.Disk, files []*pluginv1.Entry) (state.Backend, state.Stored, error) {
	c := state.DiskConfig{
		Root: env.Scratch, Dir: env.Dir, Groups: groups, Checkpoint: env.RestoredCheckpoint, Restored: files,
	}
	switch {
	case disk == nil && env.OnDisk:
		return nil, nil, Fatal(errors.New("its state is to be kept on disk, and the component can keep it in memory alone"))
	case disk == nil && len(files) > 0:
		return nil, nil, Fatal(errors.New("the checkpoint holds its state as it was kept on disk, and the component can keep it in memory alone"))
	case (env.OnDisk || len(files) > 0) && env.Scratch == "":
		return nil, nil, Fatal(errors.New("the host gave the task no folder for state on disk: it is too old for it"))
	case env.OnDisk:
		return disk.Open(c)
	case len(files) > 0:
		stored, err := disk.Read(c)
		return state.NewMemory(groups), stored, err
	}
	return state.NewMemory(groups), nil, nil
}

// keyedOperator serves a KeyedOperator.
type keyedOperator struct {
	inner      KeyedOperator
	timer      TimerHandler     // nil where it is none
	flusher    Flusher          // nil where it is none
	watermark  WatermarkHandler // nil where it is none
	broadcast  BroadcastHandler // nil where it is none
	task       *Task
	keyed      *state.Keyed
	again      func(ctx context.Context, call string, err error, try int, waited *time.Duration) error
	inputs     []string
	broadcasts []bool // by port
	held       *task.Held
	ahead      [64]uint32 // hashes of the next keys of a batch
	secrets    secrets
	out        Collector // for one call at a time
}

var errNoKey = errors.New("the record has no key")

func (o *keyedOperator) Process(ctx context.Context, port int, in *wire.Batch, out *task.Output) error {
	o.out.out, o.out.secrets = out, o.secrets
	o.task.input = inputName(o.inputs, port)
	defer o.keyed.Unset()
	if port < len(o.broadcasts) && o.broadcasts[port] {
		err := o.broadcast.ProcessBroadcast(ctx, &Batch{in, o.task.input, o.held}, &o.out)
		return o.end(err)
	}
	o.keyed.Begin()
	// What a batch of one record does can be taken back as a whole, see Undo.
	several := in.Len() > 1
	for i := range in.Len() {
		if i%len(o.ahead) == 0 {
			o.lookAhead(in, i)
		}
		key := in.Key(i)
		if key == nil {
			out.Fail(in, i, errNoKey)
			continue
		}
		if !o.keyed.SetKey(key, o.ahead[i%len(o.ahead)]) {
			return Fatal(fmt.Errorf("a record of key group %d came to task %d, which does not own it: the sender partitions by another rule",
				o.keyed.Group(), o.task.Index))
		}
		if several {
			o.keyed.Begin()
		}
		mark, count := o.keyed.Mark(), out.Count()
		err := o.inner.ProcessKeyed(ctx, Record{in, i}, &o.out)
		if err != nil || o.task.stateErr != nil {
			err = o.repeat(ctx, "ProcessKeyed", err, mark, count, func() error { return o.inner.ProcessKeyed(ctx, Record{in, i}, &o.out) })
			if err != nil {
				return err
			}
		}
		if err := o.fireUrgent(ctx); err != nil {
			return err
		}
	}
	return o.end(nil)
}

// lookAhead hashes the next keys, from i on, and tells the state of them.
func (o *keyedOperator) lookAhead(in *wire.Batch, i int) {
	n := min(len(o.ahead), in.Len()-i)
	for j := range n {
		o.ahead[j] = keygroup.Hash(in.Key(i + j))
	}
	if n > 1 {
		o.keyed.Warm(o.ahead[:n])
	}
}

// end returns the error of a call: its own, or that of the state that it used.
func (o *keyedOperator) end(err error) error {
	if o.task.stateErr != nil {
		err = o.task.stateErr
	}
	if err == nil {
		err = o.keyed.Err()
	}
	return o.secrets.in(err)
}

// repeat takes back what a call did that returned an error, and repeats it for as
// long as it asks for that. The key at hand is the call's.
func (o *keyedOperator) repeat(ctx context.Context, name string, err error, mark int, count uint64, call func() error) error {
	var waited time.Duration
	for try := 0; ; try++ {
		if err = o.end(err); err == nil {
			return nil
		}
		var again *task.RetryError
		if errors.As(err, &again) && o.out.out.Count() != count {
			// What it put out cannot be told from what other calls did.
			return fmt.Errorf("%s asked to be called again after it had put out records: %w", name, again.Err)
		}
		o.keyed.Undo(mark)
		if err := o.again(ctx, name, err, try, &waited); err != nil {
			return err
		}
		err = call()
	}
}

// Undo takes back what the last Process did, which had one record.
func (o *keyedOperator) Undo() { o.keyed.Undo(0) }

// fireUrgent fires the timers that the call before it set and that are due.
func (o *keyedOperator) fireUrgent(ctx context.Context) error {
	for {
		t, ok := o.keyed.Urgent()
		if !ok {
			return nil
		}
		if err := o.fire(ctx, t); err != nil {
			return err
		}
	}
}

// fire calls OnTimer for a timer, whose key is at hand.
func (o *keyedOperator) fire(ctx context.Context, t state.Timer) error {
	if o.timer == nil {
		return Fatal(errors.New("the operator sets timers and has no OnTimer"))
	}
	due := Timer{Domain(t.Domain), UnixNano(t.At), t.Tag}
	mark, count := o.keyed.Mark(), o.out.out.Count()
	err := o.timer.OnTimer(ctx, due, &o.out)
	if err != nil || o.task.stateErr != nil {
		return o.repeat(ctx, "OnTimer", err, mark, count, func() error { return o.timer.OnTimer(ctx, due, &o.out) })
	}
	return nil
}

// fireAll fires the timers of a domain that are due at the limit, and those that
// they set and that are.
func (o *keyedOperator) fireAll(ctx context.Context, d state.Domain, limit int64) error {
	for {
		o.keyed.Begin()
		t, ok := o.keyed.Next(d, limit)
		if !ok {
			return nil
		}
		if err := o.fire(ctx, t); err != nil {
			return err
		}
		if err := o.fireUrgent(ctx); err != nil {
			return err
		}
	}
}

func (o *keyedOperator) OnWatermark(ctx context.Context, t int64, out *task.Output) error {
	o.out.out, o.out.secrets = out, o.secrets
	defer o.keyed.Unset()
	o.keyed.Advance(t)
	if err := o.fireAll(ctx, state.EventTime, t); err != nil {
		return err
	}
	o.keyed.Unset()
	if o.watermark == nil {
		return o.end(nil)
	}
	return o.end(o.watermark.OnWatermark(ctx, UnixNano(t), &o.out))
}

func (o *keyedOperator) NextTimer() (int64, bool) { return o.keyed.First(state.ProcessingTime) }

func (o *keyedOperator) OnTime(ctx context.Context, out *task.Output) error {
	o.out.out, o.out.secrets = out, o.secrets
	defer o.keyed.Unset()
	o.keyed.Expire()
	if err := o.fireAll(ctx, state.ProcessingTime, o.keyed.Now()); err != nil {
		return err
	}
	return o.end(nil)
}

func (o *keyedOperator) Flush(ctx context.Context, final bool, out *task.Output) error {
	o.out.out, o.out.secrets = out, o.secrets
	defer o.keyed.Unset()
	if final {
		// Time of both kinds is over.
		o.keyed.End()
		o.keyed.Advance(math.MaxInt64)
		if err := o.fireAll(ctx, state.EventTime, math.MaxInt64); err != nil {
			return err
		}
		if err := o.fireAll(ctx, state.ProcessingTime, math.MaxInt64); err != nil {
			return err
		}
		o.keyed.Unset()
	}
	if o.flusher == nil {
		return o.end(nil)
	}
	return o.end(o.flusher.Flush(ctx, final, &o.out))
}

func (o *keyedOperator) Snapshot(context.Context) ([]*pluginv1.Entry, error) {
	return o.task.taskStates.snapshot()
}

func (o *keyedOperator) Capture(checkpoint uint64) (state.Later, error) {
	return o.keyed.Capture(checkpoint)
}

func (o *keyedOperator) Concluded(checkpoint uint64, completed bool) {
	o.keyed.Concluded(checkpoint, completed)
}

func (o *keyedOperator) Close() error {
	return errors.Join(o.secrets.in(o.inner.Close()), o.keyed.Close())
}

func timerOf(d Domain, at Time, tag uint32) state.Timer {
	return state.Timer{Domain: state.Domain(d), At: at.UnixNano(), Tag: tag}
}

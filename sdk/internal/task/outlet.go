package task

import "github.com/weirstream/weir/proto/wire"

// outlet is one output of a member that leads somewhere: to the next member, to
// the host, or to both.
type outlet struct {
	member      *member
	task        *task
	name        string
	port        uint32
	next        *member
	nextPort    int
	exclusive   bool // to the next member alone
	needsOrigin bool
	// gather collects small batches while the sender is busy.
	gather *wire.Builder
	tap    tap // of what is exclusive; the host sees the rest
}

// add hands a batch on, which it consumes.
func (o *outlet) add(b *wire.Batch) error {
	if o != o.member.errors {
		if o.member.timing != nil {
			if b = o.member.timing.apply(b); b == nil {
				return nil
			}
		}
		o.member.stats.out(b)
	}
	if o.exclusive {
		defer b.Release()
		if o.tap.on.Load() {
			o.sample(b)
		}
		return o.next.process(o.nextPort, b)
	}
	if b.Size() < o.task.limits.batch/4 && (o.gather.Len() > 0 || o.task.sender.busy()) {
		o.gather.AppendAll(b)
		b.Release()
		if o.gather.Full() {
			return o.flush()
		}
		return nil
	}
	if err := o.flush(); err != nil {
		b.Release()
		return err
	}
	return o.dispatch(b)
}

// flush sends what was gathered.
func (o *outlet) flush() error {
	if b := o.gather.Freeze(); b != nil {
		return o.dispatch(b)
	}
	return nil
}

func (o *outlet) dispatch(b *wire.Batch) error {
	defer b.Release()
	if o.next != nil {
		if err := o.next.process(o.nextPort, b); err != nil {
			return err
		}
	}
	return o.task.sender.batch(o.task.ctx, wire.Encode(uint32(o.member.index), o.port, 0, b))
}

package edge

import (
	"fmt"
	"time"
)

// alignment is the barrier that some channels have delivered and some not.
type alignment struct {
	passed  uint64 // the checkpoint of the last barrier handed out
	halted  bool   // and it was a halt barrier
	barrier Barrier
	held    int // channels that have delivered it
	ended   int // those of them that said that input ends
	begun   time.Time
}

// align holds c until every channel has delivered the barrier, and then returns
// it: input ends where it ends on all channels, halt and roll hold where one says
// so.
func (in *Input) align(c *Channel, b Barrier) (Item, bool, error) {
	switch {
	case b.Checkpoint <= in.cut.passed:
		return Item{}, false, fmt.Errorf("barrier of checkpoint %d after that of %d", b.Checkpoint, in.cut.passed)
	case in.cut.held > 0 && b.Checkpoint != in.cut.barrier.Checkpoint:
		return Item{}, false, fmt.Errorf("barrier of checkpoint %d where that of %d is expected", b.Checkpoint, in.cut.barrier.Checkpoint)
	}
	if in.cut.held == 0 {
		in.cut.barrier, in.cut.begun = Barrier{Checkpoint: b.Checkpoint}, time.Now()
	}
	in.cut.barrier.Halt = in.cut.barrier.Halt || b.Halt
	in.cut.barrier.Roll = in.cut.barrier.Roll || b.Roll
	if b.End {
		in.cut.ended++
	}
	in.cut.held++
	c.held = true
	c.waited.start()
	if in.cut.held < len(in.channels) {
		return Item{}, false, nil
	}
	it := BarrierItem(in.cut.barrier)
	it.Barrier.End = in.cut.ended == len(in.channels)
	it.Alignment = Alignment{Took: time.Since(in.cut.begun), Last: c}
	in.cut = alignment{passed: b.Checkpoint, halted: in.cut.halted || it.Barrier.Halt}
	for _, c := range in.channels {
		c.held = false
		c.waited.stop()
		in.arrived(c)
	}
	return it, true, nil
}

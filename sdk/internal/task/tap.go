package task

import (
	"sync/atomic"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Bounds of a tap: so many records, and bytes of them, are copied of one output in
// one window; those beyond are counted.
const (
	tapWindow  = 100 * time.Millisecond
	tapRecords = 50
	tapBytes   = 64 << 10
	// tapLargest is the size of a record above which none is copied.
	tapLargest = 1 << 20
	// maxTapped is how many samples of a task wait to be sent.
	maxTapped = 8
)

// tap samples what passes on one output. All of it but on belongs to the loop.
type tap struct {
	on      atomic.Bool
	since   time.Time // when the window began
	records int       // that were copied in the window
	bytes   int
	dropped uint64 // since the last sample
}

// setTap begins or ends the sampling of an output. An output that is not there, or
// that the host sees itself, is left alone: nobody's task fails for a look at it.
func (t *task) setTap(r *pluginv1.SetTap) {
	if int(r.GetComponent()) >= len(t.members) {
		return
	}
	for _, o := range t.members[r.GetComponent()].outlets {
		if o.port == r.GetOutput() && o.exclusive {
			o.tap.on.Store(r.GetOn())
		}
	}
}

// sample copies the first records of a batch for the host, as many as the window has
// room for.
func (o *outlet) sample(b *wire.Batch) {
	p := &o.tap
	if now := time.Now(); now.Sub(p.since) >= tapWindow {
		p.since, p.records, p.bytes = now, 0, 0
	}
	take := 0
	for take < b.Len() && p.records < tapRecords {
		size := len(b.Key(take)) + len(b.Value(take)) + len(b.Headers(take))
		if p.bytes > 0 && p.bytes+size > tapBytes || size > tapLargest {
			break
		}
		take++
		p.records++
		p.bytes += size
	}
	if take == 0 {
		p.dropped += uint64(b.Len())
		return
	}
	copied := o.task.pool.NewBuilder(o.task.limits.batch)
	copied.SetOrigin(b.HasOrigin())
	copied.AppendRange(b, 0, take)
	records := copied.Freeze()
	frame := wire.Encode(uint32(o.member.index), o.port, 0, records)
	records.Release()
	message, err := frame.Message()
	frame.Free()
	if err != nil || !o.task.out.tapped(&pluginv1.Tapped{Sample: message, Dropped: p.dropped}) {
		p.dropped += uint64(b.Len())
		return
	}
	p.dropped = uint64(b.Len() - take)
}

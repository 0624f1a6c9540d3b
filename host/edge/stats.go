package edge

import "time"

// ChannelStats is what a channel has carried and holds.
type ChannelStats struct {
	ID ID
	// Records, Batches and Bytes count what was pushed since it was opened.
	Records, Batches, Bytes uint64
	// QueuedItems and QueuedBytes are what waits for the plugin.
	QueuedItems, QueuedBytes int
	// Blocked is the time for which Push waited for room.
	Blocked time.Duration
	// Aligning is the time for which the channel waited for the barrier of the
	// others; Held says that it does now.
	Aligning time.Duration
	Held     bool
}

// Stats returns the state of every channel, in the order of Open.
func (in *Input) Stats() []ChannelStats {
	in.mu.Lock()
	defer in.mu.Unlock()
	stats := make([]ChannelStats, len(in.channels))
	for i, c := range in.channels {
		stats[i] = ChannelStats{
			ID: c.id, Records: c.records, Batches: c.batches, Bytes: c.bytes,
			QueuedItems: c.queue.len(), QueuedBytes: c.own + c.common,
			Blocked: c.blocked.read(), Aligning: c.waited.read(), Held: c.held,
		}
	}
	return stats
}

// Awaited returns the checkpoint whose barrier some channels have delivered, when
// the first of them did, and the channels that have not. The checkpoint is 0 when no
// barrier is under way.
func (in *Input) Awaited() (checkpoint uint64, since time.Time, channels []ID) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.cut.held == 0 {
		return 0, time.Time{}, nil
	}
	for _, c := range in.channels {
		if !c.held {
			channels = append(channels, c.id)
		}
	}
	return in.cut.barrier.Checkpoint, in.cut.begun, channels
}

// EdgeStats is what an edge has carried.
type EdgeStats struct {
	ID string
	// Records and Batches count what was routed; Bytes are encoded bytes. A record
	// that is broadcast counts once.
	Records, Batches, Bytes uint64
	// NullKeys are records that did not go on for want of a key.
	NullKeys uint64
}

// RouterStats is what a router has carried.
type RouterStats struct {
	Edges []EdgeStats
	// Dropped are records for outputs without an edge.
	Dropped uint64
	// Blocked is the time for which Route, Settle and Flush waited for room.
	Blocked time.Duration
}

// Stats may be called at any time by anyone.
func (r *Router) Stats() RouterStats {
	s := RouterStats{Dropped: r.dropped.Load()}
	for _, rt := range r.edges {
		s.Edges = append(s.Edges, EdgeStats{
			ID: rt.ID, Records: rt.records.Load(), Batches: rt.batches.Load(),
			Bytes: rt.bytes.Load(), NullKeys: rt.nullKeys.Load(),
		})
		for _, c := range rt.Channels {
			s.Blocked += c.Blocked()
		}
	}
	return s
}

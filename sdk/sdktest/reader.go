package sdktest

import (
	"encoding/json"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Reader reads one split.
type Reader struct {
	t          testing.TB
	source     *Source
	run        *taskRun
	split      Split
	position   json.RawMessage
	checkpoint uint64
	unread     []Record
	failed     []Failed
}

// Next returns the next n records, in order; it waits for them.
func (r *Reader) Next(n int) []Record {
	r.t.Helper()
	err := r.run.await("Read", func() bool {
		return len(r.unread)+len(r.run.records["out"]) >= n || r.run.splits[r.split.ID]
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.collect()
	if len(r.unread) < n {
		r.t.Fatalf("split %q ended after %d of %d records", r.split.ID, len(r.unread), n)
	}
	next := r.unread[:n:n]
	r.unread = r.unread[n:]
	return next
}

// Rest returns all records up to the split's end, for which it waits.
func (r *Reader) Rest() []Record {
	r.t.Helper()
	if err := r.run.await("Read", func() bool { return r.run.splits[r.split.ID] }); err != nil {
		r.t.Fatal(err)
	}
	r.collect()
	r.run.close()
	rest := r.unread
	r.unread = nil
	return rest
}

// Error waits until the source returns an error, which it returns.
func (r *Reader) Error() error {
	r.t.Helper()
	err := r.run.await("Read", func() bool { return r.run.splits[r.split.ID] })
	if err == nil {
		r.t.Fatalf("split %q ended without an error", r.split.ID)
	}
	return err
}

// Ended reports whether the split has ended.
func (r *Reader) Ended() (ended bool) {
	r.run.update(func() { ended = r.run.splits[r.split.ID] })
	return ended
}

// Failed returns the records that the source has failed so far.
func (r *Reader) Failed() []Failed {
	r.collect()
	return r.failed
}

// Position takes a checkpoint. It returns the split's position in it as JSON, nil
// at the beginning and once the split has ended, and how many records the Reader
// has read before it.
func (r *Reader) Position() (position json.RawMessage, records int) {
	r.t.Helper()
	r.checkpoint++
	entries, err := r.run.barrier(&pluginv1.Barrier{Checkpoint: r.checkpoint})
	if err != nil {
		r.t.Fatal(err)
	}
	r.collect()
	r.run.update(func() { records = r.run.before })
	for _, e := range entries {
		if e.Kind != pluginv1.Entry_KIND_SPLIT || e.Id != r.split.ID {
			continue
		}
		var state struct{ Position json.RawMessage }
		if err := json.Unmarshal(e.GetPayload(), &state); err != nil {
			r.t.Fatalf("split %q in the checkpoint: %v", r.split.ID, err)
		}
		return state.Position, records
	}
	return nil, records
}

// Complete takes a checkpoint and tells the source that it is completed. It
// returns what the source's CheckpointCompleted returned.
func (r *Reader) Complete() error {
	r.t.Helper()
	r.Position()
	r.source.watch.expect()
	err := r.run.request(&pluginv1.ControlRequest{Kind: &pluginv1.ControlRequest_Completed{
		Completed: &pluginv1.Completed{Checkpoint: r.checkpoint},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := r.source.h.context()
	defer cancel()
	told, err := r.source.watch.told(ctx)
	if err != nil {
		r.t.Fatalf("CheckpointCompleted: %v", err)
	}
	return told
}

// Close stops reading at once.
func (r *Reader) Close() { r.run.close() }

func (r *Reader) collect() {
	result := r.run.take()
	r.unread = append(r.unread, result.Out...)
	r.failed = append(r.failed, result.Failed...)
}

// Package checkpoint makes the checkpoints of a pipeline: consistent cuts of
// source positions, operator state and prepared sink output, of which one
// conditional write is the commit point.
//
// # Parts
//
// The [Coordinator] is the leader's decision maker: a pure state machine that
// takes events and returns actions. It has no goroutine, no clock and does no
// I/O, so that a seed can drive it through any order of events. Whoever owns it
// carries the actions out and hands their outcomes back as events:
//
//	for {
//		select {
//		case ev := <-events:
//			do(coordinator.Step(time.Now(), ev))
//		case <-timer: // set to coordinator.Deadline() after each step
//			do(coordinator.Step(time.Now(), checkpoint.Tick{}))
//		}
//	}
//
// The [Ledger] keeps the small records in coordination: identity and epochs of
// the pipeline, checkpoint numbers, the pending checkpoint and its acks, one
// [Record] a completed checkpoint, how far its output is committed. Each of its
// methods is one conditional commit, or resolves the unknown outcome of one.
//
// The [Manifest] of a checkpoint lies in storage (package storage) and names
// everything that belongs to it. A record holds only the manifest's name, size
// and checksum.
//
// On the way down a host turns the entries that its tasks report into
// [TaskState] with a [SnapshotWriter] and remembers with [Uncommitted] which
// prepared output still waits for its commit. On the way up [Choose] picks the
// record to restore, and a [Router] maps its entries onto the new tasks.
//
// # Life of a checkpoint
//
//	OpenPending    number allocated, pending record written, in one commit
//	SendBarrier    barrier goes to the enumerators
//	Acked          one a host: its state is stored and read back
//	WriteManifest  everything that was acked, in one object
//	WriteRecord    checks leader epoch and pipeline epoch, consumes the pending
//	               record: from here on the checkpoint exists
//	AnnounceCompleted   every host commits what the record lists
//	SaveCommitted  once all have answered
//	Retain         older records go, then what only they named
//
// A checkpoint that fails before its record is closed and announced as aborted.
// Nothing of its output is: what its sinks have prepared stays pending and is in
// the next snapshot.
//
// # Layout
//
// Below pipelines/<name>/ in coordination:
//
//	epoch                        Lineage: uid, epoch, generations
//	checkpoints/sequence         Sequence: the last number, what has ended
//	checkpoints/pending/<n>      Pending
//	checkpoints/pending/<n>/<host>   Ack
//	checkpoints/records/<n>      Record
//	checkpoints/savepoints/<name>    Record, without committables
//	checkpoints/committed        committed_through
//	checkpoints/committed/<host> what one host has committed
//
// In storage, every name begins with the pipeline's uid:
//
//	<uid>/manifest/<n>-<epoch>-<random>
//	<uid>/<n>/<epoch>/<node>/<task>/<random>
package checkpoint

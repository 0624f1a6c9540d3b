package sdk

import (
	"context"
	"encoding/json"
	"fmt"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Sink writes records. One goroutine calls an instance.
//
// A Sink that is nothing more gives at-least-once: what was written between the
// last checkpoint and a failure is written again. A [TwoPhase] sink gives exactly
// once.
type Sink interface {
	// Write accepts a batch; it need not be durable yet. A record that cannot be
	// written goes to failed, whether during Write or later, at the latest before
	// Flush returns. A sink that writes asynchronously holds the batch meanwhile
	// ([Batch.Hold]).
	Write(ctx context.Context, in *Batch, failed *Collector) error

	// Flush returns when all that was accepted is durable and every failure has
	// been reported. It is called before each barrier.
	Flush(ctx context.Context) error

	// Close releases what the sink holds, without flushing.
	Close() error
}

// Checkpoint is what a sink must know of a checkpoint at its barrier.
type Checkpoint struct {
	// Number only grows within a pipeline's life.
	Number uint64
	// Roll asks for all output, the unfinished too: afterwards the sink holds
	// nothing that only this process could finish. So it is at a savepoint and
	// before a stop.
	Roll bool
	// Final says that no record follows.
	Final bool
}

// TwoPhase is a [Sink] whose output nobody sees until it is committed. C
// describes a piece of prepared output so that any process can publish it; it is
// encoded as JSON and kept in the checkpoint.
type TwoPhase[C any] interface {
	Sink

	// Prepare is called after Flush, once a barrier. It returns what is to be
	// published with this checkpoint: output that will survive this process and
	// that nobody sees yet. It returns each piece once; what it keeps to go on
	// with is its writer state ([WriterState]).
	//
	// A checkpoint may fail after Prepare. Its committables stay pending, and are
	// committed with a later checkpoint: a sink never takes prepared output back.
	Prepare(ctx context.Context, c Checkpoint) ([]C, error)
}

// WriterState is an optional interface of a [TwoPhase] sink that goes on with
// unfinished output after a restart, such as a file that is not yet large enough
// to be published. W is encoded as JSON.
type WriterState[W any] interface {
	// WriterState is called after Prepare. It describes what is unfinished. After
	// a restart each element is given to exactly one task, through
	// [RestoredWriterState], and to [Committer.Sweep] as what must stay. After a
	// change of parallelism a task may get the elements of several tasks, or none.
	WriterState(ctx context.Context) ([]W, error)
}

// Roller is an optional interface of a [TwoPhase] sink that publishes by time
// too.
type Roller interface {
	// Due reports whether output waits to be prepared although nothing has been
	// written since the last barrier. A checkpoint is skipped when no task has
	// changed; Due counts as a change. It returns at once.
	Due() bool
}

// Committer publishes prepared output and removes what was left behind. It may
// run beside a writer or in a process without one, but a node's calls come one at
// a time. C is that of the [TwoPhase] sink.
type Committer[C any] interface {
	// Commit publishes cs, older checkpoints first. It is idempotent: what is
	// published already, by whomever, counts as done. It is repeated until it
	// returns nil or a [Fatal] error; a fatal one fails the pipeline, since the
	// output is lost.
	Commit(ctx context.Context, cs []C) error

	// Sweep removes what earlier generations of the node made and never
	// published. It is called once a node at a restart, after the restored
	// checkpoint's commits and before any task opens, and may be repeated.
	// Processes of an earlier generation may still be alive and writing: what
	// they make must be recognisable by the epoch in its name.
	Sweep(ctx context.Context, s Sweep) error

	// Close releases what the committer holds.
	Close() error
}

// Sweep says what [Committer.Sweep] removes and what it spares.
type Sweep struct {
	// Earlier holds every generation that may have left something behind.
	Earlier []Generation
	// Keep holds the writer state, as JSON, of every checkpoint that the pipeline
	// may still be restored from; see [KeptWriterState].
	Keep []json.RawMessage
	// RestoredCheckpoint is the checkpoint that the pipeline was restored from, or
	// 0 where it starts from the beginning.
	RestoredCheckpoint uint64
	// Retract asks that output published by checkpoints after RestoredCheckpoint
	// be withdrawn. Only a sink with the option [Retract] is asked.
	Retract bool
}

// Generation is one epoch of a pipeline in which tasks of the node may have run.
type Generation struct {
	Epoch uint64
	// Parallelism is the number of its tasks, by index from 0.
	Parallelism int
	// Pool is the number of names that each task could use, for sinks that take
	// names from a bounded pool.
	Pool int
}

// KeptWriterState decodes s.Keep.
func KeptWriterState[W any](s Sweep) ([]W, error) {
	kept := make([]W, len(s.Keep))
	for i, raw := range s.Keep {
		if err := json.Unmarshal(raw, &kept[i]); err != nil {
			return nil, fmt.Errorf("writer state %d of the retained checkpoints: %w", i, err)
		}
	}
	return kept, nil
}

// RestoredWriterState returns what tasks of this node said in
// [WriterState.WriterState] at the restored checkpoint, as far as it fell to
// this task.
func RestoredWriterState[W any](t *Task) ([]W, error) {
	var state []W
	for _, e := range t.restored {
		if e.Kind != pluginv1.Entry_KIND_WRITER {
			continue
		}
		var w W
		if err := json.Unmarshal(e.GetPayload(), &w); err != nil {
			return nil, fmt.Errorf("restored writer state %q: %w", e.Id, err)
		}
		state = append(state, w)
	}
	return state, nil
}

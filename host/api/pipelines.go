package api

import (
	"context"
	"iter"
)

// Pipelines is what a server answers from. Its methods may be called at any time
// from any goroutine. They return a *Problem where the caller is to learn more
// than that something went wrong inside.
type Pipelines interface {
	Reader
	Changer

	// Measured is what this process itself measures, for /metrics: the sum over all
	// processes counts nothing twice.
	Measured(ctx context.Context) ([]Status, error)
	// Ready says why this process does not do its work at present, or nil.
	Ready(ctx context.Context) error
}

// Reader tells what is known of pipelines; it never waits for one.
type Reader interface {
	// List returns every pipeline, sorted by name.
	List(ctx context.Context) ([]Pipeline, error)
	Status(ctx context.Context, name string) (Status, error)
	Tasks(ctx context.Context, name string) ([]Task, error)
	// Checkpoints are newest first, then savepoints by name.
	Checkpoints(ctx context.Context, name string) ([]Checkpoint, error)
	// Failures are newest first and bounded in number.
	Failures(ctx context.Context, name string) ([]Failure, error)
	// Logs yields records, oldest first. Where the query follows it goes on until
	// ctx ends; a consumer that is too slow loses records and is told how many.
	Logs(ctx context.Context, name string, q LogQuery) iter.Seq2[LogRecord, error]
	// Tap yields records as they pass, until ctx or the run ends. It holds nothing up:
	// what a consumer is too slow for, or what would cost too much, it is only told
	// the number of.
	Tap(ctx context.Context, name string, q TapQuery) iter.Seq2[TapRecord, error]
}

// Changer changes a pipeline. Where a change is under way another is refused with
// the problem conflict.
type Changer interface {
	// Savepoint makes a savepoint and returns when all its output is published.
	// When ctx ends before, the savepoint goes on.
	Savepoint(ctx context.Context, name string, r SavepointRequest) (Savepoint, error)
	// Stop makes a final checkpoint and returns when the pipeline has stopped.
	// When ctx ends before, the pipeline still stops.
	Stop(ctx context.Context, name string, r StopRequest) (Stopped, error)
	SetLogLevel(ctx context.Context, name string, r LogLevelRequest) error
}

// LogQuery picks log records.
type LogQuery struct {
	Node   string // empty for all
	Level  string // the lowest; empty for all
	Tail   int    // at most so many of those that are kept; 0 for none, -1 for all
	Follow bool
}

// TapQuery picks what to look at.
type TapQuery struct {
	Node   string   // empty for all; of a sink, what comes into it
	Output string   // empty for all
	Mask   []string // fields and headers to mask beside those that look secret
}

package sdk

import "context"

// Operator turns records into records. One goroutine calls an instance.
type Operator interface {
	// Process handles a batch. What it sends to out leaves in the order in which
	// it was sent, save that each output has an order of its own. It may keep
	// records back until a later call, at the latest until Flush.
	Process(ctx context.Context, in *Batch, out *Collector) error

	// Close releases what the operator holds.
	Close() error
}

// Flusher is an optional interface of an [Operator] that keeps records back.
type Flusher interface {
	// Flush sends everything that is kept back. It is called before each barrier:
	// what is still kept when it returns is lost if the task restarts. final says
	// that no record follows.
	Flush(ctx context.Context, final bool, out *Collector) error
}

// WatermarkHandler is an optional interface of an [Operator].
type WatermarkHandler interface {
	// OnWatermark is called when event time has come to w: no record with an
	// earlier time follows, save late ones. The watermark is passed on after it.
	OnWatermark(ctx context.Context, w Time, out *Collector) error
}

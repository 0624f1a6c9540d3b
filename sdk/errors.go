package sdk

import (
	"time"

	"github.com/weirstream/weir/sdk/internal/task"
)

// Retry marks an error after which the call is repeated: nothing of it took
// effect, and it is likely to succeed later ("503", a lost connection). What the
// call sent to its Collector is dropped; it must not be more than four batches.
// The SDK waits for after, or as it sees fit where after is 0, and gives up when a
// checkpoint would time out. A nil err stays nil.
func Retry(err error, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &task.RetryError{Err: err, After: after}
}

// Fatal marks an error that no restart cures ("wrong password", a table that does
// not exist): the pipeline fails at once. Around or inside a [Retry] it wins. A
// nil err stays nil.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return &task.FatalError{Err: err}
}

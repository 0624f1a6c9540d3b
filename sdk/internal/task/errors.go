package task

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// RetryError says that nothing of a call took effect and that it is to be
// repeated, after After or, where that is 0, when the caller sees fit.
type RetryError struct {
	Err   error
	After time.Duration
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// FatalError says that no restart helps.
type FatalError struct{ Err error }

func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FatalError) Unwrap() error { return e.Err }

// PanicError is a panic in a component: an unmarked error.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// memberError names the member of the chain that failed.
type memberError struct {
	member int
	err    error
}

func (e *memberError) Error() string { return e.err.Error() }
func (e *memberError) Unwrap() error { return e.err }

// protocolError is a fault of the host: a frame that may not come, or not now.
type protocolError struct{ err error }

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func protocolErrorf(format string, args ...any) error {
	return &protocolError{fmt.Errorf("protocol: "+format, args...)}
}

// guard calls f and turns its panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// asRetry returns err's retry mark. A fatal mark anywhere wins over it.
func asRetry(err error) (*RetryError, bool) {
	var fatal *FatalError
	if errors.As(err, &fatal) {
		return nil, false
	}
	var retry *RetryError
	return retry, errors.As(err, &retry)
}

// maxText bounds a text where it leaves the process: an author may well put a whole
// record into an error or a log.
const maxText = 16 << 10

// textOf is a text as a message of the wire can hold it: valid UTF-8, and shortened
// in its middle.
func textOf(text string) string {
	if len(text) > maxText {
		const half = maxText / 2
		text = fmt.Sprintf("%s ... (%d bytes) ... %s", text[:half], len(text)-2*half, text[len(text)-half:])
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// wireError is err as it crosses the process boundary.
func wireError(err error) *pluginv1.Error {
	out := &pluginv1.Error{Message: textOf(err.Error())}
	var (
		member   *memberError
		fatal    *FatalError
		protocol *protocolError
		panicked *PanicError
	)
	if errors.As(err, &member) {
		out.Component = uint32(member.member)
	}
	switch {
	case errors.As(err, &protocol):
		out.Code = "protocol"
	case errors.As(err, &panicked):
		out.Code = "panic"
	}
	if errors.As(err, &fatal) {
		out.Class = pluginv1.Error_CLASS_FATAL
	} else if retry, ok := asRetry(err); ok {
		out.Class = pluginv1.Error_CLASS_RETRY
		if retry.After > 0 {
			out.RetryAfter = durationpb.New(retry.After)
		}
	}
	return out
}

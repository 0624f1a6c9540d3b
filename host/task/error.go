package task

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Error is a task's failure. It says where it happened.
type Error struct {
	ID     ID     // the task
	Node   string // the member of its chain that failed
	Plugin string
	Class  pluginv1.Error_Class
	Code   string
	// RetryAfter is the plugin's wish for a restart, or 0.
	RetryAfter time.Duration
	Err        error
}

func (e *Error) Error() string {
	if e.Node != e.ID.Node {
		return fmt.Sprintf("node %s (task %s, plugin %s): %v", e.Node, e.ID, e.Plugin, e.Err)
	}
	return fmt.Sprintf("task %s (plugin %s): %v", e.ID, e.Plugin, e.Err)
}

// Transport says that a stream to the plugin broke, so that the plugin itself
// had no say.
func (e *Error) Transport() bool {
	return errors.Is(e.Err, io.EOF) || status.Code(e.Err) == codes.Unavailable
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fatal says whether err holds a failure that no restart helps.
func Fatal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == pluginv1.Error_CLASS_FATAL
}

// failed turns a plugin's error into ours.
func (t *Task) failed(e *pluginv1.Error) error {
	node := t.cfg.ID.Node
	if i := int(e.GetComponent()); i < len(t.cfg.Members) {
		node = t.cfg.Members[i]
	}
	return &Error{
		ID:         t.cfg.ID,
		Node:       node,
		Plugin:     t.cfg.Plugin,
		Class:      e.GetClass(),
		Code:       e.GetCode(),
		RetryAfter: e.GetRetryAfter().AsDuration(),
		Err:        errors.New(e.GetMessage()),
	}
}

// Stable codes of errors; package explain says what each means.
const (
	CodeFailed = "task.failed"
	CodeFatal  = "task.fatal"
)

// ErrorCode is the component's own code, or says whether a restart may help.
func (e *Error) ErrorCode() string {
	switch {
	case e.Code != "":
		return e.Code
	case e.Class == pluginv1.Error_CLASS_FATAL:
		return CodeFatal
	}
	return CodeFailed
}

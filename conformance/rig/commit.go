package rig

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/host/task"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Node is a sink node to Commit and Sweep.
type Node struct {
	Member *pluginv1.Member
	UID    string
	Epoch  uint64
}

func (n Node) owner() *pluginv1.Owner {
	return &pluginv1.Owner{Cluster: "conformance", Pipeline: "conformance", Uid: n.UID, Node: n.Member.Node, Epoch: n.Epoch}
}

// TryCommit calls Commit once. The error is that of the call, or the one in the
// answer.
func (p *Plugin) TryCommit(ctx context.Context, n Node, committables []*pluginv1.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := p.Client().Commit(ctx, &pluginv1.CommitRequest{
		Owner: n.owner(), Component: n.Member.Component, Config: n.Member.Config, SecretPaths: n.Member.SecretPaths, Committables: committables,
	})
	if err == nil && r.GetError() != nil {
		err = &AnswerError{r.GetError()}
	}
	return err
}

// Sweep says what a sweep is told.
type Sweep struct {
	Earlier  []*pluginv1.Generation
	Keep     []*pluginv1.Entry
	Restored uint64
	Retract  bool
}

// TrySweep calls Sweep once.
func (p *Plugin) TrySweep(ctx context.Context, n Node, s Sweep) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := p.Client().Sweep(ctx, &pluginv1.SweepRequest{
		Owner: n.owner(), Component: n.Member.Component, Config: n.Member.Config, SecretPaths: n.Member.SecretPaths,
		Earlier: s.Earlier, Keep: s.Keep, RestoredCheckpoint: s.Restored, Retract: s.Retract,
	})
	if err == nil && r.GetError() != nil {
		err = &AnswerError{r.GetError()}
	}
	return err
}

// AnswerError is an error that a plugin gave as its answer.
type AnswerError struct{ Err *pluginv1.Error }

func (e *AnswerError) Error() string {
	return fmt.Sprintf("%s (%s)", e.Err.GetMessage(), e.Err.GetClass())
}

// Class is the class of a task's failure; not ok where the plugin did not say
// what failed.
func Class(err error) (class pluginv1.Error_Class, ok bool) {
	var e *task.Error
	if !errors.As(err, &e) || e.Transport() {
		return 0, false
	}
	return e.Class, true
}

package api

import (
	"context"
	"iter"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

var (
	problemOf   = reflect.TypeFor[Problem]()
	logRecordOf = reflect.TypeFor[LogRecord]()
)

type logsInput struct {
	Name   string `path:"name" doc:"The pipeline's name."`
	Node   string `query:"node" doc:"Records of this node alone."`
	Level  string `query:"level" enum:"debug,info,warn,error" doc:"The lowest level; by default all that are kept."`
	Tail   int    `query:"tail" default:"-1" minimum:"-1" doc:"At most so many of the records that are kept; -1 for all of them."`
	Follow bool   `query:"follow" doc:"Go on with what is logged from now on."`
}

// logs registers the operation that streams a log.
func (o *operations) logs() {
	op := o.streaming("readLogs", "logs", "Log of a pipeline", logRecordOf,
		"One record a line. The newest records are kept; a reader that is too slow loses some and is told how many.")
	huma.Register(o.api, op, func(ctx context.Context, in *logsInput) (*huma.StreamResponse, error) {
		query := LogQuery{Node: in.Node, Level: in.Level, Tail: in.Tail, Follow: in.Follow}
		return stream(o, func(ctx context.Context) iter.Seq2[LogRecord, error] { return o.Pipelines.Logs(ctx, in.Name, query) },
			func() error { _, err := o.find(ctx, in.Name, in.Node); return err })
	})
}

// find returns a node of a pipeline; none is no error where no node is meant.
func (o *operations) find(ctx context.Context, name, node string) (Node, error) {
	s, err := o.Pipelines.Status(ctx, name)
	if err != nil || node == "" {
		return Node{}, err
	}
	var names []string
	for _, n := range s.Nodes {
		if n.Name == node {
			return n, nil
		}
		names = append(names, n.Name)
	}
	return Node{}, NodeNotFound(name, node, names)
}

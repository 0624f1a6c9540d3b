package view

import (
	"context"
	"log/slog"
	"maps"
	"strings"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/journal"
)

// Attributes that a host of several pipelines logs with each record.
const (
	hostAttribute     = "host"
	pipelineAttribute = "pipeline"
)

// LogLevels are levels as the API tells them; nil where none was changed.
func LogLevels(l journal.Levels) *api.LogLevels {
	if l.All == nil && len(l.Nodes) == 0 {
		return nil
	}
	out := &api.LogLevels{}
	if l.All != nil {
		out.All = levelName(*l.All)
	}
	for node, level := range l.Nodes {
		if out.Nodes == nil {
			out.Nodes = map[string]string{}
		}
		out.Nodes[node] = levelName(level)
	}
	return out
}

func levelName(l slog.Level) string { return strings.ToLower(l.String()) }

// Logs yields what a journal keeps, and what comes where the query follows: of one
// pipeline alone, unless it is empty.
func Logs(ctx context.Context, j *journal.Journal, pipeline string, q api.LogQuery, yield func(api.LogRecord, error) bool) {
	level := slog.LevelDebug
	if q.Level != "" {
		_ = level.UnmarshalText([]byte(q.Level)) // the API has checked it
	}
	query := journal.Query{Node: q.Node, Level: level, Tail: q.Tail, Follow: q.Follow}
	if pipeline != "" {
		query.Attribute, query.Value = pipelineAttribute, pipeline
	}
	for k, missed := range j.Read(ctx, query) {
		record := api.LogRecord{
			Time: k.Time, Level: levelName(k.Level), Message: k.Message,
			Node: k.Node, Task: k.Task, Plugin: k.Plugin, Attributes: k.Attributes, Dropped: missed,
		}
		if pipeline != "" {
			record.Host, _ = k.Attributes[hostAttribute].(string)
			record.Attributes = maps.Clone(k.Attributes)
			delete(record.Attributes, hostAttribute)
			delete(record.Attributes, pipelineAttribute)
		}
		if !yield(record, nil) {
			return
		}
	}
}

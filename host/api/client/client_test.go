package client_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/client"
)

// pipelines answers with what tells that the question arrived whole.
type pipelines struct{ api.Pipelines }

const name = "a name/with all?"

func (pipelines) List(context.Context) ([]api.Pipeline, error) {
	return []api.Pipeline{{Name: name}}, nil
}
func (pipelines) Status(_ context.Context, got string) (api.Status, error) {
	if got != name {
		return api.Status{}, api.PipelineNotFound(got, []string{name})
	}
	return api.Status{Name: got, Nodes: []api.Node{{Name: "in", Outputs: []string{"out"}}}}, nil
}
func (pipelines) Tasks(_ context.Context, got string) ([]api.Task, error) {
	return []api.Task{{Node: got}}, nil
}
func (pipelines) Checkpoints(_ context.Context, got string) ([]api.Checkpoint, error) {
	return []api.Checkpoint{{Savepoint: got}}, nil
}
func (pipelines) Failures(_ context.Context, got string) ([]api.Failure, error) {
	return []api.Failure{{Cause: got}}, nil
}
func (pipelines) Logs(_ context.Context, got string, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return func(yield func(api.LogRecord, error) bool) {
		_ = yield(api.LogRecord{Message: got, Node: q.Node, Level: q.Level, Attributes: map[string]any{"tail": q.Tail}}, nil) &&
			yield(api.LogRecord{Message: "last"}, nil)
	}
}
func (pipelines) Tap(_ context.Context, got string, q api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return func(yield func(api.TapRecord, error) bool) {
		yield(api.TapRecord{Node: q.Node, Output: q.Output, Split: strings.Join(q.Mask, " ") + got}, nil)
	}
}
func (pipelines) Savepoint(_ context.Context, got string, r api.SavepointRequest) (api.Savepoint, error) {
	return api.Savepoint{Name: got + r.Name}, nil
}
func (pipelines) Stop(_ context.Context, got string, r api.StopRequest) (api.Stopped, error) {
	return api.Stopped{Uncommitted: []string{got, r.Savepoint}}, nil
}
func (pipelines) SetLogLevel(_ context.Context, got string, r api.LogLevelRequest) error {
	return api.Problemf(api.CodeConflict, "%s %s %s", got, r.Node, r.Level)
}

// servers are clients of a server on TCP that wants a token, and of one on a Unix
// socket.
func servers(t *testing.T) map[string]*client.Client {
	t.Helper()
	config := api.Config{Pipelines: pipelines{}, Log: slog.New(slog.DiscardHandler)}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip("no Unix sockets here:", err)
	}
	config.Anyone = true
	unix := &httptest.Server{Listener: l, Config: &http.Server{Handler: api.New(config)}}
	unix.Start()
	t.Cleanup(unix.Close)
	config.Anyone, config.Token = false, "secret"
	tcp := httptest.NewServer(api.New(config))
	t.Cleanup(tcp.Close)
	return map[string]*client.Client{
		"unix": connect(t, "unix://"+socket, ""),
		"tcp":  connect(t, strings.TrimPrefix(tcp.URL, "http://"), "secret"),
	}
}

func connect(t *testing.T, server, token string) *client.Client {
	t.Helper()
	c, err := client.New(server, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestEverythingArrives(t *testing.T) {
	for kind, c := range servers(t) {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			check := func(what string, ok bool, err error) {
				t.Helper()
				if err != nil || !ok {
					t.Errorf("%s: %v", what, err)
				}
			}
			list, err := c.List(ctx)
			check("list", err == nil && list[0].Name == name, err)
			status, err := c.Status(ctx, name)
			check("status", status.Name == name && status.Nodes[0].Name == "in", err)
			tasks, err := c.Tasks(ctx, name)
			check("tasks", err == nil && tasks[0].Node == name, err)
			checkpoints, err := c.Checkpoints(ctx, name)
			check("checkpoints", err == nil && checkpoints[0].Savepoint == name, err)
			failures, err := c.Failures(ctx, name)
			check("failures", err == nil && failures[0].Cause == name, err)
			savepoint, err := c.Savepoint(ctx, name, api.SavepointRequest{Name: "s"})
			check("savepoint", savepoint.Name == name+"s", err)
			stopped, err := c.Stop(ctx, name, api.StopRequest{Savepoint: "s"})
			check("stop", err == nil && stopped.Uncommitted[0] == name && stopped.Uncommitted[1] == "s", err)
			var got []api.LogRecord
			for r, err := range c.Logs(ctx, name, api.LogQuery{Node: "in", Level: "warn", Tail: 5, Follow: true}) {
				check("logs", true, err)
				got = append(got, r)
			}
			if len(got) != 2 || got[0].Message != name || got[0].Node != "in" || got[0].Level != "warn" || got[0].Attributes["tail"] != 5.0 {
				t.Errorf("logs: %+v", got)
			}
			var tapped []api.TapRecord
			for r, err := range c.Tap(ctx, name, api.TapQuery{Node: "in", Output: "out", Mask: []string{"a", "b"}}) {
				check("tap", true, err)
				tapped = append(tapped, r)
			}
			if len(tapped) != 1 || tapped[0].Node != "in" || tapped[0].Output != "out" || tapped[0].Split != "a b"+name {
				t.Errorf("tap: %+v", tapped)
			}
		})
	}
}

func TestAProblemIsTheError(t *testing.T) {
	for kind, c := range servers(t) {
		var p *api.Problem
		if err := c.SetLogLevel(t.Context(), name, api.LogLevelRequest{Node: "in", Level: "warn"}); !errors.As(err, &p) || p.Code != api.CodeConflict || p.Detail != name+" in warn" {
			t.Errorf("%s: %v", kind, err)
		}
		for _, err := range c.Logs(t.Context(), "other", api.LogQuery{}) {
			if !errors.As(err, &p) || p.Code != api.CodePipelineNotFound {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}

func TestAServerThatIsNoneIsSaid(t *testing.T) {
	foreign := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		server, want string
		absent       bool
	}{
		{foreign.URL, "it answered 404 Not Found, which is no answer of Weir", false},
		{gone.URL, "connection refused", true},
		{"unix:///nowhere/at/all", "no such file or directory", true},
	} {
		_, err := connect(t, c.server, "").List(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no answer from "+c.server+": ") || !strings.Contains(err.Error(), c.want) || client.Absent(err) != c.absent {
			t.Errorf("%s: %v", c.server, err)
		}
	}
	for _, server := range []string{"ftp://a", "unix://a", "http://", "a b://c", "https://"} {
		if _, err := client.New(server, client.Options{}); err == nil || !strings.Contains(err.Error(), "server ") {
			t.Errorf("%s: %v", server, err)
		}
	}
}

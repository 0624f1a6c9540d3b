package client_test

import (
	"context"
	"iter"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/api"
)

// member is a host of a cluster, on which one record passes.
type member struct {
	api.Pipelines
	api.Cluster
	id    string
	hosts *[]api.Host
}

func (m member) Hosts(context.Context) ([]api.Host, error) { return *m.hosts, nil }
func (m member) Status(context.Context, string) (api.Status, error) {
	return api.Status{Name: "p"}, nil
}
func (m member) Tap(context.Context, string, api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return func(yield func(api.TapRecord, error) bool) { yield(api.TapRecord{Host: m.id}, nil) }
}

// A tap in a cluster shows what passes on every host that has tasks of the pipeline,
// whichever was asked, with the token that the first one took.
func TestATapAsksEveryHostWithTasks(t *testing.T) {
	var hosts []api.Host
	for id, tasks := range map[string][]string{"a": {"p/in[0]"}, "b": {"other/in[0]", "p/out[1]"}, "c": {"pp/in[0]"}} {
		m := member{id: id, hosts: &hosts}
		server := httptest.NewServer(api.New(api.Config{Pipelines: m, Cluster: m, Log: slog.New(slog.DiscardHandler), Token: "secret"}))
		t.Cleanup(server.Close)
		at := strings.TrimPrefix(server.URL, "http://")
		if id == "b" { // listens on all addresses: it is reached where its data is
			_, port, _ := strings.Cut(at, ":")
			hosts = append(hosts, api.Host{ID: id, API: "[::]:" + port, Address: "127.0.0.1:1", Tasks: tasks})
			continue
		}
		hosts = append(hosts, api.Host{ID: id, API: at, Tasks: tasks})
	}
	c := connect(t, hosts[slices.IndexFunc(hosts, func(h api.Host) bool { return h.ID == "c" })].API, "secret")
	var got []string
	for r, err := range c.Tap(t.Context(), "p", api.TapQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Host)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("asked %q", got)
	}
}

package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/api"
)

// fakeCluster has the pipeline "orders" and the host "a".
type fakeCluster struct{}

func (fakeCluster) Submit(_ context.Context, s api.Submission) (api.Submitted, error) {
	return api.Submitted{Name: "a", Revision: 1, Changes: []string{"new: in"}}, nil
}

func (fakeCluster) Resume(_ context.Context, name string, _ api.ResumeRequest) error {
	return known(name)
}

func (fakeCluster) Delete(_ context.Context, name string) error { return known(name) }

func (fakeCluster) Rescale(_ context.Context, name string, _ api.RescaleRequest) (api.Submitted, error) {
	return api.Submitted{Name: name, Revision: 2}, known(name)
}

func (fakeCluster) Hosts(context.Context) ([]api.Host, error) {
	return []api.Host{{ID: "a", Instance: "x", Address: "127.0.0.1:1", Leader: true, Slots: 4, Used: 1, Since: time.Unix(1, 0).UTC(), Tasks: []string{"orders/in[0]"}}}, nil
}

func (fakeCluster) Offsets(_ context.Context, name, node, checkpoint string) ([]api.Offset, error) {
	if checkpoint != "" {
		return nil, api.Problemf(api.CodeOffsetsRefused, "there is no checkpoint %s", checkpoint)
	}
	return []api.Offset{
		{Split: "a/1", Task: "0", Data: []byte(`{"file":"a"}`), Position: []byte(`{"offset":9}`)},
		{Split: "b", Task: "enumerator", Data: []byte(`"b"`)},
	}, known(name)
}

func (fakeCluster) SetOffsets(_ context.Context, name, node string, r api.OffsetsRequest) (api.OffsetsChanged, error) {
	if name == "orders" && string(r.Positions["b"]) != "null" && !r.Reset {
		return api.OffsetsChanged{}, api.Problemf(api.CodeNotStopped, "%s runs: stop it first", name)
	}
	return api.OffsetsChanged{Checkpoint: 3, Before: 2, At: time.Unix(1, 0).UTC()}, known(name)
}

func (fakeCluster) Drain(_ context.Context, host string, _ api.DrainRequest) error {
	if host != "a" {
		return api.Problemf(api.CodeHostNotFound, "there is no host %q", host)
	}
	return nil
}

func known(name string) error {
	if name != "orders" {
		return api.PipelineNotFound(name, []string{"orders"})
	}
	return nil
}

// A server of one pipeline knows nothing of clusters, and says whom to ask.
func TestAServerOfOnePipelineIsNoCluster(t *testing.T) {
	r := ask(t, api.New(config(newFake())), "GET", "/v1/hosts", "")
	if content := body(t, r); r.StatusCode != http.StatusConflict || !strings.Contains(content, "not_a_cluster") {
		t.Errorf("%s %s", r.Status, content)
	}
}

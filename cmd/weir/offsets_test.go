package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/host/api"
)

// offsetsCluster is a cluster with one stopped pipeline and one that runs.
type offsetsCluster struct {
	api.Pipelines
	api.Cluster
	asked string // last
}

func (c *offsetsCluster) Offsets(_ context.Context, name, node, checkpoint string) ([]api.Offset, error) {
	c.asked = fmt.Sprintf("%s %s of %q", name, node, checkpoint)
	if name != "orders" {
		return nil, api.PipelineNotFound(name, []string{"orders"})
	}
	return []api.Offset{
		{Split: "orders-0", Task: "1", Data: json.RawMessage(`{"partition":0}`), Position: json.RawMessage(`{"offset":1200}`)},
		{Split: "orders-1", Task: "0", Data: json.RawMessage(`{"partition":1}`)},
	}, nil
}

func (c *offsetsCluster) SetOffsets(_ context.Context, name, node string, r api.OffsetsRequest) (api.OffsetsChanged, error) {
	c.asked = fmt.Sprintf("%s %s reset=%v undo=%v", name, node, r.Reset, r.Undo)
	for _, split := range slices.Sorted(maps.Keys(r.Positions)) {
		c.asked += fmt.Sprintf(" %s=%s", split, r.Positions[split])
	}
	switch {
	case name == "live":
		return api.OffsetsChanged{}, api.Problemf(api.CodeNotStopped, "the pipeline has not stopped: live is running; stop it first")
	case node != "in":
		return api.OffsetsChanged{}, api.Problemf(api.CodeOffsetsRefused, "checkpoint 7 of orders has no source %q; it has: in", node)
	}
	return api.OffsetsChanged{Checkpoint: 8, Before: 7, At: time.Unix(1, 0).UTC()}, nil
}

func TestOffsetsOfACluster(t *testing.T) {
	cluster := &offsetsCluster{}
	server := httptest.NewServer(api.New(api.Config{Pipelines: cluster, Cluster: cluster, Version: "1", Anyone: true, Log: slog.New(slog.DiscardHandler)}))
	defer server.Close()
	for _, c := range []struct {
		args   []string
		code   int
		said   string
		failed string
		asked  string
	}{
		{[]string{"ls", "orders", "in"}, 0, `SPLIT     TASK  POSITION         OF
orders-0  1     {"offset":1200}  {"partition":0}
orders-1  0     its beginning    {"partition":1}
`, "", `orders in of ""`},
		{[]string{"ls", "orders", "in", "--checkpoint", "before", "-o", "json"}, 0,
			`[{"split":"orders-0","task":"1","data":{"partition":0},"position":{"offset":1200}},{"split":"orders-1","task":"0","data":{"partition":1},"position":null}]` + "\n",
			"", `orders in of "before"`},
		{[]string{"ls", "order", "in"}, 2, "", "weir: there is no pipeline \"order\"; there are: orders\n`weir explain api.pipeline_not_found` says more\n", `order in of ""`},
		{[]string{"set", "orders", "in", `orders-0={"offset": 3}`, "orders-1=null"}, 0,
			"in goes on elsewhere in 2 splits: checkpoint 8, from which the next run starts\nundo: weir offsets undo orders in\n", "",
			`orders in reset=false undo=false orders-0={"offset":3} orders-1=null`},
		{[]string{"set", "orders", "in", "orders-0=5", "-o", "json"}, 0, `{"checkpoint":8,"before":7,"at":"1970-01-01T00:00:01Z"}` + "\n", "", "orders in reset=false undo=false orders-0=5"},
		{[]string{"reset", "orders", "in"}, 0,
			"in begins anew: checkpoint 8, from which the next run starts\nundo: weir offsets undo orders in\n", "", "orders in reset=true undo=false"},
		{[]string{"undo", "orders", "in"}, 0, "in goes on as before the change: checkpoint 8, from which the next run starts\n", "", "orders in reset=false undo=true"},
		{[]string{"reset", "orders", "out"}, 2, "",
			"weir: checkpoint 7 of orders has no source \"out\"; it has: in\n`weir explain offsets.refused` says more\n", "orders out reset=true undo=false"},
		{[]string{"reset", "live", "in"}, 2, "",
			"weir: the pipeline has not stopped: live is running; stop it first\n`weir explain api.not_stopped` says more\n", "live in reset=true undo=false"},
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), append(append([]string{"offsets"}, c.args...), "--server", server.URL), nil, &out, &errOut)
		if code != c.code || out.String() != c.said || errOut.String() != c.failed || cluster.asked != c.asked {
			t.Errorf("%q: exit code %d\n%s%s\nasked: %s", c.args, code, out.String(), errOut.String(), cluster.asked)
		}
	}
}

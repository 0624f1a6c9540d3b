package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// client.gen.go is what the generator makes of the document today.
func TestTheClientIsCurrent(t *testing.T) {
	made := filepath.Join(t.TempDir(), "client.gen.go")
	out, err := exec.CommandContext(t.Context(), "go", "tool", "oapi-codegen", "-config", "config.yaml", "-o", made, "../../host/api/openapi.yaml").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := os.ReadFile("client.gen.go"); err != nil || !bytes.Equal(is, want) {
		t.Errorf("client.gen.go is not what the document says: go -C tools generate ./apiclient (%v)", err)
	}
}

const pipeline = `name: shop
checkpoint: {interval: 200ms}
nodes:
  orders: {source: generator, config: {rate: 500}}
  clean:  {operator: expr, input: orders, config: {value: upper(value)}, on_error: skip}
  out:    {sink: file, input: clean, config: {path: out/}}
`

// start runs the pipeline and returns where its API is.
func start(t *testing.T) (server string) {
	t.Helper()
	dir := t.TempDir()
	weir := filepath.Join(dir, "weir")
	if runtime.GOOS == "windows" {
		weir += ".exe"
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", weir, "./cmd/weir")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(dir, "shop.yaml")
	if err := os.WriteFile(file, []byte(pipeline), 0o644); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(weir, "run", file, "--listen", "127.0.0.1:0", "--progress", "none", "--state-dir", filepath.Join(dir, "state"))
	stderr, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	told, address := new(strings.Builder), make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(told, lines.Text())
			if m := regexp.MustCompile(`API is served" address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		// Killed at once it would leave the folder of its socket.
		_ = run.Process.Signal(os.Interrupt)
		select {
		case <-read:
		case <-time.After(30 * time.Second):
			_ = run.Process.Kill()
			<-read
		}
		_ = run.Wait()
		if t.Failed() {
			t.Log(told)
		}
	})
	select {
	case a := <-address:
		return "http://" + a
	case <-read:
		t.Fatalf("the run ended\n%s", told)
	case <-time.After(time.Minute):
		t.Fatal("the API is not served within a minute")
	}
	return ""
}

// read asks something and returns the answer, which has to be a good one in which
// nothing is that the types do not know.
func read[T any](t *testing.T, what string, r *http.Response, err error) (got T) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", what, r.Status, err, body)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Errorf("%s: %v\n%s", what, err, body)
	}
	return got
}

func TestARunIsWatchedAndStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := NewClient(start(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.ListPipelines(ctx)
	if all := read[[]Pipeline](t, "list", r, err); len(all) != 1 || all[0].Name != "shop" {
		t.Errorf("list: %+v", all)
	}
	var status Status
	for status.Checkpoints.Last == nil || len(status.Nodes) != 3 || status.Nodes[2].RecordsIn == 0 {
		if ctx.Err() != nil {
			t.Fatalf("no checkpoint and no record: %+v", status)
		}
		time.Sleep(20 * time.Millisecond)
		r, err = c.GetStatus(ctx, "shop")
		status = read[Status](t, "status", r, err)
	}
	if status.State != StatusStateRunning || status.Guarantees[0].Guarantee != ExactlyOnce {
		t.Errorf("status: %+v", status)
	}
	r, err = c.ListNodes(ctx, "shop")
	if nodes := read[[]Node](t, "nodes", r, err); len(nodes) != 3 || nodes[1].Name != "clean" || nodes[1].Kind != Operator {
		t.Errorf("nodes: %+v", nodes)
	}
	r, err = c.ListTasks(ctx, "shop")
	if tasks := read[[]Task](t, "tasks", r, err); len(tasks) < 3 {
		t.Errorf("tasks: %+v", tasks)
	}
	r, err = c.ListCheckpoints(ctx, "shop")
	if all := read[[]Checkpoint](t, "checkpoints", r, err); len(all) == 0 || all[0].State != CheckpointStateRunning {
		t.Errorf("checkpoints: %+v", all)
	}
	r, err = c.ListErrors(ctx, "shop")
	if failures := read[[]Failure](t, "errors", r, err); len(failures) != 0 {
		t.Errorf("errors: %+v", failures)
	}
	r, err = c.TapPipeline(ctx, "shop", &TapPipelineParams{Node: pointer("clean")})
	if err != nil {
		t.Fatal(err)
	}
	var tapped TapRecord
	if err := json.NewDecoder(r.Body).Decode(&tapped); err != nil || tapped.Node != "clean" || tapped.Value == nil || !strings.HasPrefix(value(tapped.Value.Text), `{"SEQ":`) {
		t.Errorf("tap: %+v, %v", tapped, err)
	}
	r.Body.Close()
	if r, err := c.SetLogLevel(ctx, "shop", SetLogLevelJSONRequestBody{Level: LogLevelRequestLevelDebug}); err != nil || r.StatusCode != http.StatusNoContent {
		t.Errorf("level: %+v, %v", r, err)
	}
	r, err = c.CreateSavepoint(ctx, "shop", CreateSavepointJSONRequestBody{Name: pointer("before")})
	if saved := read[Savepoint](t, "savepoint", r, err); saved.Name != "before" || saved.Number == 0 {
		t.Errorf("savepoint: %+v", saved)
	}
	r, err = c.ReadLogs(ctx, "shop", &ReadLogsParams{Tail: pointer(int64(100))})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for lines := json.NewDecoder(r.Body); lines.More(); {
		var record LogRecord
		if err := lines.Decode(&record); err != nil {
			t.Fatalf("logs: %v", err)
		}
		found = found || record.Message == "savepoint complete" && !record.Time.IsZero()
	}
	r.Body.Close()
	if !found {
		t.Error("the log does not tell of the savepoint")
	}

	// What is refused says why, in the same form everywhere.
	refused, err := ParseGetStatusResponse(answer(c.GetStatus(ctx, "nowhere")))
	if err != nil || refused.StatusCode() != http.StatusNotFound || refused.ApplicationproblemJSONDefault == nil || refused.ApplicationproblemJSONDefault.Code != "api.pipeline_not_found" {
		t.Errorf("an unknown pipeline: %+v, %v", refused, err)
	}
	cluster, err := ParseListHostsResponse(answer(c.ListHosts(ctx)))
	if err != nil || cluster.ApplicationproblemJSONDefault == nil || cluster.ApplicationproblemJSONDefault.Code != "api.not_a_cluster" {
		t.Errorf("hosts of a run: %+v, %v", cluster, err)
	}

	r, err = c.StopPipeline(ctx, "shop", StopPipelineJSONRequestBody{})
	if stopped := read[Stopped](t, "stop", r, err); stopped.State != StoppedStateStopped || len(stopped.Uncommitted) != 0 {
		t.Errorf("stop: %+v", stopped)
	}
}

// answer drops an error, without which there is an answer.
func answer(r *http.Response, err error) *http.Response {
	if err != nil {
		return &http.Response{Body: io.NopCloser(strings.NewReader(err.Error())), Header: http.Header{}}
	}
	return r
}

func pointer[T any](v T) *T { return &v }

// value is what an optional field holds.
func value[T any](v *T) (zero T) {
	if v == nil {
		return zero
	}
	return *v
}

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/api"
)

// serve serves a handler on a port of this machine until the test ends.
func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// patience is for what takes no time unless the machine is very busy.
const patience = 30 * time.Second

func TestEveryErrorIsAProblemWithACode(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		code               api.Code
		detail             string
	}{
		{"GET", "/v1/pipelines/other", "", 404, api.CodePipelineNotFound, `there is no pipeline "other"; there are: orders`},
		{"GET", "/v1/pipelines/orders/logs?node=nowhere", "", 404, api.CodeNodeNotFound, `pipeline orders has no node "nowhere"; it has: in, out`},
		{"GET", "/v1/pipelines/orders/errors", "", 500, api.CodeInternal, "the disk is on fire"},
		{"GET", "/v1/nothing", "", 404, api.CodeNotFound, "there is no /v1/nothing"},
		{"DELETE", "/v1/pipelines", "", 405, api.CodeMethodNotAllowed, "DELETE /v1/pipelines: allowed are GET, HEAD"},
		{"GET", "/v1/pipelines?colour=red", "", 422, api.CodeInvalidRequest, "validation failed"},
		{"POST", "/v1/pipelines/orders/stop", `{`, 400, api.CodeInvalidRequest, ""},
		{"POST", "/v1/pipelines/orders/savepoints", `{"name":"a b"}`, 422, api.CodeInvalidRequest, ""},
		{"POST", "/v1/pipelines/orders/savepoints", `{"name":"` + strings.Repeat("a", 2<<20) + `"}`, 413, api.CodeInvalidRequest, ""},
		{"PUT", "/v1/pipelines/orders/log-level", `{"level":"loud"}`, 422, api.CodeInvalidRequest, ""},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"positions":{}}`, 422, api.CodeInvalidRequest, "one of positions, reset and undo is needed"},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"reset":true}`, 409, api.CodeNotACluster, ""},
		{"GET", "/readyz", "", 503, api.CodeUnavailable, "orders waits for a restart"},
	} {
		t.Run(fmt.Sprint(c.method, " ", c.path), func(t *testing.T) {
			f := newFake()
			f.ready = errors.New("orders waits for a restart")
			r := ask(t, api.New(config(f)), c.method, c.path, c.body)
			var p api.Problem
			if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
				t.Fatal(err)
			}
			if r.StatusCode != c.status || p.Status != c.status || p.Code != c.code || p.Title == "" || p.Type != "urn:weir:error:"+string(c.code) {
				t.Errorf("%s %+v", r.Status, p)
			}
			if !strings.Contains(p.Detail, c.detail) || r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %q", r.Header.Get("Content-Type"), p.Detail)
			}
		})
	}
}

func TestWhatIsWrongWithARequestIsSaidWithItsPlace(t *testing.T) {
	r := ask(t, api.New(config(newFake())), "POST", "/v1/pipelines/orders/savepoints", `{"name":"a b", "nam": 1}`)
	var p api.Problem
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	want := []api.Fault{
		{At: "body.name", Message: "expected string to be letters, digits, dots, dashes and underscores, at most 63"},
		{At: "body.nam", Message: "unexpected property"},
	}
	if fmt.Sprint(p.Faults) != fmt.Sprint(want) {
		t.Errorf("%+v", p.Faults)
	}
}

func TestATokenIsWantedWhereThereIsOne(t *testing.T) {
	c := config(newFake())
	c.Token, c.Anyone = "secret", false
	h := api.New(c)
	for _, try := range []struct {
		path, authorization string
		status              int
	}{
		{"/v1/pipelines", "", 401},
		{"/v1/pipelines", "Bearer wrong", 401},
		{"/metrics", "", 401},
		{"/v1/pipelines", "Bearer secret", 200},
		{"/metrics", "Bearer secret", 200},
		{"/healthz", "", 200},
		{"/readyz", "", 200},
	} {
		r := ask(t, h, "GET", try.path, "", "Authorization", try.authorization, "Host", "weir.example:9000")
		if r.StatusCode != try.status {
			t.Errorf("%s with %q: %s", try.path, try.authorization, r.Status)
		}
	}
}

// A page in a browser must not reach a server that wants no token: neither by a
// name of its own for this machine, nor by a form.
func TestWithoutATokenAPageReachesNothing(t *testing.T) {
	c := config(newFake())
	c.Anyone = false
	h := api.New(c)
	for host, status := range map[string]int{"evil.example": 403, "evil.example:80": 403, "localhost": 200, "127.0.0.1:9": 200, "[::1]:9": 200} {
		if r := ask(t, h, "GET", "/v1/pipelines", "", "Host", host); r.StatusCode != status {
			t.Errorf("host %s: %s", host, r.Status)
		}
	}
	r := ask(t, h, "POST", "/v1/pipelines/orders/stop", "{}", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	if r.StatusCode != http.StatusForbidden || !strings.Contains(body(t, r), `"api.forbidden"`) {
		t.Error(r.Status)
	}
}

func TestOfTwoChangesAtOnceOneGetsAConflict(t *testing.T) {
	f := newFake()
	f.wait = make(chan struct{})
	url := serve(t, api.New(config(f)))
	first := make(chan string, 1)
	go func() {
		r, err := http.Post(url+"/v1/pipelines/orders/savepoints", "application/json", strings.NewReader(`{"name":"a"}`))
		if err != nil {
			first <- err.Error()
			return
		}
		defer r.Body.Close()
		first <- r.Status
	}()
	eventually(t, func() bool { return len(f.busy) == 1 })
	r, err := http.Post(url+"/v1/pipelines/orders/stop", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if content := body(t, r); r.StatusCode != http.StatusConflict || !strings.Contains(content, `"code":"api.conflict"`) || !strings.Contains(content, "savepoint a is under way") {
		t.Errorf("%s %s", r.Status, content)
	}
	close(f.wait)
	if got := <-first; got != "200 OK" {
		t.Error(got)
	}
}

// endless logs for ever and says when its consumer has gone.
func endless(gone chan<- struct{}) func(context.Context, api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return func(ctx context.Context, _ api.LogQuery) iter.Seq2[api.LogRecord, error] {
		return func(yield func(api.LogRecord, error) bool) {
			defer close(gone)
			for ctx.Err() == nil && yield(api.LogRecord{Message: strings.Repeat("x", 1<<10)}, nil) {
			}
		}
	}
}

func TestAClientThatNeverReadsLosesItsConnection(t *testing.T) {
	f := newFake()
	for _, path := range []string{"logs?follow=true", "tap"} {
		gone := make(chan struct{})
		f.logs = endless(gone)
		f.tap = func(ctx context.Context, _ api.TapQuery) iter.Seq2[api.TapRecord, error] {
			return func(yield func(api.TapRecord, error) bool) {
				defer close(gone)
				for yield(api.TapRecord{Value: &api.TapData{Text: strings.Repeat("x", 1000)}}, ctx.Err()) {
				}
			}
		}
		c := config(f)
		c.WriteTimeout = 200 * time.Millisecond
		conn := dial(t, serve(t, api.New(c)))
		fmt.Fprintf(conn, "GET /v1/pipelines/orders/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatalf("the stream of %s goes on although nobody reads", path)
		}
	}
}

// TestAnAnswerMayTakeAsLongAsThePipelineDoes: a final checkpoint behind full queues
// takes longer than any other answer may.
func TestAnAnswerMayTakeAsLongAsThePipelineDoes(t *testing.T) {
	for path, request := range map[string]string{
		"stop": `{"savepoint": "kept"}`, "savepoints": `{"name": "kept"}`,
	} {
		f := newFake()
		f.wait = make(chan struct{})
		c := config(f)
		c.WriteTimeout, c.ReadTimeout = time.Second, time.Second
		time.AfterFunc(2500*time.Millisecond, func() { close(f.wait) })
		r, err := http.Post(serve(t, api.New(c))+"/v1/pipelines/orders/"+path, "application/json", strings.NewReader(request))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := body(t, r); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, r.Status, got)
		}
		r.Body.Close()
	}
}

func TestATapOnWhatThereIsNotSaysWhatThereIs(t *testing.T) {
	f := newFake()
	f.status.Nodes[0].Outputs = []string{"out", "late"}
	f.tap = func(context.Context, api.TapQuery) iter.Seq2[api.TapRecord, error] {
		return func(func(api.TapRecord, error) bool) {}
	}
	url := serve(t, api.New(config(f)))
	for query, want := range map[string]string{
		"node=nowhere":          `pipeline orders has no node \"nowhere\"; it has: in, out`,
		"node=in&output=errors": `node in has no output \"errors\" that leads anywhere; it has: out, late`,
		"node=out&output=out":   `node out has no output \"out\", and no other: it is a sink`,
		"output=out":            "of which node?",
		"node=in&output=late":   "",
	} {
		r, err := http.Get(url + "/v1/pipelines/orders/tap?" + query)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, r); !strings.Contains(got, want) || (want == "") != (r.StatusCode == http.StatusOK) {
			t.Errorf("%s: %s %s", query, r.Status, got)
		}
		r.Body.Close()
	}
}

func TestStreamsAreBounded(t *testing.T) {
	f := newFake()
	f.logs = func(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
		return func(func(api.LogRecord, error) bool) {
			if q.Follow {
				<-ctx.Done()
			}
		}
	}
	url := serve(t, api.New(config(f)))
	var open []net.Conn
	for range 64 {
		conn := dial(t, url)
		open = append(open, conn)
		fmt.Fprint(conn, "GET /v1/pipelines/orders/logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatal(line, err)
		}
	}
	r, err := http.Get(url + "/v1/pipelines/orders/logs")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if content := body(t, r); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(content, "api.too_many_streams") {
		t.Error(r.Status, content)
	}
	for _, conn := range open {
		conn.Close()
	}
	eventually(t, func() bool {
		r, err := http.Get(url + "/v1/pipelines/orders/logs")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

func TestStreamsEndWhenTheServerIsShutDown(t *testing.T) {
	f := newFake()
	started := make(chan struct{})
	f.logs = func(ctx context.Context, _ api.LogQuery) iter.Seq2[api.LogRecord, error] {
		return func(func(api.LogRecord, error) bool) { close(started); <-ctx.Done() }
	}
	server := api.NewServer(config(f))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	conn := dial(t, "http://"+l.Addr().String())
	fmt.Fprint(conn, "GET /v1/pipelines/orders/logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// faulty panics when it is asked.
type faulty struct{ nobody }

func (faulty) List(context.Context) ([]api.Pipeline, error) { panic("oh") }

func TestAFaultInARequestIsNoMoreThanThat(t *testing.T) {
	var said strings.Builder
	c := config(faulty{})
	c.Log = slog.New(slog.NewTextHandler(&said, nil))
	r := ask(t, api.New(c), "GET", "/v1/pipelines", "")
	if content := body(t, r); r.StatusCode != 500 || !strings.Contains(content, `"api.internal"`) {
		t.Error(r.Status, content)
	}
	if !strings.Contains(said.String(), "cause=oh") {
		t.Error(said.String())
	}
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

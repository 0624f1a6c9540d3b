package api_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/weirstream/weir/host/api"
)

var update = flag.Bool("update", false, "write the document anew")

func config(p api.Pipelines) api.Config {
	return api.Config{Pipelines: p, Version: "1.2.3", Anyone: true, Log: slog.New(slog.DiscardHandler)}
}

// The committed document, which is served, is what the handlers are.
func TestTheDocumentIsThatOfTheHandlers(t *testing.T) {
	made, err := api.Made(config(nobody{})).YAML()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.yaml", made, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(made) != string(api.Committed) {
		t.Error("openapi.yaml is not what the handlers are: go test ./host/api -run Document -update")
	}
	served := ask(t, api.New(config(nobody{})), "GET", "/v1/openapi.yaml", "")
	if served.StatusCode != http.StatusOK || body(t, served) != string(made) {
		t.Errorf("served: %s", served.Status)
	}
}

// Whatever is asked, the answer is one that the document describes, as a foreign
// library reads it.
func TestEveryAnswerIsAsTheDocumentSays(t *testing.T) {
	f := newFake()
	f.logs = records(3)
	at, place := time.Unix(1, 0).UTC(), int64(7)
	f.tap = func(context.Context, api.TapQuery) iter.Seq2[api.TapRecord, error] {
		return func(yield func(api.TapRecord, error) bool) {
			r := api.TapRecord{
				Host: "a", Node: "in", Output: "out", Key: &api.TapData{Text: "k"}, Value: &api.TapData{Base64: []byte{255}, Bytes: 9}, Time: &at,
				Headers: []api.TapHeader{{Name: "h"}}, Split: "s", Ordinal: &place, Dropped: 3,
			}
			for range 3 {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
	c := config(f)
	c.Cluster = fakeCluster{}
	handler := api.New(c)
	old, err := api.Made(config(f)).Downgrade()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/pipelines", ""},
		{"GET", "/v1/pipelines/orders", ""},
		{"GET", "/v1/pipelines/other", ""},
		{"GET", "/v1/pipelines/orders/nodes", ""},
		{"GET", "/v1/pipelines/orders/tasks", ""},
		{"GET", "/v1/pipelines/orders/checkpoints", ""},
		{"GET", "/v1/pipelines/orders/errors", ""},
		{"GET", "/v1/pipelines/orders/logs", ""},
		{"GET", "/v1/pipelines/orders/logs?node=nowhere", ""},
		{"GET", "/v1/pipelines/orders/logs?tail=many", ""},
		{"GET", "/v1/pipelines/orders/tap?node=in&output=out&mask=a&mask=b", ""},
		{"GET", "/v1/pipelines/orders/tap?node=in&output=late", ""},
		{"POST", "/v1/pipelines/orders/savepoints", `{"name":"a"}`},
		{"POST", "/v1/pipelines/orders/savepoints", ``},
		{"POST", "/v1/pipelines/orders/savepoints", `{"name":"../a"}`},
		{"POST", "/v1/pipelines/orders/savepoints", `{"nam":"a"}`},
		{"POST", "/v1/pipelines/orders/stop", `{}`},
		{"PUT", "/v1/pipelines/orders/log-level", `{"level":"debug"}`},
		{"PUT", "/v1/pipelines/orders/log-level", `{"level":"default","node":"in"}`},
		{"PUT", "/v1/pipelines/orders/log-level", `{"level":"loud"}`},
		{"POST", "/v1/pipelines", `{"file":"a.yaml","dir":"/srv","source":"name: a"}`},
		{"POST", "/v1/pipelines", `{"file":"a.yaml"}`},
		{"POST", "/v1/pipelines/orders/resume", `{}`},
		{"POST", "/v1/pipelines/other/resume", ``},
		{"POST", "/v1/pipelines/orders/rescale", `{"parallelism":{"in":3}}`},
		{"DELETE", "/v1/pipelines/orders", ``},
		{"GET", "/v1/pipelines/orders/nodes/in/offsets", ``},
		{"GET", "/v1/pipelines/orders/nodes/in/offsets?checkpoint=7", ``},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"positions":{"a/1":{"offset":7},"b":null}}`},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"positions":{"b":5}}`},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"reset":true}`},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"positions":{}}`},
		{"PUT", "/v1/pipelines/orders/nodes/in/offsets", `{"reset":true,"undo":true}`},
		{"GET", "/v1/hosts", ``},
		{"PUT", "/v1/hosts/a/drain", `{"drain":true}`},
		{"PUT", "/v1/hosts/z/drain", `{"drain":true}`},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, "http://localhost"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		route, params, err := router.FindRoute(request)
		if err != nil {
			t.Fatalf("%s %s is not in the document: %v", c.method, c.path, err)
		}
		tried[route.Operation.OperationID] = true
		response := ask(t, handler, c.method, c.path, c.body)
		content := body(t, response)
		if (strings.Contains(c.path, "/logs") || strings.Contains(c.path, "/tap")) && response.StatusCode == http.StatusOK {
			if n := strings.Count(content, "\n"); n != 3 {
				t.Errorf("%d lines of log, not 3", n)
			}
			content, _, _ = strings.Cut(content, "\n") // each is a LogRecord
			response.Header.Set("Content-Type", "application/json")
			media := route.Operation.Responses.Value("200").Value.Content
			media["application/json"] = media["application/x-ndjson"]
		}
		err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: params, Route: route},
			Status:                 response.StatusCode, Header: response.Header, Body: io.NopCloser(strings.NewReader(content)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
		if err != nil {
			t.Errorf("%s %s: %s %s: %v", c.method, c.path, response.Status, content, err)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !tried[op.OperationID] {
				t.Errorf("%s %s was not tried", method, path)
			}
		}
	}
}

// ask asks a handler over TCP.
func ask(t *testing.T, h http.Handler, method, path, content string, headers ...string) *http.Response {
	t.Helper()
	server := serve(t, h)
	r, err := http.NewRequestWithContext(t.Context(), method, server+path, bytes.NewReader([]byte(content)))
	if err != nil {
		t.Fatal(err)
	}
	if content != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

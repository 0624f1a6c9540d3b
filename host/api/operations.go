package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// register adds every operation of the document to a mux and returns the document.
func register(mux *http.ServeMux, c Config) *huma.OpenAPI {
	config := huma.DefaultConfig("Weir", "1")
	config.Info.Description = "Pipelines of one host or of a cluster: what they do, why they do not do more, and how to change that."
	config.Info.License = &huma.License{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"}
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", "" // the committed document is served
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.AllowAdditionalPropertiesByDefault = true // fields are added
	config.Transformers = []huma.Transformer{asProblem}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "Needed where the server was given a token."},
	}
	config.Security = []map[string][]string{{}, {"token": {}}}
	config.Tags = []*huma.Tag{
		{Name: "watch", Description: "What pipelines do."},
		{Name: "change", Description: "Each pipeline is changed by one request at a time: another gets the problem api.conflict."},
		{Name: "cluster", Description: "What a host of a cluster can do beside."},
	}
	a := humago.New(mux, config)
	o := &operations{Config: c, api: a, streams: make(chan struct{}, maxStreams)}
	o.watch()
	o.change()
	o.cluster()
	doc := a.OpenAPI()
	// What the library would answer by itself is turned into a Problem.
	delete(doc.Components.Schemas.Map(), "ErrorModel")
	delete(doc.Components.Schemas.Map(), "ErrorDetail")
	for _, schema := range doc.Components.Schemas.Map() {
		plainly(schema)
	}
	for _, path := range doc.Paths {
		if path.Get != nil {
			for _, media := range path.Get.Responses["200"].Content {
				plainly(media.Schema)
			}
		}
	}
	return doc
}

// plainly says of lists that they are never null (an empty one is empty, or absent)
// and leaves out what is no word of OpenAPI.
func plainly(s *huma.Schema) {
	s.PatternDescription = "" // messages were made of it
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	for _, p := range s.Properties {
		plainly(p)
	}
}

// operations are the handlers.
type operations struct {
	Config
	api     huma.API
	streams chan struct{} // holds one token a stream that is open
}

// named is the input of operations on one pipeline.
type named struct {
	Name string `path:"name" doc:"The pipeline's name."`
}

// answer is the output of operations with a JSON body.
type answer[T any] struct{ Body T }

// operation describes one; every error is a Problem.
func (o *operations) operation(id, method, path, tag, summary, description string) huma.Operation {
	problem := o.api.OpenAPI().Components.Schemas.Schema(problemOf, true, "Problem")
	return huma.Operation{
		OperationID: id, Method: method, Path: "/v1/" + path, Tags: []string{tag}, Summary: summary, Description: description,
		DefaultStatus: http.StatusOK, BodyReadTimeout: o.ReadTimeout,
		Responses: map[string]*huma.Response{
			"default": {Description: "A problem", Content: map[string]*huma.MediaType{problemType: {Schema: problem}}},
		},
	}
}

// patient registers an operation whose answer may take as long as it takes: it waits
// for a pipeline, or for plugins, which have deadlines of their own.
func patient[I, O any](o *operations, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	type answering struct{} // the key of the answer's writer
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		_, w := humago.Unwrap(ctx)
		next(huma.WithValue(ctx, answering{}, http.NewResponseController(w)))
	})
	huma.Register(o.api, op, func(ctx context.Context, in *I) (*O, error) {
		// The request has been read. A deadline for reading ends one that waits, too: the
		// server listens for the client's leaving meanwhile, and takes the deadline for it.
		deadlines := ctx.Value(answering{}).(*http.ResponseController)
		_ = deadlines.SetReadDeadline(time.Time{})
		_ = deadlines.SetWriteDeadline(time.Time{})
		return handle(ctx, in)
	})
}

// get registers an operation that tells something of one pipeline.
func get[T any](o *operations, id, path, summary, description string, read func(context.Context, string) (T, error)) {
	op := o.operation(id, http.MethodGet, "pipelines/{name}"+path, "watch", summary, description)
	huma.Register(o.api, op, func(ctx context.Context, in *named) (*answer[T], error) {
		body, err := read(ctx, in.Name)
		return &answer[T]{body}, o.problem(err)
	})
}

// list makes an empty list of a nil one.
func list[T any](read func(context.Context, string) ([]T, error)) func(context.Context, string) ([]T, error) {
	return func(ctx context.Context, name string) ([]T, error) {
		all, err := read(ctx, name)
		if all == nil {
			all = []T{}
		}
		return all, err
	}
}

func (o *operations) watch() {
	p := o.Pipelines
	huma.Register(o.api, o.operation("listPipelines", http.MethodGet, "pipelines", "watch", "List pipelines", "Sorted by name."),
		func(ctx context.Context, _ *struct{}) (*answer[[]Pipeline], error) {
			all, err := list(func(ctx context.Context, _ string) ([]Pipeline, error) { return p.List(ctx) })(ctx, "")
			return &answer[[]Pipeline]{all}, o.problem(err)
		})
	get(o, "getStatus", "", "Status of a pipeline", "What it does, and why it does not do more.", p.Status)
	get(o, "listNodes", "/nodes", "Nodes of a pipeline", "In the order of the data.",
		func(ctx context.Context, name string) ([]Node, error) {
			s, err := p.Status(ctx, name)
			return s.Nodes, err
		})
	get(o, "listTasks", "/tasks", "Tasks of a pipeline", "In the order of the data, then by index.", list(p.Tasks))
	get(o, "listCheckpoints", "/checkpoints", "Stored checkpoints", "Newest first, then savepoints by name.", list(p.Checkpoints))
	get(o, "listErrors", "/errors", "What went wrong", "Newest first; the oldest are forgotten.", list(p.Failures))
	o.logs()
	o.tap()
}

func (o *operations) change() {
	p := o.Pipelines
	type savepoint struct {
		Name string `path:"name" doc:"The pipeline's name."`
		Body *SavepointRequest
	}
	patient(o, o.operation("createSavepoint", http.MethodPost, "pipelines/{name}/savepoints", "change", "Make a savepoint",
		"Answers when all output up to it is published. It goes on when the client leaves before."),
		func(ctx context.Context, in *savepoint) (*answer[Savepoint], error) {
			s, err := p.Savepoint(ctx, in.Name, orZero(in.Body))
			return &answer[Savepoint]{s}, o.problem(err)
		})
	type stop struct {
		Name string `path:"name" doc:"The pipeline's name."`
		Body *StopRequest
	}
	patient(o, o.operation("stopPipeline", http.MethodPost, "pipelines/{name}/stop", "change", "Stop a pipeline",
		"Makes a final checkpoint and answers when its output is published and the pipeline has stopped. It stops also when the client leaves before."),
		func(ctx context.Context, in *stop) (*answer[Stopped], error) {
			s, err := p.Stop(ctx, in.Name, orZero(in.Body))
			if s.Uncommitted == nil {
				s.Uncommitted = []string{}
			}
			return &answer[Stopped]{s}, o.problem(err)
		})
	type level struct {
		Name string `path:"name" doc:"The pipeline's name."`
		Body LogLevelRequest
	}
	op := o.operation("setLogLevel", http.MethodPut, "pipelines/{name}/log-level", "change", "Change a log level",
		"Of one node, or of all; of a run with the host, until it ends; in a cluster on every host that has tasks of the pipeline, now and later.")
	op.DefaultStatus = http.StatusNoContent
	huma.Register(o.api, op, func(ctx context.Context, in *level) (*struct{}, error) {
		return nil, o.problem(p.SetLogLevel(ctx, in.Name, in.Body))
	})
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// problem makes a Problem of an error. What is not one already is told in full:
// who may ask may know.
func (o *operations) problem(err error) error {
	var p *Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.Canceled):
		return Problemf(CodeUnavailable, "the server is going down")
	}
	return Problemf(CodeInternal, "%v", err)
}

// asProblem turns what the library says of a wrong request into a Problem.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := Problemf(CodeInvalidRequest, "%s", e.Detail)
	if e.Status != 0 {
		p.Status = e.Status
	}
	for _, d := range e.Errors {
		p.Faults = append(p.Faults, Fault{At: d.Location, Message: d.Message})
	}
	return p, nil
}

package api

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// linesType is JSON, one value a line.
const linesType = "application/x-ndjson"

// streaming describes an operation that answers with a line of JSON after the other.
func (o *operations) streaming(id, path, summary string, of reflect.Type, description string) huma.Operation {
	op := o.operation(id, http.MethodGet, "pipelines/{name}/"+path, "watch", summary, description)
	op.Responses["200"] = &huma.Response{
		Description: "One " + of.Name() + " a line",
		Content:     map[string]*huma.MediaType{linesType: {Schema: o.api.OpenAPI().Components.Schemas.Schema(of, true, of.Name())}},
	}
	return op
}

// stream answers with what read yields, as it comes. Each line has its time to be
// read; a client that reads none loses its connection. What check says is wrong is
// said before the first line.
func stream[T any](o *operations, read func(context.Context) iter.Seq2[T, error], check func() error) (*huma.StreamResponse, error) {
	select {
	case o.streams <- struct{}{}:
	default:
		return nil, Problemf(CodeTooManyStreams, "%d streams are open, which is the most", maxStreams)
	}
	if err := check(); err != nil {
		<-o.streams
		return nil, o.problem(err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer func() { <-o.streams }()
		_, w := humago.Unwrap(hctx)
		ctx, cancel := untilShutdown(hctx.Context())
		defer cancel()
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(time.Time{}) // that the client says nothing more is no reason to go
		w.Header().Set("Content-Type", linesType)
		w.WriteHeader(http.StatusOK)
		_ = c.Flush()
		lines := json.NewEncoder(w)
		for line, err := range read(ctx) {
			if err != nil {
				return
			}
			_ = c.SetWriteDeadline(time.Now().Add(o.WriteTimeout))
			if lines.Encode(line) != nil || c.Flush() != nil {
				return
			}
		}
	}}, nil
}

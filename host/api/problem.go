package api

import (
	"fmt"
	"net/http"
	"strings"
)

// Code names a kind of problem. Codes never change.
type Code string

// The codes of problems.
const (
	CodeInvalidRequest   Code = "api.invalid_request"
	CodeUnauthorized     Code = "api.unauthorized"
	CodeForbidden        Code = "api.forbidden"
	CodeNotFound         Code = "api.not_found"
	CodePipelineNotFound Code = "api.pipeline_not_found"
	CodeNodeNotFound     Code = "api.node_not_found"
	CodeOutputNotFound   Code = "api.output_not_found"
	CodeNotRunning       Code = "api.not_running"
	CodeHostNotFound     Code = "api.host_not_found"
	CodeNotACluster      Code = "api.not_a_cluster"
	CodeNotStopped       Code = "api.not_stopped"
	CodeInvalidPipeline  Code = "api.invalid_pipeline"
	CodeConflict         Code = "api.conflict"
	CodeSavepointExists  Code = "api.savepoint_exists"
	CodeSavepointFailed  Code = "api.savepoint_failed"
	CodeOffsetsRefused   Code = "offsets.refused"
	CodeMethodNotAllowed Code = "api.method_not_allowed"
	CodeTooManyStreams   Code = "api.too_many_streams"
	CodeUnavailable      Code = "api.unavailable"
	CodeInternal         Code = "api.internal"
)

// kinds say of each code which status it has and what it is.
var kinds = map[Code]struct {
	status int
	title  string
}{
	CodeInvalidRequest:   {http.StatusUnprocessableEntity, "The request is wrong"},
	CodeUnauthorized:     {http.StatusUnauthorized, "A token is needed"},
	CodeForbidden:        {http.StatusForbidden, "The request is refused"},
	CodeNotFound:         {http.StatusNotFound, "There is no such path"},
	CodePipelineNotFound: {http.StatusNotFound, "There is no such pipeline"},
	CodeNodeNotFound:     {http.StatusNotFound, "There is no such node"},
	CodeOutputNotFound:   {http.StatusNotFound, "There is no such output"},
	CodeNotRunning:       {http.StatusConflict, "The pipeline does not run"},
	CodeHostNotFound:     {http.StatusNotFound, "There is no such host"},
	CodeNotACluster:      {http.StatusConflict, "This server is no host of a cluster"},
	CodeNotStopped:       {http.StatusConflict, "The pipeline has not stopped"},
	CodeInvalidPipeline:  {http.StatusUnprocessableEntity, "The pipeline file is wrong"},
	CodeConflict:         {http.StatusConflict, "Another change is under way"},
	CodeSavepointExists:  {http.StatusConflict, "A savepoint of this name exists"},
	CodeSavepointFailed:  {http.StatusBadGateway, "The savepoint came to nothing"},
	CodeOffsetsRefused:   {http.StatusConflict, "Positions cannot be shown or changed"},
	CodeMethodNotAllowed: {http.StatusMethodNotAllowed, "The path has no such method"},
	CodeTooManyStreams:   {http.StatusServiceUnavailable, "Too many streams are open"},
	CodeUnavailable:      {http.StatusServiceUnavailable, "Not available at present"},
	CodeInternal:         {http.StatusInternalServerError, "Something went wrong inside"},
}

// Problem is an error of the API, as RFC 9457 has it, with a code.
type Problem struct {
	Type   string  `json:"type" format:"uri" example:"urn:weir:error:api.conflict" doc:"The code as a URI."`
	Code   Code    `json:"code" example:"api.conflict" doc:"Names the kind of problem; it never changes."`
	Title  string  `json:"title" doc:"The kind of problem, for people."`
	Status int     `json:"status" doc:"The HTTP status."`
	Detail string  `json:"detail" doc:"What happened, and what to do."`
	Faults []Fault `json:"faults,omitempty" doc:"What is wrong with the request, each fault with its place."`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	At      string `json:"at" doc:"Where, as in body.name."`
	Message string `json:"message"`
}

// Problemf makes a problem of a kind.
func Problemf(code Code, format string, args ...any) *Problem {
	k := kinds[code]
	return &Problem{
		Type: "urn:weir:error:" + string(code), Code: code, Title: k.title, Status: k.status,
		Detail: fmt.Sprintf(format, args...),
	}
}

// PipelineNotFound says that there is no such pipeline, and which there are.
func PipelineNotFound(name string, known []string) *Problem {
	if len(known) == 0 {
		return Problemf(CodePipelineNotFound, "there is no pipeline %q, and no other", name)
	}
	return Problemf(CodePipelineNotFound, "there is no pipeline %q; there are: %s", name, strings.Join(known, ", "))
}

// NodeNotFound says that a pipeline has no such node, and which it has.
func NodeNotFound(pipeline, node string, known []string) *Problem {
	return Problemf(CodeNodeNotFound, "pipeline %s has no node %q; it has: %s", pipeline, node, strings.Join(known, ", "))
}

// OutputNotFound says that a node has no such output, and which it has.
func OutputNotFound(node, output string, known []string) *Problem {
	if len(known) == 0 {
		return Problemf(CodeOutputNotFound, "node %s has no output %q, and no other: it is a sink", node, output)
	}
	return Problemf(CodeOutputNotFound, "node %s has no output %q that leads anywhere; it has: %s", node, output, strings.Join(known, ", "))
}

// Error is the detail, and what is wrong where.
func (p *Problem) Error() string {
	text := p.Detail
	for _, f := range p.Faults {
		text += fmt.Sprintf("\n  %s: %s", f.At, f.Message)
	}
	return text
}

// ErrorCode is the code, for `weir explain`.
func (p *Problem) ErrorCode() string { return string(p.Code) }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem details.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

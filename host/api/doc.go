// Package api serves one HTTP API for pipelines, whoever runs them: `weir run`
// on a Unix socket, `weir serve` on TCP. A command does not see the difference.
//
// Who runs pipelines implements [Pipelines]; [New] makes a handler of it:
//
//	/v1/...            what the document openapi.yaml says, which is served too
//	/healthz, /readyz  for whoever supervises the process
//	/metrics           for Prometheus
//
// Every error is a [Problem] (RFC 9457) with a stable code. The types of this
// package are the JSON of the API: a field is added, never changed.
//
// The document is made from the types and operations here; openapi.yaml beside
// them is its committed form, and a test holds the two together.
package api

// Package apiclient is a client of the API, generated from its document as anybody may
// generate one. Its test runs a pipeline and asks it everything: that a foreign
// generator reads the document, and that its types fit the answers.
//
// Weir's own commands use host/api/client, which hands out streams record by record,
// problems as errors, and reaches Unix sockets.
package apiclient

//go:generate go tool oapi-codegen -config config.yaml -o client.gen.go ../../host/api/openapi.yaml

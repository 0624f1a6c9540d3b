package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Made is the document as the handlers make it.
func Made(c Config) *huma.OpenAPI { return register(http.NewServeMux(), c) }

// Committed is the document that is served.
var Committed = document

// Codes are all codes of problems.
func Codes() (all []Code) {
	for c := range kinds {
		all = append(all, c)
	}
	return all
}

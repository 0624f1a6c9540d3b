// Package registrytest is a small schema registry for tests: it speaks the part of
// the REST interface of Confluent's that clients need to write and read.
package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// Server is a schema registry. It is safe for concurrent use.
type Server struct {
	// URL is where it is.
	URL  string
	http *httptest.Server

	mu       sync.Mutex
	schemas  []Schema         // by id, from 1
	subjects map[string][]int // ids of the versions, from 1
	requests map[string]int   // by method and path
	user     string
	password string
	fault    http.HandlerFunc
}

// Schema is what is registered.
type Schema struct {
	Schema     string      `json:"schema"`
	Type       string      `json:"schemaType,omitempty"` // empty is AVRO
	References []Reference `json:"references,omitempty"`
}

// Reference is another schema that one needs.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

func (s Schema) equals(o Schema) bool {
	return compact(s.Schema) == compact(o.Schema) && s.Type == o.Type && slices.Equal(s.References, o.References)
}

func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}

// Start starts a registry that is stopped when the test ends.
func Start(t testing.TB) *Server {
	s := &Server{subjects: map[string][]int{}, requests: map[string]int{}}
	s.http = httptest.NewServer(s.handler())
	s.URL = s.http.URL
	t.Cleanup(s.http.Close)
	return s
}

// StartTLS starts one that is spoken to with TLS. Its certificate is of example.com
// and of 127.0.0.1.
func StartTLS(t testing.TB) (s *Server, certificate []byte) {
	s = &Server{subjects: map[string][]int{}, requests: map[string]int{}}
	s.http = httptest.NewUnstartedServer(s.handler())
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail
	s.http.StartTLS()
	s.URL = s.http.URL
	t.Cleanup(s.http.Close)
	return s, s.http.Certificate().Raw
}

// Require makes it ask for a user and a password.
func (s *Server) Require(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.password = user, password
}

// Fault makes it answer otherwise; nil makes it well again.
func (s *Server) Fault(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = h
}

// Requests is how many requests there were of a method and path, such as "GET
// /schemas/ids/1".
func (s *Server) Requests(methodAndPath string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[methodAndPath]
}

// Register registers a schema, and returns its id.
func (s *Server) Register(subject string, schema Schema) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.register(subject, schema)
}

func (s *Server) register(subject string, schema Schema) int {
	id := slices.IndexFunc(s.schemas, schema.equals) + 1
	if id == 0 {
		s.schemas = append(s.schemas, schema)
		id = len(s.schemas)
	}
	if !slices.Contains(s.subjects[subject], id) {
		s.subjects[subject] = append(s.subjects[subject], id)
	}
	return id
}

// Subjects returns the ids of each subject's versions.
func (s *Server) Subjects() map[string][]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]int{}
	for name, ids := range s.subjects {
		out[name] = slices.Clone(ids)
	}
	return out
}

// The codes of errors.
const (
	subjectNotFound = 40401
	versionNotFound = 40402
	schemaNotFound  = 40403
	invalidSchema   = 42201
)

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /schemas/types", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []string{"AVRO", "JSON", "PROTOBUF"})
	})
	mux.HandleFunc("GET /schemas/ids/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || id < 1 || id > len(s.schemas) {
			refuse(w, http.StatusNotFound, schemaNotFound, fmt.Sprintf("Schema %s not found", r.PathValue("id")))
			return
		}
		answer(w, s.schemas[id-1])
	})
	mux.HandleFunc("GET /subjects/{subject}/versions/{version}", s.version)
	mux.HandleFunc("POST /subjects/{subject}/versions", func(w http.ResponseWriter, r *http.Request) {
		if schema, ok := read(w, r); ok {
			answer(w, map[string]int{"id": s.register(r.PathValue("subject"), schema)})
		}
	})
	mux.HandleFunc("POST /subjects/{subject}", func(w http.ResponseWriter, r *http.Request) {
		schema, ok := read(w, r)
		if !ok {
			return
		}
		subject := r.PathValue("subject")
		for i, id := range s.subjects[subject] {
			if s.schemas[id-1].equals(schema) {
				s.found(w, subject, i)
				return
			}
		}
		if s.subjects[subject] == nil {
			refuse(w, http.StatusNotFound, subjectNotFound, fmt.Sprintf("Subject '%s' not found.", subject))
			return
		}
		refuse(w, http.StatusNotFound, schemaNotFound, "Schema not found")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.Method+" "+r.URL.Path]++
		fault, user, password := s.fault, s.user, s.password
		s.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			refuse(w, http.StatusUnauthorized, http.StatusUnauthorized, "Unauthorized")
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) {
	subject := r.PathValue("subject")
	ids := s.subjects[subject]
	if ids == nil {
		refuse(w, http.StatusNotFound, subjectNotFound, fmt.Sprintf("Subject '%s' not found.", subject))
		return
	}
	version := len(ids)
	if r.PathValue("version") != "latest" {
		var err error
		if version, err = strconv.Atoi(r.PathValue("version")); err != nil || version < 1 || version > len(ids) {
			refuse(w, http.StatusNotFound, versionNotFound, fmt.Sprintf("Version %s not found.", r.PathValue("version")))
			return
		}
	}
	s.found(w, subject, version-1)
}

func (s *Server) found(w http.ResponseWriter, subject string, i int) {
	id := s.subjects[subject][i]
	answer(w, struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
		ID      int    `json:"id"`
		Schema
	}{subject, i + 1, id, s.schemas[id-1]})
}

func read(w http.ResponseWriter, r *http.Request) (Schema, bool) {
	var schema Schema
	if err := json.NewDecoder(r.Body).Decode(&schema); err != nil || !json.Valid([]byte(schema.Schema)) {
		refuse(w, http.StatusUnprocessableEntity, invalidSchema, "Invalid schema")
		return schema, false
	}
	if schema.Type == "AVRO" {
		schema.Type = ""
	}
	return schema, true
}

const contentType = "application/vnd.schemaregistry.v1+json"

// answer and refuse write what a test reads: an error shows there.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", contentType)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status, code int, message string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error_code": code, "message": message})
}

// Refuse returns a fault that answers every request with an error of the registry's.
func Refuse(status, code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code, message) }
}

package format

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/weirstream/weir/sdk"
)

// Registry configures a schema registry that speaks the REST interface of
// Confluent's, as those of Redpanda, Karapace and Apicurio do.
type Registry struct {
	URL        string     `weir:"url" doc:"Where it is, such as http://localhost:8081: it is required. Several are separated by commas, and asked in turn."`
	Username   string     `weir:"username" doc:"The user, for basic authentication."`
	Password   sdk.Secret `weir:"password" doc:"The user's password."`
	Token      sdk.Secret `weir:"token" doc:"A bearer token, in place of user and password."`
	CAFile     string     `weir:"ca_file" doc:"A PEM file with the certificates of the authorities to trust. Without it those of the system."`
	CertFile   string     `weir:"cert_file" doc:"A PEM file with the client's certificate chain, where the registry asks for one."`
	KeyFile    string     `weir:"key_file" doc:"A PEM file with the client's private key."`
	ServerName string     `weir:"server_name" doc:"The host that the registry's certificate is of, where it is not the URL's."`

	Subject  string        `weir:"subject" doc:"The subject of the schema that is written with. Without it the topic's name and -value."`
	Register bool          `weir:"register" default:"true" doc:"Registers the schema that is written with, if the subject does not have it. Without it that is an error."`
	Timeout  time.Duration `weir:"timeout" default:"10s" min:"100ms" max:"5m" doc:"How long an answer may take."`
	Cache    int           `weir:"cache" default:"1000" min:"1" max:"1000000" doc:"How many schemas a task keeps."`
}

// Validate implements [sdk.Validator].
func (r *Registry) Validate() []sdk.FieldError {
	var faults []sdk.FieldError
	secure := false
	for _, s := range r.urls() {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			faults = append(faults, sdk.Faultf("url", "is no URL such as http://localhost:8081"))
		case u.User != nil:
			faults = append(faults, sdk.Faultf("url", "holds a user: set username and password instead, which no message repeats"))
		default:
			secure = secure || u.Scheme == "https"
		}
	}
	if len(r.urls()) == 0 {
		faults = append(faults, sdk.Faultf("url", "is required: where the schema registry is, such as http://localhost:8081"))
	}
	if (r.Username == "") != r.Password.IsZero() {
		faults = append(faults, sdk.Faultf("username", "username and password go together"))
	}
	if r.Username != "" && !r.Token.IsZero() {
		faults = append(faults, sdk.Faultf("token", "excludes username and password"))
	}
	if (r.CertFile == "") != (r.KeyFile == "") {
		faults = append(faults, sdk.Faultf("cert_file", "cert_file and key_file go together"))
	}
	if len(faults) > 0 {
		return faults
	}
	for field, set := range map[string]string{"ca_file": r.CAFile, "cert_file": r.CertFile, "server_name": r.ServerName} {
		if set != "" && !secure {
			return []sdk.FieldError{sdk.Faultf(field, "has no effect: the url does not begin with https")}
		}
	}
	return nil
}

func (r *Registry) urls() []string {
	var all []string
	for s := range strings.SplitSeq(r.URL, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func (r *Registry) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.ServerName}
	if r.CAFile != "" {
		text, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate as PEM", r.CAFile)
		}
	}
	if r.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(r.CertFile, r.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// Schemas asks a schema registry, and keeps what it has answered. It is safe for
// concurrent use.
type Schemas struct {
	config    *Registry
	client    *sr.Client
	transport *http.Transport

	mu    sync.Mutex
	known map[uint32]*registered
}

// registered is what became of a schema's id.
type registered struct {
	schema *AvroSchema
	err    error     // of records that name it
	until  time.Time // when an unknown id is asked for again; zero is never
}

// Open returns a client, which asks nothing yet.
func (r *Registry) Open() (*Schemas, error) {
	config, err := r.tls()
	if err != nil {
		return nil, sdk.Fatal(fmt.Errorf("schema_registry: %w", err))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	options := []sr.ClientOpt{
		sr.URLs(r.urls()...), sr.UserAgent("weir"),
		sr.HTTPClient(&http.Client{Transport: bounded{transport}}),
	}
	if r.Username != "" {
		options = append(options, sr.BasicAuth(r.Username, r.Password.Reveal()))
	}
	if !r.Token.IsZero() {
		options = append(options, sr.BearerToken(r.Token.Reveal()))
	}
	client, err := sr.NewClient(options...)
	if err != nil {
		return nil, sdk.Fatal(fmt.Errorf("schema_registry: %w", err))
	}
	return &Schemas{config: r, client: client, transport: transport, known: map[uint32]*registered{}}, nil
}

// Close gives up connections. Nothing may be asked any more.
func (s *Schemas) Close() { s.transport.CloseIdleConnections() }

// Check asks the registry for anything, to find out whether it is there and lets us
// in.
func (s *Schemas) Check(ctx context.Context) error {
	return s.ask(ctx, func(ctx context.Context) error {
		_, err := s.client.SupportedTypes(ctx)
		return err
	})
}

// maxAnswer bounds what a registry may answer.
const maxAnswer = 16 << 20

type bounded struct{ inner http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.inner.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}

// ask does one request, and says what its error means.
func (s *Schemas) ask(ctx context.Context, request func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	err := request(within)
	if err == nil || ctx.Err() != nil {
		return err // the caller gave up
	}
	return s.classed(err)
}

// classed marks an error that is not about what was asked for. An answer of 404
// with a code of the registry's, or 409 or 422, is about it.
func (s *Schemas) classed(err error) error {
	outside := func(mark func(error) error, what string) error {
		return &outsideError{mark(fmt.Errorf("schema registry %s: %s%w", s.config.URL, what, err))}
	}
	again := func(err error) error { return sdk.Retry(err, 0) }
	var answer *sr.ResponseError
	var syntax *json.SyntaxError
	var types *json.UnmarshalTypeError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return outside(sdk.Fatal, "")
	case errors.As(err, &syntax), errors.As(err, &types):
		return outside(sdk.Fatal, "what is there answers something else than a schema registry: ")
	case !errors.As(err, &answer):
		return outside(again, "")
	}
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return outside(sdk.Fatal, fmt.Sprintf("it does not let this user in (%d); check username, password and rights: ", code))
	case code == http.StatusNotFound && answer.ErrorCode/100 != http.StatusNotFound:
		return outside(sdk.Fatal, "there is no schema registry at that path (404): ")
	case code == http.StatusNotFound, code == http.StatusConflict, code == http.StatusUnprocessableEntity:
		return err
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return outside(again, fmt.Sprintf("status %d: ", code))
	}
	return outside(sdk.Fatal, fmt.Sprintf("status %d: ", answer.StatusCode))
}

// unknownFor is how long an id that the registry does not know is not asked for
// again: many records may carry it.
const unknownFor = 30 * time.Second

// byID returns the schema of an id.
func (s *Schemas) byID(ctx context.Context, id uint32) (*AvroSchema, error) {
	s.mu.Lock()
	r := s.known[id]
	s.mu.Unlock()
	if r != nil && (r.until.IsZero() || time.Now().Before(r.until)) {
		return r.schema, r.err
	}
	r = &registered{}
	var found sr.Schema
	err := s.ask(ctx, func(ctx context.Context) (err error) {
		found, err = s.client.SchemaByID(ctx, int(id))
		return err
	})
	switch {
	case IsOutside(err), ctx.Err() != nil:
		return nil, err
	case err != nil:
		r.err = fmt.Errorf("the schema registry does not know schema %d: %w", id, err)
		r.until = time.Now().Add(unknownFor)
	default:
		r.schema, r.err = s.parse(ctx, found)
		if IsOutside(r.err) || ctx.Err() != nil {
			return nil, r.err
		}
		if r.err != nil {
			r.err = fmt.Errorf("schema %d of the schema registry: %w", id, r.err)
		}
	}
	s.keep(id, r)
	return r.schema, r.err
}

func (s *Schemas) keep(id uint32, r *registered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old := range s.known {
		if len(s.known) < s.config.Cache {
			break
		}
		delete(s.known, old) // any: a schema that is used is soon there again
	}
	s.known[id] = r
}

// maxReferences bounds how many schemas one may refer to, all in all.
const maxReferences = 1000

// parse reads a schema of the registry with those that it refers to.
func (s *Schemas) parse(ctx context.Context, schema sr.Schema) (*AvroSchema, error) {
	if schema.Type != sr.TypeAvro {
		return nil, fmt.Errorf("is one of %v and not of Avro", schema.Type)
	}
	known, seen := new(avro.SchemaCache), map[string]bool{}
	if err := s.refer(ctx, schema.References, known, seen); err != nil {
		return nil, err
	}
	return parseAvro(schema.Schema, known)
}

// refer reads schemas that another refers to, in the order in which they need each
// other.
func (s *Schemas) refer(ctx context.Context, references []sr.SchemaReference, known *avro.SchemaCache, seen map[string]bool) error {
	for _, r := range references {
		name := fmt.Sprintf("version %d of subject %s", r.Version, r.Subject)
		if seen[name] {
			continue
		}
		if seen[name] = true; len(seen) > maxReferences {
			return fmt.Errorf("refers to more than %d others", maxReferences)
		}
		var found sr.SubjectSchema
		err := s.ask(ctx, func(ctx context.Context) (err error) {
			found, err = s.client.SchemaByVersion(ctx, r.Subject, r.Version)
			return err
		})
		if err == nil {
			err = s.refer(ctx, found.References, known, seen)
		}
		if err == nil {
			_, err = known.Parse(found.Schema.Schema)
		}
		if err != nil {
			return fmt.Errorf("%s, which it refers to: %w", name, err)
		}
	}
	return nil
}

// Package client speaks to the API of a Weir server: over TCP, or over the Unix
// socket of a `weir run`.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/weirstream/weir/host/api"
)

// Client asks one server. It is safe for concurrent use.
type Client struct {
	server string // as people write it
	base   string // URL without a slash at its end
	token  string
	http   *http.Client
}

var (
	_ api.Reader  = (*Client)(nil)
	_ api.Changer = (*Client)(nil)
)

// Options of a client; the zero value is fine.
type Options struct {
	Token string
	// TLS is for https; with it that is meant where no scheme is written.
	TLS *tls.Config
}

// connectTimeout bounds the time until a server is reached; answerTimeout that of
// an answer that waits for no pipeline.
const (
	connectTimeout = 5 * time.Second
	answerTimeout  = 15 * time.Second
)

// New returns a client of the server at "host:port", "http://host:port",
// "https://host:port" or "unix:///path/of/a/socket". It does not connect yet.
func New(server string, o Options) (*Client, error) {
	c := &Client{server: server, token: o.Token}
	dialer := net.Dialer{Timeout: connectTimeout}
	transport := transportTo(dialer, o.TLS)
	c.http = &http.Client{Transport: transport}
	if !strings.Contains(server, "://") {
		scheme := "http"
		if o.TLS != nil {
			scheme = "https"
		}
		server = scheme + "://" + server
	}
	u, err := url.Parse(server)
	switch {
	case err != nil:
		return nil, fmt.Errorf("server %q: %w", c.server, errors.Unwrap(err))
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		c.base = u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")
	default:
		return nil, fmt.Errorf("server %q: write HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH", c.server)
	}
	return c, nil
}

func transportTo(dialer net.Dialer, config *tls.Config) *http.Transport {
	return &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: connectTimeout}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ServerError says that a server could not be asked.
type ServerError struct {
	Server string
	Err    error
}

func (e *ServerError) Error() string {
	why := e.Err
	var u *url.Error
	if errors.As(why, &u) {
		why = u.Err
	}
	return fmt.Sprintf("no answer from %s: %v", e.Server, why)
}

// Unwrap returns the cause.
func (e *ServerError) Unwrap() error { return e.Err }

// Absent says that nobody listens where the server should be.
func Absent(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// List implements [api.Reader].
func (c *Client) List(ctx context.Context) (all []api.Pipeline, err error) {
	return all, c.get(ctx, &all)
}

// Status implements [api.Reader].
func (c *Client) Status(ctx context.Context, name string) (s api.Status, err error) {
	return s, c.get(ctx, &s, name)
}

// Tasks implements [api.Reader].
func (c *Client) Tasks(ctx context.Context, name string) (all []api.Task, err error) {
	return all, c.get(ctx, &all, name, "tasks")
}

// Checkpoints implements [api.Reader].
func (c *Client) Checkpoints(ctx context.Context, name string) (all []api.Checkpoint, err error) {
	return all, c.get(ctx, &all, name, "checkpoints")
}

// Failures implements [api.Reader].
func (c *Client) Failures(ctx context.Context, name string) (all []api.Failure, err error) {
	return all, c.get(ctx, &all, name, "errors")
}

// lines yields an answer of JSON, line by line.
func lines[T any](ctx context.Context, c *Client, path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var line T
		r, err := c.do(ctx, http.MethodGet, path, nil)
		if err != nil {
			yield(line, err)
			return
		}
		defer r.Body.Close()
		lines := json.NewDecoder(r.Body)
		for {
			var line T
			err := lines.Decode(&line)
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return
			}
			if err != nil {
				err = &ServerError{c.server, err}
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// Savepoint implements [api.Changer].
func (c *Client) Savepoint(ctx context.Context, name string, r api.SavepointRequest) (s api.Savepoint, err error) {
	return s, c.send(ctx, http.MethodPost, path(name, "savepoints"), r, &s)
}

// Stop implements [api.Changer].
func (c *Client) Stop(ctx context.Context, name string, r api.StopRequest) (s api.Stopped, err error) {
	return s, c.send(ctx, http.MethodPost, path(name, "stop"), r, &s)
}

// SetLogLevel implements [api.Changer].
func (c *Client) SetLogLevel(ctx context.Context, name string, r api.LogLevelRequest) error {
	return c.send(ctx, http.MethodPut, path(name, "log-level"), r, nil)
}

// path is that of something of the pipelines.
func path(below ...string) string {
	p := "/v1/pipelines"
	for _, name := range below {
		p += "/" + url.PathEscape(name)
	}
	return p
}

func (c *Client) get(ctx context.Context, into any, below ...string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := c.do(ctx, http.MethodGet, path(below...), nil)
	if err != nil {
		return err
	}
	return c.decode(r, into)
}

func (c *Client) send(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := c.do(ctx, method, path, data)
	if err != nil {
		return err
	}
	return c.decode(r, into)
}

func (c *Client) decode(r *http.Response, into any) error {
	defer r.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return &ServerError{c.server, err}
	}
	return nil
}

// do sends a request. The answer is a good one; any other is an *api.Problem.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, &ServerError{c.server, err}
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	p := &api.Problem{}
	if bytes.Contains(data, []byte("HTTP request to an HTTPS server")) {
		return nil, &ServerError{c.server, errors.New("it speaks https: write https://HOST:PORT, or give --tls-ca (WEIR_TLS_CA)")}
	}
	if json.Unmarshal(data, p) != nil || p.Code == "" {
		return nil, &ServerError{c.server, fmt.Errorf("it answered %s, which is no answer of Weir", answer.Status)}
	}
	return nil, p
}

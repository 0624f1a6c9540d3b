package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Config is what a server works with.
type Config struct {
	Pipelines Pipelines
	// Cluster is nil where there is none.
	Cluster Cluster
	// Version of this program, for the document and metrics.
	Version string
	// Token is needed for everything but /healthz and /readyz, in an Authorization
	// header as "Bearer TOKEN". Empty: none is needed; then only requests that name
	// this machine itself as their host are answered, unless Anyone is set, so that
	// no page in a browser can reach the server by a name of its own.
	Token string
	// A certificate that TLS has verified is as good as the token, and needed over TLS
	// where there is none.
	//
	// Anyone is for servers whose callers are known otherwise, by the rights of a Unix
	// socket, or need not be known.
	Anyone bool
	Log    *slog.Logger
	// WriteTimeout bounds the writing of one answer, or of one record of a stream;
	// 10 seconds where it is 0.
	WriteTimeout time.Duration
	// ReadTimeout bounds the reading of one request; 10 seconds where it is 0.
	ReadTimeout time.Duration
}

// Limits of a server. A client that sends or reads nothing costs a connection for
// so long, and nothing else.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 10 * time.Second
	maxHeader     = 16 << 10
	maxStreams    = 64 // open at the same time
)

// NewServer returns a server of the API, to be given listeners. Its Shutdown waits
// for answers under way; streams end when it begins.
func NewServer(c Config) *http.Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &http.Server{
		Handler:           New(c),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ConnContext: func(connection context.Context, _ net.Conn) context.Context {
			return context.WithValue(connection, closing{}, ctx)
		},
	}
	s.RegisterOnShutdown(cancel)
	return s
}

// closing is the key of a context that ends when the server is shut down.
type closing struct{}

// untilShutdown ends when the request does, or when its server is shut down.
func untilShutdown(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	down, ok := ctx.Value(closing{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(down, cancel)
	return ctx, func() { stop(); cancel() }
}

// New returns a handler of the API.
func New(c Config) http.Handler {
	if c.WriteTimeout == 0 {
		c.WriteTimeout = writeTimeout
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = headerTimeout
	}
	mux := http.NewServeMux()
	register(mux, c)
	mux.Handle("GET /metrics", metricsHandler(c))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, health{Status: "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := c.Pipelines.Ready(r.Context()); err != nil {
			writeProblem(w, Problemf(CodeUnavailable, "%v", err))
			return
		}
		writeJSON(w, http.StatusOK, health{Status: "ok"})
	})
	mux.HandleFunc("GET /v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(document)
	})
	pages := http.NewCrossOriginProtection()
	pages.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, Problemf(CodeForbidden, "a page of %s may not change anything here", r.Header.Get("Origin")))
	}))
	return recovered(c.Log, bounded(c, allowed(c, pages.Handler(withProblems(mux)))))
}

type health struct {
	Status string `json:"status"`
}

//go:embed openapi.yaml
var document []byte

// allowed lets those through who may ask.
func allowed(c Config, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + c.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch got := sha256.Sum256([]byte(r.Header.Get("Authorization"))); {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
		case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		case c.Token != "" && subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, Problemf(CodeUnauthorized, "this server wants a token: send it as Authorization: Bearer TOKEN (commands: --token-file, or WEIR_TOKEN_FILE)"))
			return
		case c.Token == "" && !c.Anyone && r.TLS != nil:
			writeProblem(w, Problemf(CodeUnauthorized, "this server wants a certificate of its authority (commands: --tls-cert and --tls-key, or WEIR_TLS_CERT and WEIR_TLS_KEY)"))
			return
		case c.Token == "" && !c.Anyone && !isLoopback(r.Host):
			writeProblem(w, Problemf(CodeForbidden, "without a token this server answers to the names of this machine alone, and not to %q", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback says whether a host, with or without a port, is this machine's own
// name for itself.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// bounded gives every answer its time. Streams and what waits for a pipeline set
// another.
func bounded(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadlines := http.NewResponseController(w)
		_ = deadlines.SetReadDeadline(time.Now().Add(c.ReadTimeout))
		_ = deadlines.SetWriteDeadline(time.Now().Add(c.WriteTimeout))
		next.ServeHTTP(w, r)
	})
}

// recovered keeps a fault in one request from being more than that.
func recovered(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil || v == http.ErrAbortHandler { //nolint:errorlint // the value itself is panicked
				return
			}
			if err, ok := v.(error); ok && gone(r, err) {
				return
			}
			log.Error("a request of the API failed", "method", r.Method, "path", r.URL.Path, "cause", v)
			writeProblem(w, Problemf(CodeInternal, "this is a fault of Weir; its log says more"))
		}()
		next.ServeHTTP(w, r)
	})
}

// gone says that the client is the reason: it left, or did not read.
func gone(r *http.Request, err error) bool {
	var network net.Error
	return r.Context().Err() != nil || errors.As(err, &network) || errors.Is(err, net.ErrClosed)
}

// withProblems turns the mux's own answers into problems.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &headers{header: http.Header{}}
		mux.ServeHTTP(probe, r)
		if allow := probe.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			writeProblem(w, Problemf(CodeMethodNotAllowed, "%s %s: allowed are %s", r.Method, r.URL.Path, allow))
			return
		}
		writeProblem(w, Problemf(CodeNotFound, "there is no %s; GET /v1/openapi.yaml says what there is", r.URL.Path))
	})
}

// headers keeps the headers of an answer, and nothing else.
type headers struct{ header http.Header }

func (h *headers) Header() http.Header         { return h.header }
func (h *headers) Write(p []byte) (int, error) { return len(p), nil }
func (h *headers) WriteHeader(int)             {}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

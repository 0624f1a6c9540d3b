package zookeeper

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/certs"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

func TestTLSWithAClientCertificateAndDigest(t *testing.T) {
	e := zookeepertest.New(t, zookeepertest.Options{TLS: true})
	c := testConfig(e)
	c.TLS, c.Username, c.Password = e.ClientTLS, "weir", "secret"
	s := mustOpen(t, c)
	if err := s.Commit(t.Context(), coordination.Create("a/b", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Get(t.Context(), "a/b"); err != nil || string(rec.Data) != "x" {
		t.Fatalf("%+v, %v", rec, err)
	}
	s.reconnect()
	if rec, err := s.Get(t.Context(), "a/b"); err != nil || string(rec.Data) != "x" {
		t.Fatalf("on another connection: %+v, %v", rec, err)
	}

	c.SessionTimeout, c.ConnectTimeout = 5*time.Second, 5*time.Second
	stranger, err := certs.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := stranger.Issue("client", nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]struct {
		to   func(*tls.Config) *tls.Config
		want string
	}{
		"without TLS":              {func(*tls.Config) *tls.Config { return nil }, "with or without TLS"},
		"without the authority":    {func(c *tls.Config) *tls.Config { c.RootCAs = nil; return c }, "TLS: "},
		"under another name":       {func(c *tls.Config) *tls.Config { c.ServerName = "other.example"; return c }, "TLS: "},
		"with a stranger's client": {func(c *tls.Config) *tls.Config { c.Certificates = []tls.Certificate{pair}; return c }, e.Servers()},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			other := c
			other.TLS = change.to(e.ClientTLS.Clone())
			if _, err := Open(t.Context(), other); err == nil || !strings.Contains(err.Error(), change.want) {
				t.Errorf("%v, want %q", err, change.want)
			}
		})
	}
}

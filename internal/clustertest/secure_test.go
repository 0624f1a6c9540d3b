//go:build linux

package clustertest

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weirstream/weir/coordination/zookeeper"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/internal/testserver/certs"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// identity writes a host's certificate by an authority, and returns its flags.
func (f *fleet) identity(id string, ca *certs.Authority) []string {
	f.t.Helper()
	key, cert, err := ca.Issue(id, nil, net.IPv4(127, 0, 0, 1))
	if err != nil {
		f.t.Fatal(err)
	}
	var args []string
	for flag, pem := range map[string][]byte{"cert": cert, "key": key, "ca": ca.PEM} {
		file := f.path(id + "." + flag)
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			f.t.Fatal(err)
		}
		args = append(args, "--tls-"+flag, file)
	}
	return args
}

// TestHostsWithCertificatesAndATokenToAskThem: data passes between hosts of one
// authority; one with a certificate of another gets none; the API answers whoever
// shows the token or a certificate of the authority, over TLS, and nobody else.
func TestHostsWithCertificatesAndATokenToAskThem(t *testing.T) {
	t.Parallel()
	f := newFleet(t, ensemble.Get(t).Servers())
	ca, err := certs.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	token := f.path("token")
	if err := os.WriteFile(token, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		f.start(id, 4, append(f.identity(id, ca), "--api-token-file", token)...)
	}
	const n = 20_000
	file := f.path("p.yaml")
	if err := os.WriteFile(file, []byte(f.generated("p", n, 10_000, 2)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.identity("friend", ca)
	f.identity("stranger", other)
	authority, friend := []string{"--tls-ca", f.path("a.ca")}, []string{"--tls-cert", f.path("friend.cert"), "--tls-key", f.path("friend.key")}
	stranger := []string{"--tls-cert", f.path("stranger.cert"), "--tls-key", f.path("stranger.key")}
	for _, c := range []struct {
		what string
		args []string
		want string
	}{
		{"plain text", []string{"--token-file", token}, "it speaks https"},
		{"another authority", []string{"--tls-ca", f.path("stranger.ca"), "--token-file", token}, "certificate signed by unknown authority"},
		{"neither token nor certificate", authority, "wants a token"},
		{"a stranger's certificate", append(stranger, authority...), "certificate"},
		{"a certificate alone", friend, "--tls-ca is missing"},
	} {
		if out, err := f.weirAt("a", append([]string{"submit", file}, c.args...)...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v\n%s", c.what, err, out)
		}
	}
	submit := exec.CommandContext(t.Context(), weir, "submit", file)
	submit.Env = append(os.Environ(), "WEIR_SERVER="+f.apiOf("a"), "WEIR_TOKEN_FILE="+token, "WEIR_TLS_CA="+f.path("a.ca"))
	if out, err := submit.CombinedOutput(); err != nil {
		t.Fatalf("with the token: %v\n%s", err, out)
	}
	expectText(t, f.must("b", append([]string{"ls"}, append(friend, authority...)...)...), "p")
	p := f.awaitState("p", engine.StateFinished)
	if len(p.Assignment.Hosts) != 2 {
		t.Errorf("it ran on %v", p.Assignment.Hosts)
	}
	f.expectGenerated("out-p", n)

	f.start("c", 4, append(f.identity("c", other), "--api-token-file", token)...)
	f.submit(f.generated("q", n, 10_000, 3)) // needs more slots than two hosts have
	f.await("a failure that names the stranger", func() bool {
		for _, failure := range f.pipeline("q").Failures {
			if strings.Contains(failure.Error, "host c") && strings.Contains(failure.Error, "certificate") {
				return true
			}
		}
		return false
	})
}

// TestAnEnsembleThatSpeaksTLSAndKnowsItsUsers: a host joins with a certificate, a user
// and a password. Without the certificate, or with a file that holds none, it says so.
func TestAnEnsembleThatSpeaksTLSAndKnowsItsUsers(t *testing.T) {
	t.Parallel()
	zk := zookeepertest.New(t, zookeepertest.Options{TLS: true})
	f := newFleet(t, zk.Servers(), func(c *zookeeper.Config) {
		c.TLS, c.Username, c.Password = zk.ClientTLS, "weir", "secret"
	})
	password := f.path("password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, cert, key := zk.ClientFiles()
	user := []string{"--zookeeper-user", "weir", "--zookeeper-password-file", password}
	f.start("a", 4, append(user, "--zookeeper-tls-ca", ca, "--zookeeper-tls-cert", cert, "--zookeeper-tls-key", key)...)
	f.submit(f.generated("p", 1000, 0, 1))
	f.awaitState("p", engine.StateFinished)
	f.expectGenerated("out-p", 1000)
	short := append(user, "--session-timeout", "2s", "--connect-timeout", "2s")
	f.refused("plain text", f.serve("b", 1, short...), "a port with or without TLS")
	f.refused("no authority", f.serve("b", 1, append(short, "--zookeeper-tls-ca", key)...), "--zookeeper-tls-ca: "+key+" holds no certificate")
	f.refused("half a certificate", f.serve("b", 1, append(short, "--zookeeper-tls-ca", ca, "--zookeeper-tls-cert", cert)...), "--zookeeper-tls-key, which go together")
}

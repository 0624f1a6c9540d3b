package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/testserver/certs"
)

// TestARunServesItsAPIOverTLS: whoever has the token, or a certificate of the
// authority, is answered, and nobody else.
func TestARunServesItsAPIOverTLS(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	issue := func(name string, ca *certs.Authority) (flags []string) {
		key, cert, err := ca.Issue(name, nil, net.IPv4(127, 0, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		return []string{"--tls-cert", write(name+".cert", cert), "--tls-key", write(name+".key", key)}
	}
	ours, err := certs.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	others, err := certs.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	ca := []string{"--tls-ca", write("ca", ours.PEM)}
	token := write("token", []byte("sesame\n"))
	server := issue("server", ours)

	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "weir", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "XDG_STATE_HOME="+dir, "XDG_DATA_HOME="+dir)
		return cmd
	}
	write("p.yaml", []byte("name: p\nnodes:\n  in: {source: generator, config: {rate: 100}}\n  out: {sink: discard, input: in}\n"))
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{append([]string{"--listen", "127.0.0.1:0"}, server...), "would answer nobody"},
		{append([]string{"--listen", "0.0.0.0:0"}, server...), "would answer nobody"},
		{[]string{"--listen", "0.0.0.0:0"}, "--api-token-file, or certificates with"},
		{append([]string{"--listen", "127.0.0.1:0"}, ca...), "--tls-cert and --tls-key go together"},
		{server, "which is not given"},
		{append([]string{"--listen", "127.0.0.1:0", "--tls-ca", token}, server...), "holds no certificate"},
	} {
		out, err := command(append([]string{"run", "p.yaml"}, c.flags...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("run %s: %v\n%s", strings.Join(c.flags, " "), err, out)
		}
	}

	run := command(append(append([]string{"run", "p.yaml", "--progress", "plain", "--listen", "127.0.0.1:0", "--api-token-file", token}, server...), ca...)...)
	var out lockedBuffer
	run.Stdout, run.Stderr = &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	defer func() {
		_ = run.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the run does not end")
			_ = run.Process.Kill()
			<-ended
		}
	}()
	served := regexp.MustCompile(`the API is served" address=(\S+)`)
	waitUntil(t, "the API", func() bool { return served.MatchString(out.String()) })
	address := served.FindStringSubmatch(out.String())[1]
	for _, c := range []struct {
		name  string
		flags []string
		want  string // of the error; empty: it is answered
	}{
		{"the token", append([]string{"--token-file", token}, ca...), ""},
		{"a certificate", append(issue("friend", ours), ca...), ""},
		{"neither", ca, "wants a token"},
		{"a stranger's certificate", append(issue("stranger", others), ca...), "certificate"},
		{"plain text", []string{"--token-file", token}, "it speaks https"},
	} {
		args := append([]string{"ls", "--server", address}, c.flags...)
		said, err := command(args...).CombinedOutput()
		if c.want == "" && (err != nil || !strings.Contains(string(said), "p ")) || c.want != "" && (err == nil || !strings.Contains(string(said), c.want)) {
			t.Errorf("%s: %v\n%s", c.name, err, said)
		}
	}
}

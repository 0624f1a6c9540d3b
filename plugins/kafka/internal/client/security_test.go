package client

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// probing is a configuration that is Config alone.
type probing struct{ Config }

func (c *probing) Validate() []sdk.FieldError { return c.Faults() }

func (c *probing) Probe(ctx context.Context, _ sdk.Probe) []sdk.FieldError {
	client, faults := c.Connect(ctx)
	if client != nil {
		client.Close()
	}
	return faults
}

func component() sdk.Component {
	return sdk.NewSource("x", "x", func(context.Context, *probing, *sdk.Task) (noSource, error) { return noSource{}, nil })
}

func reached(t *testing.T, fields map[string]any) []sdk.FieldError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fields["default.api.timeout.ms"] = 300 // what may pass is given up soon
	return sdktest.Probe(ctx, t, component(), fields)
}

func TestEachWayToBeSecureReachesTheBroker(t *testing.T) {
	c := secure.Get(t)
	s := c.Secrets
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	store := t.TempDir() + "/client-store.pem"
	if err := os.WriteFile(store, []byte(read(s.ClientKey)+read(s.ClientCert)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, fields := range map[string]map[string]any{
		"plaintext":         {"bootstrap.servers": c.Bootstrap()},
		"TLS":               {"bootstrap.servers": c.Servers(kafkatest.TLS), "security.protocol": "SSL", "ssl.truststore.location": s.CA},
		"TLS, CA as text":   {"bootstrap.servers": c.Servers(kafkatest.TLS), "security.protocol": "SSL", "ssl.truststore.certificates": read(s.CA)},
		"client key store":  {"bootstrap.servers": c.Servers(kafkatest.MutualTLS), "security.protocol": "SSL", "ssl.truststore.location": s.CA, "ssl.keystore.location": store},
		"client key, text":  {"bootstrap.servers": c.Servers(kafkatest.MutualTLS), "security.protocol": "SSL", "ssl.truststore.location": s.CA, "ssl.keystore.key": read(s.ClientKey), "ssl.keystore.certificate.chain": read(s.ClientCert)},
		"name as told":      {"bootstrap.servers": c.Servers(kafkatest.OtherName), "security.protocol": "SSL", "ssl.truststore.location": s.CA, "ssl.server.name": kafkatest.OtherHost},
		"any name":          {"bootstrap.servers": c.Servers(kafkatest.OtherName), "security.protocol": "SSL", "ssl.truststore.location": s.CA, "ssl.endpoint.identification.algorithm": ""},
		"PLAIN":             {"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": kafkatest.AlicePassword},
		"PLAIN, JAAS":       {"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="alice-password";`},
		"SCRAM-SHA-256":     {"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "alice", "sasl.password": kafkatest.AlicePassword},
		"SCRAM-SHA-512":     {"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required username=alice password=alice-password;`},
		"PLAIN over TLS":    {"bootstrap.servers": c.Servers(kafkatest.SASLTLS), "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": kafkatest.AlicePassword, "ssl.truststore.location": s.CA},
		"SCRAM over TLS":    {"bootstrap.servers": c.Servers(kafkatest.SASLTLS), "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "alice", "sasl.password": kafkatest.AlicePassword, "ssl.truststore.location": s.CA},
		"the second broker": {"bootstrap.servers": "127.0.0.1:1," + c.Bootstrap()},
	} {
		if faults := reached(t, fields); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

// Each error says where, what, and what to do, and blames the field.
func TestWhatKeepsFromConnectingIsSaid(t *testing.T) {
	c := secure.Get(t)
	s := c.Secrets
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	dumb, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer dumb.Close()
	httpAddr := strings.TrimPrefix(web.URL, "http://")
	for name, test := range map[string]struct {
		fields map[string]any
		field  string
		want   []string
	}{
		"no broker there": {map[string]any{"bootstrap.servers": "127.0.0.1:1"},
			"bootstrap.servers", []string{"127.0.0.1:1", "refused", "is the broker up"}},
		"no such host": {map[string]any{"bootstrap.servers": "no-such-host.invalid:9092"},
			"bootstrap.servers", []string{"no-such-host.invalid"}},
		"HTTP": {map[string]any{"bootstrap.servers": httpAddr, "socket.connection.setup.timeout.ms": 200},
			"bootstrap.servers", []string{httpAddr, "HTTP", "port of a Kafka listener"}},
		"HTTP, with TLS": {map[string]any{"bootstrap.servers": httpAddr, "security.protocol": "SSL"},
			"bootstrap.servers", []string{httpAddr, "HTTP", "port of a Kafka listener"}},
		"never answers": {map[string]any{"bootstrap.servers": dumb.Addr().String(), "socket.connection.setup.timeout.ms": 200, "request.timeout.ms": 200},
			"bootstrap.servers", []string{dumb.Addr().String(), "in time"}},
		"TLS at a plaintext port": {map[string]any{"bootstrap.servers": c.Bootstrap(), "security.protocol": "SSL", "ssl.truststore.location": s.CA, "socket.connection.setup.timeout.ms": 2000},
			"bootstrap.servers", []string{c.Bootstrap(), "TLS"}},
		"plaintext at a TLS port": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.TLS)},
			"bootstrap.servers", []string{c.Servers(kafkatest.TLS), "security.protocol"}},
		"plaintext at a SASL port": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.SASL)},
			"bootstrap.servers", []string{c.Servers(kafkatest.SASL), "security.protocol"}},
		"strange authority": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.TLS), "security.protocol": "SSL", "ssl.truststore.location": s.StrangeCA},
			"bootstrap.servers", []string{"unknown authority", "ssl.truststore.location"}},
		"strange authority, any name": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.TLS), "security.protocol": "SSL", "ssl.truststore.location": s.StrangeCA, "ssl.endpoint.identification.algorithm": ""},
			"bootstrap.servers", []string{"unknown authority", "ssl.truststore.location"}},
		"certificate of another name": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.OtherName), "security.protocol": "SSL", "ssl.truststore.location": s.CA},
			"bootstrap.servers", []string{"another host", "ssl.server.name"}},
		"no client certificate": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.MutualTLS), "security.protocol": "SSL", "ssl.truststore.location": s.CA},
			"bootstrap.servers", []string{"client certificate", "ssl.keystore.location"}},
		"no CA file": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.TLS), "security.protocol": "SSL", "ssl.truststore.location": "/nowhere/ca.pem"},
			"ssl.truststore.location", []string{"/nowhere/ca.pem"}},
		"a file that is no PEM": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.TLS), "security.protocol": "SSL", "ssl.truststore.location": "security_test.go"},
			"ssl.truststore.location", []string{"not PEM", "keytool"}},
		"wrong password, PLAIN": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": "not-her-password"},
			"sasl.username", []string{`"alice"`, "wrong password"}},
		"wrong password, SCRAM": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "alice", "sasl.password": "not-her-password"},
			"sasl.username", []string{`"alice"`, "wrong password"}},
		"no such user": {map[string]any{"bootstrap.servers": c.Servers(kafkatest.SASL), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "nobody", "sasl.password": "not-her-password"},
			"sasl.username", []string{`"nobody"`, "no user"}},
	} {
		t.Run(name, func(t *testing.T) {
			faults := reached(t, test.fields)
			if len(faults) != 1 || faults[0].Field != test.field {
				t.Fatalf("faults %v, want one of %s", faults, test.field)
			}
			for _, w := range test.want {
				if !strings.Contains(faults[0].Message, w) {
					t.Errorf("%q does not say %q", faults[0].Message, w)
				}
			}
			if strings.Contains(faults[0].Message, "not-her-password") {
				t.Errorf("%q tells the password", faults[0].Message)
			}
			t.Log(faults[0].Message)
		})
	}
}

// noSource reads nothing.
type noSource struct{}

func (noSource) Splits(context.Context) ([]sdk.Split[int], bool, error) { return nil, false, nil }
func (noSource) Open(context.Context, sdk.Split[int], *int) (sdk.Reader[int], error) {
	return nil, nil
}
func (noSource) Close() error { return nil }

package kafkatest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirstream/weir/internal/testserver/certs"
)

// Listener names one of the addresses that a broker listens at.
type Listener string

// The listeners. All but Plaintext are there with Options.Secure.
const (
	// Plaintext is open to everybody, who is a super user there.
	Plaintext Listener = "PLAINTEXT"
	// TLS has a certificate of 127.0.0.1 and localhost.
	TLS Listener = "TLS"
	// MutualTLS wants the client's certificate, too.
	MutualTLS Listener = "MUTUAL"
	// OtherName has a certificate of another host.
	OtherName Listener = "OTHER"
	// SASL takes passwords in the clear, SASLTLS over TLS: PLAIN, SCRAM-SHA-256 and
	// SCRAM-SHA-512.
	SASL    Listener = "SASL"
	SASLTLS Listener = "SASLTLS"

	controller Listener = "CONTROLLER"
)

func (c *Cluster) listeners() []Listener {
	if !c.options.Secure {
		return []Listener{Plaintext, controller}
	}
	return []Listener{Plaintext, controller, TLS, MutualTLS, OtherName, SASL, SASLTLS}
}

func (l Listener) protocol() string {
	switch l {
	case TLS, MutualTLS, OtherName:
		return "SSL"
	case SASL:
		return "SASL_PLAINTEXT"
	case SASLTLS:
		return "SASL_SSL"
	}
	return "PLAINTEXT"
}

// The users of the SASL listeners and their passwords. Admin may do everything,
// Alice what a test allows her.
const (
	Admin, AdminPassword = "admin", "admin-password"
	Alice, AlicePassword = "alice", "alice-password"
)

// Secrets are the files of the TLS listeners, as PEM.
type Secrets struct {
	CA                    string // of every certificate here
	StrangeCA             string // of none
	ClientCert, ClientKey string // of CN=client, who is a super user

	server, other string // key and certificate in one file, as Kafka reads them
}

// OtherHost is the name in the certificate of [OtherName].
const OtherHost = "other.example"

func makeSecrets(dir string) (*Secrets, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	s := &Secrets{
		CA: in("ca.pem"), StrangeCA: in("strange-ca.pem"), ClientCert: in("client.pem"), ClientKey: in("client.key"),
		server: in("server-store.pem"), other: in("other-store.pem"),
	}
	ca, err := certs.NewAuthority()
	if err != nil {
		return nil, err
	}
	strange, err := certs.NewAuthority()
	if err != nil {
		return nil, err
	}
	serverKey, serverCert, err := ca.Issue("broker", []string{"localhost"}, net.IPv4(127, 0, 0, 1))
	if err != nil {
		return nil, err
	}
	otherKey, otherCert, err := ca.Issue("broker", []string{OtherHost})
	if err != nil {
		return nil, err
	}
	clientKey, clientCert, err := ca.Issue("client", nil)
	if err != nil {
		return nil, err
	}
	for path, text := range map[string][]byte{
		s.CA: ca.PEM, s.StrangeCA: strange.PEM, s.ClientCert: clientCert, s.ClientKey: clientKey,
		s.server: slices.Concat(serverKey, serverCert), s.other: slices.Concat(otherKey, otherCert),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// properties are what the brokers' configuration has of them.
func (s *Secrets) properties() map[string]string {
	p := map[string]string{
		"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":           "User:ANONYMOUS;User:" + Admin + ";User:CN=client",
	}
	for _, l := range []Listener{TLS, MutualTLS, OtherName, SASLTLS} {
		at := "listener.name." + strings.ToLower(string(l)) + ".ssl."
		p[at+"keystore.type"], p[at+"truststore.type"] = "PEM", "PEM"
		p[at+"keystore.location"], p[at+"truststore.location"] = s.server, s.CA
		if l == OtherName {
			p[at+"keystore.location"] = s.other
		}
		if l == MutualTLS {
			p[at+"client.auth"] = "required"
		}
	}
	for _, l := range []Listener{SASL, SASLTLS} {
		at := "listener.name." + strings.ToLower(string(l)) + "."
		p[at+"sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		p[at+"plain.sasl.jaas.config"] = fmt.Sprintf(
			`org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s" user_%s="%s";`, Admin, AdminPassword, Alice, AlicePassword)
		for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
			p[at+mechanism+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
	return p
}

// scram returns StorageTool's flags for the users.
func (s *Secrets) scram() (flags []string) {
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, user := range [][2]string{{Admin, AdminPassword}, {Alice, AlicePassword}} {
			flags = append(flags, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user[0], user[1]))
		}
	}
	return flags
}

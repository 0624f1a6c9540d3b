// Package client connects the source and the sink to a Kafka cluster: the
// configuration that they share, by Kafka's own property names, and what is to be
// done about each error.
package client

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/weirstream/weir/sdk"
)

// Config is what the configurations of source and sink have in common; they embed
// it.
type Config struct {
	BootstrapServers string `weir:"bootstrap.servers,required" doc:"Brokers to begin with, as host:port,host:port; the others are found by them."`
	ClientID         string `weir:"client.id" default:"weir" doc:"The name that brokers log and count this client by."`
	SecurityProtocol string `weir:"security.protocol" default:"PLAINTEXT" enum:"PLAINTEXT,SSL,SASL_PLAINTEXT,SASL_SSL" doc:"How to talk to brokers: with TLS (SSL, SASL_SSL) or without, with a password (SASL) or without."`

	SASLMechanism string     `weir:"sasl.mechanism" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" doc:"How to prove the user."`
	SASLUsername  string     `weir:"sasl.username" doc:"The user; or give sasl.jaas.config."`
	SASLPassword  sdk.Secret `weir:"sasl.password" doc:"The user's password."`
	SASLJAAS      sdk.Secret `weir:"sasl.jaas.config" doc:"User and password as a Java client has them: ...LoginModule required username=\"...\" password=\"...\";"`

	TruststoreType     string     `weir:"ssl.truststore.type" default:"PEM" enum:"PEM" doc:"Certificates are PEM; convert a JKS or PKCS12 store with keytool and openssl."`
	TruststoreLocation string     `weir:"ssl.truststore.location" xor:"truststore" doc:"A PEM file with the certificates of the authorities to trust. Without it those of the system."`
	TruststoreText     string     `weir:"ssl.truststore.certificates" xor:"truststore" doc:"The same as text, such as ${file:ca.pem}."`
	KeystoreType       string     `weir:"ssl.keystore.type" default:"PEM" enum:"PEM" doc:"The client's key and certificate are PEM."`
	KeystoreLocation   string     `weir:"ssl.keystore.location" xor:"keystore" doc:"A PEM file with the client's private key and its certificate chain, for brokers that ask for one."`
	KeystoreKey        sdk.Secret `weir:"ssl.keystore.key" xor:"keystore" doc:"The client's private key as PEM text, such as ${file:client.key}."`
	KeystoreChain      string     `weir:"ssl.keystore.certificate.chain" doc:"The certificate chain of ssl.keystore.key, as PEM text."`
	IdentifyEndpoint   string     `weir:"ssl.endpoint.identification.algorithm" default:"https" doc:"https: a broker's certificate must be of its host. Empty: any host's will do."`
	ServerName         string     `weir:"ssl.server.name" doc:"The host that brokers' certificates are of, where it is not the one that is connected to."`

	RequestTimeout int `weir:"request.timeout.ms" default:"30000" min:"100" max:"3600000" doc:"How long to wait for the answer to a request, in milliseconds."`
	SetupTimeout   int `weir:"socket.connection.setup.timeout.ms" default:"10000" min:"100" max:"600000" doc:"How long a connection may take to be there, TLS and SASL included, in milliseconds."`
	APITimeout     int `weir:"default.api.timeout.ms" default:"60000" min:"100" max:"3600000" doc:"How long to try before an error that may pass, such as a topic that is not there, is taken for one that stays, in milliseconds."`
	MaxIdle        int `weir:"connections.max.idle.ms" default:"540000" min:"1000" max:"86400000" doc:"How long a connection that is not used is kept, in milliseconds."`
}

// TLS reports whether connections are encrypted.
func (c *Config) TLS() bool { return c.SecurityProtocol == "SSL" || c.SecurityProtocol == "SASL_SSL" }

// SASL reports whether the user is proved.
func (c *Config) SASL() bool { return strings.HasPrefix(c.SecurityProtocol, "SASL_") }

// servers are the addresses to begin with.
func (c *Config) servers() []string {
	var all []string
	for s := range strings.SplitSeq(c.BootstrapServers, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// Faults is what Validate of a configuration that embeds c returns of it.
func (c *Config) Faults() (faults []sdk.FieldError) {
	servers := c.servers()
	if len(servers) == 0 {
		faults = append(faults, sdk.Faultf("bootstrap.servers", "names no broker: give host:port"))
	}
	for _, s := range servers {
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			faults = append(faults, sdk.Faultf("bootstrap.servers", "%q is no host:port such as broker-1:9092", s))
		}
	}
	if !c.TLS() {
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"ssl.truststore.location", c.TruststoreLocation != ""},
			{"ssl.truststore.certificates", c.TruststoreText != ""},
			{"ssl.keystore.location", c.KeystoreLocation != ""},
			{"ssl.keystore.key", !c.KeystoreKey.IsZero()},
			{"ssl.keystore.certificate.chain", c.KeystoreChain != ""},
			{"ssl.server.name", c.ServerName != ""},
		} {
			if f.set {
				faults = append(faults, sdk.Faultf(f.name, "has no effect: security.protocol is %s; set SSL or SASL_SSL", c.SecurityProtocol))
			}
		}
	}
	if c.IdentifyEndpoint != "https" && c.IdentifyEndpoint != "" {
		faults = append(faults, sdk.Faultf("ssl.endpoint.identification.algorithm", "%q: there are https, and empty to take any host's certificate", c.IdentifyEndpoint))
	}
	if c.ServerName != "" && c.IdentifyEndpoint == "" {
		faults = append(faults, sdk.Faultf("ssl.server.name", "has no effect while ssl.endpoint.identification.algorithm is empty"))
	}
	if c.KeystoreKey.IsZero() != (c.KeystoreChain == "") {
		faults = append(faults, sdk.Faultf("ssl.keystore.key", "ssl.keystore.key and ssl.keystore.certificate.chain go together"))
	}
	return append(faults, c.saslFaults()...)
}

func (c *Config) saslFaults() []sdk.FieldError {
	given := c.SASLMechanism != "" || c.SASLUsername != "" || !c.SASLPassword.IsZero() || !c.SASLJAAS.IsZero()
	switch {
	case !c.SASL() && given:
		return []sdk.FieldError{sdk.Faultf("security.protocol", "is %s, so the sasl fields have no effect: set SASL_SSL or SASL_PLAINTEXT", c.SecurityProtocol)}
	case !c.SASL():
		return nil
	case c.SASLMechanism == "":
		return []sdk.FieldError{sdk.Faultf("sasl.mechanism", "is required with security.protocol %s: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", c.SecurityProtocol)}
	case !c.SASLJAAS.IsZero() && (c.SASLUsername != "" || !c.SASLPassword.IsZero()):
		return []sdk.FieldError{sdk.Faultf("sasl.jaas.config", "excludes sasl.username and sasl.password")}
	}
	if _, _, err := c.credentials(); err != nil {
		field := "sasl.username"
		if !c.SASLJAAS.IsZero() {
			field = "sasl.jaas.config"
		}
		return []sdk.FieldError{sdk.Faultf(field, "%v", err)}
	}
	return nil
}

// Warnings are what Probe of a configuration that embeds c says beside faults.
func (c *Config) Warnings() []sdk.FieldError {
	if c.SecurityProtocol == "SASL_PLAINTEXT" && c.SASLMechanism == "PLAIN" {
		return []sdk.FieldError{sdk.Warnf("security.protocol", "SASL_PLAINTEXT with PLAIN sends the password as it is: use SASL_SSL")}
	}
	return nil
}

// Connect connects, and returns the client to ask more with, or what keeps it from
// connecting.
func (c *Config) Connect(ctx context.Context) (*Client, []sdk.FieldError) {
	client, err := New(c, NoTopics...)
	if err != nil {
		return nil, []sdk.FieldError{fieldOf(err)}
	}
	err = client.Patiently(ctx, func() error {
		_, err := client.Metadata(ctx, NoTopics)
		return err
	})
	if err != nil {
		client.Close()
		return nil, []sdk.FieldError{fieldOf(err)}
	}
	return client, nil
}

// fieldOf returns an error as one of the field that it is about.
func fieldOf(err error) sdk.FieldError {
	return sdk.Faultf(blamed(err), "%v", err)
}

// String names the cluster in messages.
func (c *Config) String() string { return fmt.Sprintf("Kafka at %s", strings.Join(c.servers(), ",")) }

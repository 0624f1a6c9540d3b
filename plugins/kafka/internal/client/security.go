package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// fieldError is an error about one field of the configuration.
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

func about(field, format string, args ...any) error {
	return &fieldError{field, fmt.Errorf(format, args...)}
}

// tlsConfig reads the certificates; nil is none.
func (c *Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS() {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if err := c.trust(config); err != nil {
		return nil, err
	}
	if c.IdentifyEndpoint == "" {
		// The chain is verified all the same, the name is not.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(s tls.ConnectionState) error {
			others := x509.NewCertPool()
			for _, cert := range s.PeerCertificates[1:] {
				others.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: config.RootCAs, Intermediates: others})
			return err
		}
	}
	cert, err := c.certificate()
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	return config, err
}

func (c *Config) trust(config *tls.Config) error {
	field, text := "ssl.truststore.certificates", []byte(c.TruststoreText)
	if c.TruststoreLocation != "" {
		field = "ssl.truststore.location"
		var err error
		if text, err = readPEM(field, c.TruststoreLocation); err != nil {
			return err
		}
	}
	if len(text) == 0 {
		return nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return about(field, "holds no certificate as PEM (-----BEGIN CERTIFICATE-----)")
	}
	return nil
}

// certificate returns the client's, if it has one.
func (c *Config) certificate() (*tls.Certificate, error) {
	field, key, chain := "ssl.keystore.key", []byte(c.KeystoreKey.Reveal()), []byte(c.KeystoreChain)
	if c.KeystoreLocation != "" {
		field = "ssl.keystore.location"
		text, err := readPEM(field, c.KeystoreLocation)
		if err != nil {
			return nil, err
		}
		key, chain = text, text
	}
	if len(key) == 0 {
		return nil, nil
	}
	if strings.Contains(string(key), "ENCRYPTED PRIVATE KEY") {
		return nil, about(field, "the private key is encrypted: decrypt it with openssl pkey, and protect the file")
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, about(field, "is no private key with its certificate as PEM: %w", err)
	}
	return &cert, nil
}

// readPEM reads a file that a field names, and tells a Java key store for what it is.
func readPEM(field, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, &fieldError{field, err}
	case !strings.Contains(string(text), "-----BEGIN "):
		return nil, about(field, "%s is not PEM: convert a JKS or PKCS12 store with keytool -importkeystore and openssl pkcs12", path)
	}
	return text, nil
}

// mechanism returns how the user is proved; nil is not at all.
func (c *Config) mechanism() (sasl.Mechanism, error) {
	if !c.SASL() {
		return nil, nil
	}
	user, password, err := c.credentials()
	if err != nil {
		return nil, &fieldError{"sasl.jaas.config", err}
	}
	switch c.SASLMechanism {
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, user, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, user, password)
	}
	return plain.Mechanism{Username: user, Password: password}, nil
}

// credentials returns user and password, however they are given.
func (c *Config) credentials() (user, password string, err error) {
	if c.SASLJAAS.IsZero() {
		if c.SASLUsername == "" || c.SASLPassword.IsZero() {
			return "", "", errors.New("user and password are required: set sasl.username and sasl.password, or sasl.jaas.config")
		}
		return c.SASLUsername, c.SASLPassword.Reveal(), nil
	}
	return parseJAAS(c.SASLJAAS.Reveal(), c.SASLMechanism)
}

// jaasOption is one of a login module's options: name="a \"quoted\" value".
var jaasOption = regexp.MustCompile(`(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))`)

// parseJAAS reads user and password from what a Java client is given. No error
// repeats any of it.
func parseJAAS(text, mechanism string) (user, password string, err error) {
	module, rest, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok || !strings.HasSuffix(module, "LoginModule") {
		return "", "", errors.New(`is not as a Java client has it: org.apache.kafka.common.security...LoginModule required username="..." password="...";`)
	}
	if isScram := strings.HasSuffix(module, ".ScramLoginModule"); isScram != strings.HasPrefix(mechanism, "SCRAM-") {
		return "", "", fmt.Errorf("the login module does not fit sasl.mechanism %s: PlainLoginModule is for PLAIN, ScramLoginModule for SCRAM", mechanism)
	}
	unescape := strings.NewReplacer(`\"`, `"`, `\\`, `\`)
	for _, m := range jaasOption.FindAllStringSubmatch(rest, -1) {
		value := unescape.Replace(m[2]) + m[3]
		switch m[1] {
		case "username":
			user = value
		case "password":
			password = value
		}
	}
	if user == "" || password == "" {
		return "", "", errors.New(`has no username="..." and password="..."`)
	}
	return user, password, nil
}

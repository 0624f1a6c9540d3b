package zookeepertest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/internal/testserver/certs"
)

// ClientFiles are PEM files that hold what ClientTLS does: the servers' authority, and
// a client's certificate and key.
func (e *Ensemble) ClientFiles() (ca, cert, key string) {
	return e.secret("ca.pem"), e.secret("client.pem"), e.secret("client.key")
}

func (e *Ensemble) secret(name string) string { return filepath.Join(e.dir, name) }

// writeSecrets makes an authority and the servers' certificate, and returns a
// client's configuration.
func (e *Ensemble) writeSecrets() (*tls.Config, error) {
	ca, err := certs.NewAuthority()
	if err != nil {
		return nil, err
	}
	key, cert, err := ca.Issue("server", []string{"localhost"}, net.IPv4(127, 0, 0, 1))
	if err != nil {
		return nil, err
	}
	clientKey, clientCert, err := ca.Issue("client", nil)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{
		"ca.pem": ca.PEM, "server.pem": slices.Concat(key, cert), "client.pem": clientCert, "client.key": clientKey,
	} {
		if err := os.WriteFile(e.secret(name), text, 0o600); err != nil {
			return nil, err
		}
	}
	pair, err := tls.X509KeyPair(clientCert, clientKey)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}, ServerName: "127.0.0.1"}
	config.RootCAs.AppendCertsFromPEM(ca.PEM)
	return config, nil
}

// tlsConfig is what a server's configuration has of it.
func (e *Ensemble) tlsConfig() map[string]string {
	return map[string]string{
		"serverCnxnFactory":       "org.apache.zookeeper.server.NettyServerCnxnFactory",
		"ssl.keyStore.location":   e.secret("server.pem"),
		"ssl.keyStore.type":       "PEM",
		"ssl.trustStore.location": e.secret("ca.pem"),
		"ssl.trustStore.type":     "PEM",
		"ssl.clientAuth":          "need",
	}
}

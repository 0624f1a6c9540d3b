package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/credentials"
)

// tlsFiles are --tls-cert, --tls-key and --tls-ca: with them hosts speak TLS to each
// other and with those who ask the API, and each side shows a certificate that the
// authority has signed.
type tlsFiles struct {
	cert, key, ca string
	prefix        string // of the flags' names
}

func (f *tlsFiles) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "PEM file with this host's certificate, for the names in --advertise and --listen")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "PEM file with its key")
	cmd.Flags().StringVar(&f.ca, "tls-ca", "", "PEM file with the authority that has signed every host's certificate")
}

// askerFlags are those of a command that asks a server. They have the variables that
// a host has for its own.
func (f *tlsFiles) askerFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.ca, "tls-ca", "", "PEM file with the authority of the server's certificate; the server is asked by https (default WEIR_TLS_CA)")
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "PEM file with a certificate of that authority, which a server takes in place of a token (default WEIR_TLS_CERT)")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "PEM file with its key (default WEIR_TLS_KEY)")
}

// ensembleFlags are those of a connection with ZooKeeper.
func (f *tlsFiles) ensembleFlags(cmd *cobra.Command) {
	f.prefix = "zookeeper-"
	cmd.Flags().StringVar(&f.ca, "zookeeper-tls-ca", "", "PEM file with the authority of the ensemble's certificates; its servers are spoken to by TLS")
	cmd.Flags().StringVar(&f.cert, "zookeeper-tls-cert", "", "PEM file with a certificate to show to the ensemble, where it asks for one")
	cmd.Flags().StringVar(&f.key, "zookeeper-tls-key", "", "PEM file with its key")
}

// listenFlags are those of a run that serves its API.
func (f *tlsFiles) listenFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "PEM file with the certificate that --listen shows; it speaks TLS then")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "PEM file with its key")
	cmd.Flags().StringVar(&f.ca, "tls-ca", "", "PEM file with an authority whose certificates --listen takes in place of the token")
}

// listening is how --listen of a run shows itself; nil for plain text.
func (f *tlsFiles) listening() (*tls.Config, error) {
	if !f.given() {
		return nil, nil
	}
	if f.cert == "" || f.key == "" {
		return nil, errors.New("--tls-cert and --tls-key go together, and --tls-ca goes with them")
	}
	pair, err := f.pair()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	if f.ca != "" {
		if c.ClientCAs, err = f.authority(); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}

// orVariables fills in what was not given.
func (f *tlsFiles) orVariables() {
	for variable, v := range map[string]*string{"WEIR_TLS_CA": &f.ca, "WEIR_TLS_CERT": &f.cert, "WEIR_TLS_KEY": &f.key} {
		if *v == "" {
			*v = os.Getenv(variable)
		}
	}
}

func (f *tlsFiles) given() bool { return f.cert != "" || f.key != "" || f.ca != "" }

// asker is how a server is asked; nil for plain text, or what the system trusts.
func (f *tlsFiles) asker() (*tls.Config, error) {
	if !f.given() {
		return nil, nil
	}
	if f.ca == "" || (f.cert == "") != (f.key == "") {
		return nil, fmt.Errorf("--%[1]stls-ca is missing, or one of --%[1]stls-cert and --%[1]stls-key, which go together", f.prefix)
	}
	pool, err := f.authority()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if f.cert != "" {
		pair, err := f.pair()
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// hostTLS is how a host shows itself; all nil for plain text.
type hostTLS struct {
	// For both ends of a connection between hosts.
	server, client credentials.TransportCredentials
	// api is for those who ask, with a certificate of their own or without.
	api *tls.Config
}

func (f *tlsFiles) credentials() (hostTLS, error) {
	if !f.given() {
		return hostTLS{}, nil
	}
	if f.cert == "" || f.key == "" || f.ca == "" {
		return hostTLS{}, errors.New("--tls-cert, --tls-key and --tls-ca go together")
	}
	pair, err := f.pair()
	if err != nil {
		return hostTLS{}, err
	}
	pool, err := f.authority()
	if err != nil {
		return hostTLS{}, err
	}
	certs := []tls.Certificate{pair}
	return hostTLS{
		server: credentials.NewTLS(&tls.Config{
			Certificates: certs, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		}),
		client: credentials.NewTLS(&tls.Config{Certificates: certs, RootCAs: pool, MinVersion: tls.VersionTLS13}),
		api: &tls.Config{
			Certificates: certs, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13,
		},
	}, nil
}

func (f *tlsFiles) pair() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		err = fmt.Errorf("--%[1]stls-cert, --%[1]stls-key: %[2]w", f.prefix, err)
	}
	return pair, err
}

func (f *tlsFiles) authority() (*x509.CertPool, error) {
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--%stls-ca: %w", f.prefix, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--%stls-ca: %s holds no certificate", f.prefix, f.ca)
	}
	return pool, nil
}

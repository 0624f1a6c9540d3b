package peer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/weirstream/weir/host/edge"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/peer"
)

// authority signs itself and, with its key, a certificate for 127.0.0.1.
func authority(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestHostsShowEachOtherCertificates: with TLS a channel opens between hosts of one
// authority, and neither for a stranger's certificate nor without one.
func TestHostsShowEachOtherCertificates(t *testing.T) {
	own, pool := authority(t)
	strange, _ := authority(t)
	s := peer.NewServer(peer.Identity{Cluster: "c", Host: "b", Instance: "b-1"}, credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	id := edge.ID{Edge: "x -> y"}
	in := edge.NewInput(edge.DefaultLimits())
	defer s.Stop()
	find := func(engine.Run, string) (peer.Address, error) {
		return peer.Address{Address: l.Addr().String(), Instance: "b-1"}, nil
	}
	b := peer.NewMesh(s, find, nil)
	end := b.Accept(run, engine.Inlets{Channels: map[edge.ID]*edge.Channel{id: in.Open(id, 0)}, Broken: func(error) {}})
	defer end()
	for _, c := range []struct {
		name  string
		certs []tls.Certificate
		good  bool
	}{{"none", nil, false}, {"a stranger's", []tls.Certificate{strange}, false}, {"one of the authority", []tls.Certificate{own}, true}} {
		other := peer.NewServer(peer.Identity{Cluster: "c", Host: "a", Instance: "a-1"}, nil)
		a := peer.NewMesh(other, find, credentials.NewTLS(&tls.Config{Certificates: c.certs, RootCAs: pool}))
		f := &far{sent: make(chan error, 1), ready: make(chan struct{})}
		f.send(t, a, id, run)
		select {
		case <-f.ready:
			if !c.good {
				t.Errorf("with certificate %s: it is let in", c.name)
			}
		case err := <-f.sent:
			if c.good {
				t.Errorf("with certificate %s: %v", c.name, err)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing")
		}
		f.cancel()
		a.Close()
		other.Stop()
	}
	in.Close()
}

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// dialer makes connections, and says where and in which step that failed.
type dialer struct {
	tls     *tls.Config
	timeout time.Duration

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// errClosed is what a client's calls fail with when it is closed.
var errClosed = errors.New("the client is closed")

// keep takes a connection in, to be closed with the client.
func (d *dialer) keep(c net.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.Join(errClosed, c.Close())
	}
	if d.open == nil {
		d.open = map[net.Conn]struct{}{}
	}
	d.open[c] = struct{}{}
	return nil
}

func (d *dialer) forget(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, c)
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for c := range d.open {
		_ = c.Close()
	}
	d.open = nil
}

// ConnectError says that a broker could not be connected to.
type ConnectError struct {
	Addr string
	Step string // "connect" or "TLS handshake"
	Err  error
}

// Error says where and why.
func (e *ConnectError) Error() string { return fmt.Sprintf("%s with %s: %v", e.Step, e.Addr, e.Err) }
func (e *ConnectError) Unwrap() error { return e.Err }

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, &ConnectError{addr, "connection", err}
	}
	if d.tls != nil {
		config := d.tls
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &ConnectError{addr, "TLS handshake", err}
		}
		conn = secure
	}
	if err := d.keep(conn); err != nil {
		return nil, err
	}
	return &checkedConn{Conn: conn, dialer: d, addr: addr}, nil
}

// checkedConn looks whether what answers first is a broker, and says who is at the
// other end of a connection that fails.
type checkedConn struct {
	net.Conn
	dialer *dialer
	addr   string
	seen   bool // only the first answer is looked at, by one goroutine
}

// Close closes the connection.
func (c *checkedConn) Close() error {
	c.dialer.forget(c.Conn)
	return c.Conn.Close()
}

// errNoBroker says that something else than Kafka listens.
var errNoBroker = errors.New("no Kafka broker")

// errWantsTLS says that a broker speaks TLS only.
var errWantsTLS = errors.New("speaks TLS")

func (c *checkedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.seen {
		return n, c.located(err)
	}
	c.seen = true
	first := string(p[:min(n, 5)])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		first = c.ask()
	}
	switch {
	case first == "HTTP/":
		return 0, c.located(fmt.Errorf("%w: it answers in HTTP", errNoBroker))
	case strings.HasPrefix(first, "\x15\x03"):
		return 0, c.located(errWantsTLS)
	}
	return n, c.located(err)
}

func (c *checkedConn) located(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &ConnectError{c.addr, "connection", err}
}

// ask returns how the answer begins of one who did not take a Kafka request for
// one: a web server waits for an empty line.
func (c *checkedConn) ask() string {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("\r\n\r\n")); err != nil {
		return ""
	}
	var first [5]byte
	n, _ := io.ReadFull(c.Conn, first[:])
	return string(first[:n])
}

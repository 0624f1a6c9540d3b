package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pauses between attempts to connect.
const (
	redialPause = 50 * time.Millisecond  // at least, to the same server
	roundPause  = 100 * time.Millisecond // after a round over all servers, growing
	roundMost   = 500 * time.Millisecond
)

// dialer chooses servers and connects to them for the library. It implements
// zk.HostProvider.
type dialer struct {
	ctx     context.Context // once it has ended nothing is connected to any more
	stop    context.CancelFunc
	timeout time.Duration // of one attempt
	tls     *tls.Config
	via     func(addr string) string // Config.via
	linked  func(net.Conn, string) *link

	mu       sync.Mutex
	servers  []string
	next     int
	tries    int // since a server last accepted the session
	last     *link
	dialed   map[string]time.Time
	failures map[string]error // the newest of each server
}

func newDialer(c Config, linked func(net.Conn, string) *link) *dialer {
	ctx, stop := context.WithCancel(context.Background())
	return &dialer{ctx: ctx, stop: stop, timeout: c.ConnectTimeout, tls: c.TLS, via: c.via, linked: linked}
}

// Init implements zk.HostProvider. The library has shuffled the servers.
func (d *dialer) Init(servers []string) error {
	d.servers = servers
	d.dialed, d.failures = map[string]time.Time{}, map[string]error{}
	return nil
}

// Len implements zk.HostProvider.
func (d *dialer) Len() int { return len(d.servers) }

// Next implements zk.HostProvider. What it calls the start of a round makes the
// library pause a second and look whether it was closed, which it does nowhere
// else; so that is said at the end alone.
func (d *dialer) Next() (server string, retryStart bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	server = d.servers[d.next%len(d.servers)]
	d.next++
	return server, d.ctx.Err() != nil
}

// Connected implements zk.HostProvider.
func (d *dialer) Connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries, d.last = 0, nil
	clear(d.failures)
}

// dial is a zk.Dialer.
func (d *dialer) dial(network, addr string, _ time.Duration) (net.Conn, error) {
	if err := d.pace(addr); err != nil {
		return nil, err
	}
	conn, err := d.reach(network, addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	d.dialed[addr] = time.Now()
	if err != nil {
		d.failures[addr] = err
		return nil, err
	}
	d.last = d.linked(conn, addr)
	return d.last, nil
}

func (d *dialer) reach(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout)
	defer cancel()
	target := addr
	if d.via != nil {
		target = d.via(addr)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, target)
	if err != nil || d.tls == nil {
		return conn, err
	}
	config := d.tls.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// pace waits before an attempt that follows others.
func (d *dialer) pace(addr string) error {
	d.mu.Lock()
	d.unanswered()
	pause := time.Until(d.dialed[addr].Add(redialPause))
	if rounds := d.tries / len(d.servers); rounds > 0 && d.tries%len(d.servers) == 0 {
		pause = max(pause, min(time.Duration(rounds)*roundPause, roundMost))
	}
	d.mu.Unlock()
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-d.ctx.Done():
		}
	}
	return d.ctx.Err()
}

var errNoAnswer = errors.New("it takes connections but does not answer as a ZooKeeper that serves clients: " +
	"another service, a port with or without TLS, a server that is read-only or has no quorum")

// unanswered notes that the newest connection got no answer to its handshake.
func (d *dialer) unanswered() {
	if d.last != nil && !d.last.greeted() {
		d.failures[d.last.server] = errNoAnswer
	}
}

// trouble says what went wrong with each server since the session was last
// accepted, or nil.
func (d *dialer) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unanswered()
	var texts []string
	for _, server := range slices.Sorted(maps.Keys(d.failures)) {
		texts = append(texts, fmt.Sprintf("%s: %v", server, d.failures[server]))
	}
	if texts == nil {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

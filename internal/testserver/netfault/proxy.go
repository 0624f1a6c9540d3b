// Package netfault puts a faulty network between a client and a server: a proxy on
// loopback that delays, cuts and swallows what passes.
package netfault

import (
	"io"
	"net"
	"sync"
	"time"
)

// Fault is what a proxy does to connections. The zero Fault does nothing.
type Fault struct {
	// Delay is how long each piece takes from one end to the other.
	Delay time.Duration
	// DropRequests and DropReplies swallow what goes to the server, and what comes
	// from it, without a word, as a cut cable does. What was swallowed is gone: a
	// connection that was open meanwhile is cut when the fault ends.
	DropRequests, DropReplies bool
	// Refuse closes each new connection at once.
	Refuse bool
}

// Proxy forwards connections to one server. Its methods may be called
// concurrently.
type Proxy struct {
	target   string
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	fault    Fault
	changed  chan struct{} // closed, and replaced, with each fault
	pairs    map[*pair]struct{}
	accepted int
	closed   bool
}

// pair is one connection and its other half.
type pair struct {
	client, server net.Conn
	lossy          bool // something of it was swallowed
}

func (p *pair) close() {
	p.client.Close()
	if p.server != nil {
		p.server.Close()
	}
}

// Start starts a proxy to a server's address.
func Start(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	p.work.Go(p.accept)
	return p, nil
}

// Addr is the address that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted counts the connections that clients have opened.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Set replaces the fault.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
	if f.DropRequests || f.DropReplies {
		return
	}
	for c := range p.pairs {
		if c.lossy {
			c.close()
		}
	}
}

// Cut closes every connection that is open now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.close()
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Cut()
	p.Set(Fault{})
	p.work.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepted++
		if p.closed || p.fault.Refuse {
			client.Close()
			p.mu.Unlock()
			continue
		}
		c := &pair{client: client}
		p.pairs[c] = struct{}{}
		p.mu.Unlock()
		p.work.Go(func() { p.forward(c) })
	}
}

// connectTimeout bounds the way to the server, which is on this machine.
const connectTimeout = 5 * time.Second

func (p *Proxy) forward(c *pair) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.close()
		delete(p.pairs, c)
	}()
	server, err := net.DialTimeout("tcp", p.target, connectTimeout)
	if err != nil {
		return
	}
	p.mu.Lock()
	c.server = server
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, server, c.client, func(f Fault) bool { return f.DropRequests }) })
	both.Go(func() { p.copy(c, c.client, server, func(f Fault) bool { return f.DropReplies }) })
	both.Wait()
}

// copy forwards one direction, a piece at a time.
func (p *Proxy) copy(c *pair, to io.Writer, from io.Reader, drops func(Fault) bool) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.close() // a half alone is of no use
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		f, changed := p.fault, p.changed
		if drops(f) {
			c.lossy = true
		}
		p.mu.Unlock()
		if drops(f) {
			continue
		}
		if f.Delay > 0 {
			timer := time.NewTimer(f.Delay)
			select {
			case <-timer.C:
			case <-changed:
			}
			timer.Stop()
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

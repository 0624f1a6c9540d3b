package zookeeper

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// Operation codes of requests that a link looks for.
const (
	opPing       = 11
	opAuth       = 100
	opSetWatches = 101
	opClose      = -11
)

// link is one connection to one server, as the client library sees it. It looks at
// the head of each frame that passes.
type link struct {
	net.Conn
	server string
	timer  *time.Timer // closes the connection unless the handshake comes first
	raise  func()      // to be called when the library has set its watches

	mu       sync.Mutex
	began    time.Duration // when the first byte was sent
	holding  bool          // the library has yet to set its watches
	held     [][]byte      // requests that come behind them
	hello    []byte        // begin of the answer to the handshake; nil before it
	closing  bool
	closeXid int32
	closed   bool // the server has confirmed the end of the session
	size     []byte
	left     int    // bytes of the present frame to come
	head     []byte // its first bytes
}

// headSize is more than a handshake's answer and a reply's head.
const headSize = 64

// newLink bounds the handshake by timeout. With holding the library has a watch, so
// that it will set its watches before anything else is to pass.
func newLink(conn net.Conn, server string, timeout time.Duration, holding bool) *link {
	return &link{
		Conn: conn, server: server, holding: holding,
		timer: time.AfterFunc(timeout, func() { conn.Close() }),
	}
}

// Write never fails: the library waits for ever on what it could not write. The
// read that follows fails in its place. The library writes each request in one
// piece.
func (l *link) Write(p []byte) (int, error) {
	out, raise := l.sending(p)
	for _, request := range out {
		if _, err := l.Conn.Write(request); err != nil {
			l.Conn.Close()
			return len(p), nil
		}
	}
	if raise {
		l.raise()
	}
	return len(p), nil
}

// sending returns what is to be written now in place of a request: its length,
// then a number, then an operation code.
//
// A new connection begins with what was queued while there was none. Were that
// answered first, the library would have seen, by the answer's zxid, what its
// watches have not told it, and would set them as of then. So it is held back.
func (l *link) sending(p []byte) (out [][]byte, raise bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began == 0 {
		l.began = now()
		return [][]byte{p}, false // the handshake
	}
	if len(p) < 12 {
		return [][]byte{p}, false
	}
	op := int32(binary.BigEndian.Uint32(p[8:]))
	if op == opClose {
		l.closing, l.closeXid = true, int32(binary.BigEndian.Uint32(p[4:]))
	}
	switch {
	case op == opSetWatches && l.holding:
		out, l.held, l.holding = append([][]byte{p}, l.held...), nil, false
		return out, true
	case l.holding && op != opAuth && op != opPing:
		l.held = append(l.held, bytes.Clone(p)) // the library uses its buffer again
		return nil, false
	}
	return [][]byte{p}, false
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received(p[:n])
	return n, err
}

// received follows the frames: a length, then as many bytes.
func (l *link) received(p []byte) {
	for len(p) > 0 {
		if l.left == 0 {
			n := min(4-len(l.size), len(p))
			l.size, p = append(l.size, p[:n]...), p[n:]
			if len(l.size) == 4 {
				l.left, l.size, l.head = int(binary.BigEndian.Uint32(l.size)), l.size[:0], l.head[:0]
			}
			continue
		}
		n := min(l.left, len(p))
		l.head = append(l.head, p[:min(n, headSize-len(l.head))]...)
		l.left, p = l.left-n, p[n:]
		if l.left == 0 {
			l.frame()
		}
	}
}

func (l *link) frame() {
	if l.hello == nil {
		l.hello = append([]byte{}, l.head...)
		l.timer.Stop()
		return
	}
	if l.closing && len(l.head) >= 4 && int32(binary.BigEndian.Uint32(l.head)) == l.closeXid {
		l.closed = true
	}
}

// Close ends the connection.
func (l *link) Close() error {
	l.timer.Stop()
	return l.Conn.Close()
}

// greeted says whether the server has answered the handshake.
func (l *link) greeted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hello != nil
}

// granted returns the session timeout that the server has granted, and when that
// was asked for.
func (l *link) granted() (timeout, asked time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.hello) < 8 {
		return 0, l.began
	}
	return time.Duration(binary.BigEndian.Uint32(l.hello[4:])) * time.Millisecond, l.began
}

// sessionClosed says whether the server has confirmed the end of the session.
func (l *link) sessionClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

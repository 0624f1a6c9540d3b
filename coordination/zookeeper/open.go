package zookeeper

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// base is the znode below which every cluster has its own.
const base = "/weir"

// marker is what a cluster's root holds, as JSON, so that nobody takes other
// content for a cluster's records.
type marker struct {
	Software string `json:"software"`
	Format   int    `json:"format"`
}

var ours = marker{Software: "weir", Format: 1}

// Open opens a session. The first session of a cluster creates its root.
//
// It fails when no server has accepted the session within the session timeout and
// one connect timeout for each server, saying what each of them did, and at once
// when ctx ends or what the ensemble holds cannot be used.
func Open(ctx context.Context, c Config) (*Store, error) {
	a, err := c.complete()
	if err != nil {
		return nil, fmt.Errorf("ZooKeeper: %w", err)
	}
	s := newStore(c, a)
	s.conn, s.events, err = zk.Connect(a.servers, c.SessionTimeout,
		zk.WithDialer(s.dialer.dial), zk.WithHostProvider(s.dialer),
		zk.WithEventCallback(s.event), zk.WithLogger(libraryLog{s}), zk.WithLogInfo(false))
	if err != nil {
		s.dialer.stop()
		return nil, fmt.Errorf("ZooKeeper %s: %w", c.Servers, err)
	}
	limit := c.SessionTimeout + time.Duration(len(a.servers))*c.ConnectTimeout
	octx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = s.prepare(octx, c, a)
	go s.run()
	if err == nil {
		return s, nil
	}
	if octx.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no session after %s", limit)
	}
	if trouble := s.dialer.trouble(); trouble != nil {
		err = fmt.Errorf("%w: %w", err, trouble)
	}
	_ = s.Close()
	return nil, fmt.Errorf("ZooKeeper %s: %w", c.Servers, err)
}

func newStore(c Config, a address) *Store {
	s := &Store{
		root: a.chroot + base + "/" + c.Cluster, acl: zk.WorldACL(zk.PermAll), log: c.Logger,
		connect: c.ConnectTimeout,
		ended:   make(chan struct{}), over: make(chan struct{}),
		session: session{changed: make(chan struct{})},
	}
	if c.Username != "" {
		s.acl = zk.DigestACL(zk.PermAll, c.Username, c.Password)
	}
	s.dialer = newDialer(c, s.link)
	s.records = newRecords(s)
	s.listings = newListings(s)
	return s
}

// link wraps a new connection, which is the newest from now on.
func (s *Store) link(conn net.Conn, server string) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := newLink(conn, server, s.connect, s.session.opened)
	l.raise = func() { s.raise(l) }
	s.session.link = l
	return l
}

// prepare authenticates, makes sure that the root is ours, and lets requests
// through.
func (s *Store) prepare(ctx context.Context, c Config, a address) error {
	if c.Username != "" {
		if err := s.early(ctx, func() error {
			return s.conn.AddAuth("digest", []byte(c.Username+":"+c.Password))
		}); err != nil {
			return err
		}
	}
	if err := s.early(ctx, func() error { return s.prepareRoot(a.chroot) }); err != nil {
		return err
	}
	// A watch that never fires, so that from here on the library sets its watches on
	// every new connection, which is when requests are let through there.
	if err := s.early(ctx, func() error {
		_, _, _, err := s.conn.ExistsW(s.abs("never-" + rand.Text()))
		return err
	}); err != nil {
		return err
	}
	s.mu.Lock()
	s.session.opened = true
	l := s.session.link
	s.mu.Unlock()
	s.raise(l)
	return nil
}

// early carries out a request while the others are held back.
func (s *Store) early(ctx context.Context, do func() error) error {
	for {
		s.mu.Lock()
		err, has, changed := s.err, s.session.has, s.session.changed
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if has {
			if _, err := await(ctx, s, func() (struct{}, error) { return struct{}{}, do() }); !broken(err) {
				return err
			}
			if err := s.pause(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// prepareRoot creates the cluster's root where there is none, and refuses one that
// is not ours.
func (s *Store) prepareRoot(chroot string) error {
	data, _, err := s.conn.Get(s.root)
	if errors.Is(err, zk.ErrNoNode) {
		if err := s.createRoot(chroot); err != nil {
			return err
		}
		data, _, err = s.conn.Get(s.root)
	}
	if errors.Is(err, zk.ErrNoAuth) {
		return s.explain("", err)
	}
	if err != nil {
		return err
	}
	var m marker
	switch err := json.Unmarshal(data, &m); {
	case err != nil || m.Software != ours.Software:
		return fmt.Errorf("%s holds something that is not Weir's (%.60q): choose another cluster name or chroot", s.root, data)
	case m.Format > ours.Format:
		return fmt.Errorf("%s has format %d and this version knows %d: a newer version has used it", s.root, m.Format, ours.Format)
	}
	return s.checkACL()
}

func (s *Store) createRoot(chroot string) error {
	if chroot != "" {
		switch there, _, err := s.conn.Exists(chroot); {
		case err != nil:
			return err
		case !there:
			return fmt.Errorf("the chroot %s does not exist: create it, or leave it out", chroot)
		}
	}
	content, err := json.Marshal(ours)
	if err != nil {
		return err
	}
	if _, err := s.conn.Create(chroot+base, nil, 0, s.acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return s.explainCreate(chroot+base, err)
	}
	if _, err := s.conn.Create(s.root, content, 0, s.acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return s.explainCreate(s.root, err)
	}
	return nil
}

func (s *Store) explainCreate(path string, err error) error {
	if errors.Is(err, zk.ErrNoAuth) {
		parent := path[:strings.LastIndexByte(path, '/')]
		return fmt.Errorf("ZooKeeper refuses to create %s: the ACL of %s/ is for other credentials than these", path, parent)
	}
	return fmt.Errorf("create %s: %w", path, err)
}

// checkACL refuses a root that others may use too when credentials are given: what
// lies below it since before would stay open.
func (s *Store) checkACL() error {
	if s.acl[0].Scheme == "world" {
		return nil
	}
	acl, _, err := s.conn.GetACL(s.root)
	if err != nil {
		return err
	}
	for _, a := range acl {
		if a.Scheme == "world" {
			return fmt.Errorf("credentials are given, but %s is open to everybody: it was created without. "+
				"Set its ACL and that of all below it (zkCli: setAcl -R %s digest:...), or give no credentials", s.root, s.root)
		}
	}
	return nil
}

// libraryLog passes on what the client library logs.
type libraryLog struct{ s *Store }

// Printf implements zk.Logger.
func (l libraryLog) Printf(format string, args ...any) {
	l.s.log.Debug("zk: " + fmt.Sprintf(format, args...))
	// The library goes on without its watches. A new connection sets them again.
	if strings.HasPrefix(format, "Failed to set previous watches") && len(args) == 1 {
		if err, ok := args[0].(error); ok && !broken(err) {
			l.s.mu.Lock()
			defer l.s.mu.Unlock()
			l.s.session.link.Close()
		}
	}
}

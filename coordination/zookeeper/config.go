package zookeeper

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/weirstream/weir/coordination"
)

// Defaults of Config.
const (
	DefaultSessionTimeout = 4 * time.Second
	DefaultConnectTimeout = 2 * time.Second
)

const defaultPort = "2181"

// Config says which ensemble and how.
type Config struct {
	// Servers is host:port of each server, separated by commas; the port is 2181
	// where it is left out. A path at the end is a chroot, which must exist:
	// "zk1:2181,zk2:2181/services".
	Servers string
	// Cluster names the cluster: its records lie below /weir/<cluster>.
	Cluster string
	// SessionTimeout is how long the ensemble keeps a session that it does not
	// hear of. It may grant another, see [coordination.Lease]. Zero is
	// DefaultSessionTimeout.
	SessionTimeout time.Duration
	// ConnectTimeout bounds one attempt at one server. Zero is
	// DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Username and Password authenticate by digest. With them every record is for
	// this user alone; without, for everybody.
	Username, Password string
	// TLS, where set, is spoken to every server.
	TLS *tls.Config
	// Logger is told of connections lost and made. Nil is silent.
	Logger *slog.Logger

	// via, where set, says where a server is reached in place of its address, in
	// tests.
	via func(addr string) string
}

// address is Config.Servers taken apart.
type address struct {
	servers []string
	chroot  string // "" or beginning with a slash
}

func (c *Config) complete() (address, error) {
	a, err := parseServers(c.Servers)
	if err != nil {
		return a, err
	}
	if err := coordination.CheckPath(c.Cluster); err != nil || strings.Contains(c.Cluster, "/") {
		return a, fmt.Errorf("cluster name %q: one name without slashes is wanted", c.Cluster)
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = DefaultSessionTimeout
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.SessionTimeout < 0 || c.ConnectTimeout < 0 {
		return a, fmt.Errorf("session timeout %s and connect timeout %s must be positive", c.SessionTimeout, c.ConnectTimeout)
	}
	if (c.Username == "") != (c.Password == "") {
		return a, errors.New("a user name and a password are wanted together")
	}
	if strings.Contains(c.Username, ":") {
		return a, fmt.Errorf("user name %q holds a colon, which separates it from the password", c.Username)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

func parseServers(text string) (a address, err error) {
	list, chroot, found := strings.Cut(text, "/")
	if found {
		chroot = strings.TrimSuffix(chroot, "/")
		if err := coordination.CheckPath(chroot); chroot != "" && err != nil {
			return a, fmt.Errorf("ZooKeeper servers %q: chroot: %w", text, err)
		}
		if chroot != "" {
			a.chroot = "/" + chroot
		}
	}
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		host, port, err := net.SplitHostPort(part)
		if err != nil {
			host, port = strings.Trim(part, "[]"), defaultPort
			if strings.Contains(host, ":") && net.ParseIP(host) == nil {
				host = ""
			}
		}
		if host == "" || port == "" {
			return a, fmt.Errorf("ZooKeeper servers %q: %q is no host:port", text, part)
		}
		a.servers = append(a.servers, net.JoinHostPort(host, port))
	}
	return a, nil
}

package zookeeper

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

func TestServersAreHostAndPortWithAChrootAtTheEnd(t *testing.T) {
	for text, want := range map[string]string{
		"one":                  "one:2181",
		"one:1, two ,three:3":  "one:1 two:2181 three:3",
		"one:1/a/b":            "one:1 chroot /a/b",
		"one/":                 "one:2181",
		"[::1]:9,::1,[fe80::]": "[::1]:9 [::1]:2181 [fe80::]:2181",
	} {
		a, err := parseServers(text)
		got := strings.Join(a.servers, " ")
		if a.chroot != "" {
			got += " chroot " + a.chroot
		}
		if err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestWhatCannotBeOpenedIsRefusedAtOnce(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Cluster: "c"}, `"" is no host:port`},
		{Config{Servers: "one,,two", Cluster: "c"}, `"" is no host:port`},
		{Config{Servers: "one:1:", Cluster: "c"}, `no host:port`},
		{Config{Servers: "one:", Cluster: "c"}, `"one:" is no host:port`},
		{Config{Servers: "one/a//b", Cluster: "c"}, "chroot"},
		{Config{Servers: "one"}, "cluster name"},
		{Config{Servers: "one", Cluster: "a/b"}, "cluster name"},
		{Config{Servers: "one", Cluster: "c", SessionTimeout: -1}, "must be positive"},
		{Config{Servers: "one", Cluster: "c", Username: "me"}, "a user name and a password"},
		{Config{Servers: "one", Cluster: "c", Username: "a:b", Password: "x"}, "holds a colon"},
	} {
		_, err := Open(t.Context(), c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
}

// listen accepts connections and does what it is told with them.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func TestAServerThatIsNoneIsNamedInBoundedTime(t *testing.T) {
	nobody := listen(t, func(net.Conn) {})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for what, c := range map[string]struct{ server, want string }{
		"unreachable": {gone.Addr().String(), "connection refused"},
		"silent":      {nobody, "does not answer as a ZooKeeper"},
		"another service": {listen(t, func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}), "does not answer as a ZooKeeper"},
		"unknown": {"no-such-host.invalid:2181", "no-such-host.invalid"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := Open(t.Context(), Config{
				Servers: c.server, Cluster: "c", SessionTimeout: time.Second, ConnectTimeout: 500 * time.Millisecond,
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.server) {
				t.Errorf("%v, want %q and %s", err, c.want, c.server)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := Config{Servers: listen(t, func(net.Conn) {}), Cluster: "c", SessionTimeout: time.Hour, ConnectTimeout: time.Second}
	if _, err := Open(ctx, c); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// raw is a client of ZooKeeper without anything of ours.
func raw(t *testing.T, e *zookeepertest.Ensemble) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect(strings.Split(e.Servers(), ","), testTimeout, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestAServerThatIsReadOnlyIsNamed(t *testing.T) {
	e := ensemble.Get(t)
	alone := e.Nodes[0]
	for _, n := range e.Nodes[1:] {
		n.Kill()
	}
	defer func() {
		if err := e.StartAll(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for alone.Mode(ctx) != "read-only" {
		if ctx.Err() != nil {
			t.Fatalf("the server is %q", alone.Mode(ctx))
		}
		time.Sleep(10 * time.Millisecond)
	}
	c := testConfig(e)
	c.Servers, c.SessionTimeout, c.ConnectTimeout = alone.Addr(), time.Second, time.Second
	if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Fatal(err)
	}
}

func TestAClusterIsOnlyPutWhereItBelongs(t *testing.T) {
	e := single.Get(t)
	conn := raw(t, e)
	c := testConfig(e)
	chroot := "/" + c.Cluster

	c.Servers = e.Servers() + chroot
	if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "chroot "+chroot+" does not exist") {
		t.Errorf("chroot that does not exist: %v", err)
	}
	create(t, conn, chroot, nil)
	s := mustOpen(t, c)
	if err := s.Commit(t.Context(), coordination.Create("a", nil)); err != nil {
		t.Fatal(err)
	}
	if there, _, err := conn.Exists(chroot + "/weir/" + c.Cluster + "/a"); err != nil || !there {
		t.Errorf("the record is not below the chroot: %v", err)
	}
	for name, content := range map[string]struct{ data, want string }{
		"foreign": {"mine", "something that is not Weir's"},
		"empty":   {"", "something that is not Weir's"},
		"other":   {`{"software":"other","format":1}`, "something that is not Weir's"},
		"newer":   {`{"software":"weir","format":2}`, "has format 2 and this version knows 1"},
	} {
		c.Cluster = name
		create(t, conn, chroot+"/weir/"+name, []byte(content.data))
		if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), content.want) {
			t.Errorf("%s content: %v, want %q", name, err, content.want)
		}
	}
}

func create(t *testing.T, conn *zk.Conn, path string, data []byte) {
	t.Helper()
	if _, err := conn.Create(path, data, 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatalf("create %s: %v", path, err)
	}
}

func TestWithCredentialsEveryNodeIsForThisUserAlone(t *testing.T) {
	e := single.Get(t)
	conn := raw(t, e)
	c := testConfig(e)
	chroot := "/" + c.Cluster
	create(t, conn, chroot, nil)
	c.Servers += chroot
	open := c
	mine := c
	mine.Username, mine.Password = "weir", "secret"

	s := mustOpen(t, mine)
	ops := []coordination.Op{coordination.Create("a/b/c", nil), coordination.CreateEphemeral("e/f", nil), coordination.CheckAbsent("x/y")}
	if err := s.Commit(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	acl := zk.DigestACL(zk.PermAll, "weir", "secret")[0]
	if err := conn.AddAuth("digest", []byte("weir:secret")); err != nil {
		t.Fatal(err)
	}
	root := chroot + "/weir/" + c.Cluster
	for _, path := range []string{chroot + "/weir", root, root + "/a", root + "/a/b", root + "/a/b/c", root + "/e", root + "/e/f"} {
		if got, _, err := conn.GetACL(path); err != nil || len(got) != 1 || got[0] != acl {
			t.Errorf("the ACL of %s is %v, %v", path, got, err)
		}
	}

	wrong := mine
	wrong.Password = "guess"
	for what, c := range map[string]Config{"wrong password": wrong, "no credentials": open} {
		if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "its ACL is for other credentials") {
			t.Errorf("%s: %v", what, err)
		}
	}
	wrong.Cluster = "another" // below a node that is not ours either
	if _, err := Open(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "refuses to create") {
		t.Errorf("another cluster: %v", err)
	}

	create(t, conn, chroot+"/open", nil)
	open.Servers, mine.Servers = e.Servers()+chroot+"/open", e.Servers()+chroot+"/open"
	mustOpen(t, open)
	if _, err := Open(t.Context(), mine); err == nil || !strings.Contains(err.Error(), "open to everybody") {
		t.Errorf("credentials for what is open: %v", err)
	}

	// A node that somebody has locked by hand.
	if _, err := conn.SetACL(root+"/a/b/c", zk.DigestACL(zk.PermAll, "other", "x"), -1); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "a/b/c")
	for what, err := range map[string]error{
		"get": getErr, "watch": (<-s.Watch(t.Context(), "a/b/c")).Err, "set": s.Commit(t.Context(), coordination.Set("a/b/c", nil, 0)),
	} {
		if err == nil || !strings.Contains(err.Error(), "its ACL is for other credentials") {
			t.Errorf("%s of what is locked: %v", what, err)
		}
	}
}

func TestACommitThatNoRequestCanHoldIsTooLarge(t *testing.T) {
	s := mustOpen(t, testConfig(single.Get(t)))
	var ops []coordination.Op
	for range coordination.MaxCommit / (64 + 1) {
		ops = append(ops, coordination.CheckAbsent("a"))
	}
	if err := s.Commit(t.Context(), ops...); !errors.Is(err, coordination.ErrTooLarge) {
		t.Fatal(err)
	}
}

package zookeeper

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// TestAFullDiskOfTheEnsemble: with one of three nobody notices. With more nothing can
// be written, which is said within the session timeout and names the servers; what was
// committed before is there when the disks have room again, and work goes on.
func TestAFullDiskOfTheEnsemble(t *testing.T) {
	e := zookeepertest.New(t, zookeepertest.Options{Nodes: 3})
	c := testConfig(e)
	c.SessionTimeout, c.ConnectTimeout = 10*time.Second, time.Second
	s := mustOpen(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	put := func(path string) {
		t.Helper()
		for {
			err := coordination.Put(ctx, s, path, []byte(path))
			if err == nil {
				return
			}
			if !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrUnknownOutcome) {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	fill := func() *zookeepertest.Node {
		t.Helper()
		n, err := e.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.FillDisk(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	put("before")
	first := fill()
	put("with one full disk")
	if mode := first.Mode(ctx); mode == "leader" {
		t.Errorf("the server whose disk is full leads")
	}
	second := fill()
	said := func(err error) bool {
		return (errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrSessionLost)) && strings.Contains(err.Error(), second.Addr())
	}
	var err error
	for !said(err) {
		if errors.Is(err, coordination.ErrSessionLost) || ctx.Err() != nil {
			t.Fatalf("the server is not named: %v", err)
		}
		err = s.Commit(ctx, coordination.Set("before", []byte("before"), coordination.AnyVersion))
	}
	t.Log(err)
	first.Kill()
	second.Kill()
	if err := e.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, c)
	put("after")
	for _, path := range []string{"before", "with one full disk", "after"} {
		if r, err := s.Get(ctx, path); err != nil || string(r.Data) != path {
			t.Errorf("%s: %q, %v", path, r.Data, err)
		}
	}
}

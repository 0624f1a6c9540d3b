package kafkatest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// Shared is a cluster that the tests of a package share: it starts when the first
// of them asks for it. TestMain stops it.
//
//	var broker kafkatest.Shared
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		broker.Stop()
//		os.Exit(code)
//	}
type Shared struct {
	Options Options

	once    sync.Once
	cluster *Cluster
	err     error

	readOnce sync.Once
	reader   *Reader
	readErr  error
}

// Committed returns what Kafka's own consumer reads in a topic now with
// isolation.level=read_committed. The tests share the process that reads.
func (s *Shared) Committed(t testing.TB, topic string) []Message {
	t.Helper()
	c := s.Get(t)
	s.readOnce.Do(func() { s.reader, s.readErr = c.Reader(context.Background(), true) })
	if s.readErr != nil {
		t.Fatal(s.readErr)
	}
	all, err := s.reader.Read(topic)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Get returns the cluster, or fails the test.
func (s *Shared) Get(t testing.TB) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster, s.err = Start(context.Background(), s.Options) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}

// Stop stops the cluster if it was started.
func (s *Shared) Stop() {
	if s.reader != nil {
		_ = s.reader.Close()
	}
	if s.cluster != nil {
		s.cluster.Stop()
	}
}

// New starts a cluster of the test's own.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// Topic creates a topic for the test and returns its name, which no other test
// has.
func (c *Cluster) Topic(t testing.TB, partitions int, config map[string]string) string {
	t.Helper()
	name := "t-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name()) + "-" + randomID()[:8]
	if len(name) > 200 {
		name = name[len(name)-200:]
	}
	if err := c.CreateTopic(t.Context(), name, partitions, config); err != nil {
		t.Fatal(err)
	}
	return name
}

func splitServers(servers string) []string { return strings.Split(servers, ",") }

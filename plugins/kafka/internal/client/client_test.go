package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/goleak"
)

// TestAClosedClientLeavesNothing: requests that are under way when a client is
// closed end, later ones fail, and neither leaves a goroutine that goes on looking
// for brokers.
func TestAClosedClientLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := New(&Config{BootstrapServers: silent.Addr().String(), RequestTimeout: 60_000, SetupTimeout: 60_000, APITimeout: 60_000}, NoTopics...)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, err := c.RoundTrip(context.Background(), &metadata.Request{})
		return err
	}
	underWay := make(chan error, 1)
	go func() { underWay <- ask() }()
	time.Sleep(50 * time.Millisecond) // either way round the rest holds
	c.Close()
	select {
	case err := <-underWay:
		if err == nil {
			t.Error("an answer from nobody")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a request outlives its client")
	}
	if err := ask(); !errors.Is(err, errClosed) {
		t.Errorf("a request of a closed client: %v", err)
	}
}

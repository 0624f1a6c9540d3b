package zookeepertest

import (
	"context"
	"testing"
	"time"
)

func TestAnEnsembleLosesAServerAndGetsItBack(t *testing.T) {
	e := New(t, Options{Nodes: 3})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, err := e.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(ctx); err == nil {
		t.Fatal("a server that runs was started")
	}
	first.Kill()
	if first.PID() != 0 || first.Mode(ctx) != "" {
		t.Fatal("a killed server runs")
	}
	second, err := e.Leader(ctx)
	if err != nil || second == first {
		t.Fatalf("leader %+v, %v, want another than %d", second, err, first.ID)
	}
	if err := first.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if mode := first.Mode(ctx); mode != "follower" {
		t.Fatalf("it came back as %q", mode)
	}
	if err := second.Pause(); err != nil {
		t.Fatal(err)
	}
	if mode := second.Mode(ctx); mode != "" {
		t.Fatalf("a paused server answers %q", mode)
	}
	if err := second.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

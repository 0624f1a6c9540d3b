// Command trial shows the pipeline beside it at work: it produces orders, runs Weir,
// consumes what Weir has written, and compares. Its Kafka client is not Weir's, and
// so is its broker, unless it is told of another.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	servers := flag.String("bootstrap.servers", "", "a broker that runs, as host:port; empty starts one in memory")
	weir := flag.String("weir", "", "the weir to run; empty builds it from the repository that this lies in")
	pipeline := flag.String("pipeline", "../pipeline.yaml", "the pipeline")
	count := flag.Int("count", 20_000, "orders")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := try(ctx, *servers, *weir, *pipeline, *count); err != nil {
		fmt.Fprintln(os.Stderr, "trial:", err)
		os.Exit(1)
	}
}

func try(ctx context.Context, servers, weir, pipeline string, count int) error {
	work, err := os.MkdirTemp("", "weir-trial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	where := "the broker at " + servers
	if servers == "" {
		broker, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return fmt.Errorf("start a broker in memory: %w", err)
		}
		defer broker.Close()
		servers = broker.ListenAddrs()[0]
		where = "a broker in memory, at " + servers
	}
	if weir == "" {
		weir = filepath.Join(work, "weir")
		build := exec.CommandContext(ctx, "go", "build", "-C", "../../..", "-o", weir, "./cmd/weir")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build weir: %w\n%s", err, out)
		}
	}
	c, err := connect(servers)
	if err != nil {
		return err
	}
	defer c.close()
	// Names of its own: a broker may know others from an earlier trial.
	from := fmt.Sprintf("orders-%d", time.Now().UnixMilli())
	to := from + "-masked"
	if err := c.produce(ctx, from, orders(count)); err != nil {
		return err
	}
	fmt.Printf("%d orders are in topic %s of %s\n\n", count, from, where)

	run := exec.CommandContext(ctx, weir, "run", pipeline, "--state-dir", filepath.Join(work, "state"), "--progress", "none")
	run.Env = append(os.Environ(), "KAFKA="+servers, "FROM="+from, "TO="+to)
	run.Stdout, run.Stderr = os.Stdout, os.Stderr
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	if err := run.Run(); err != nil {
		return fmt.Errorf("weir run: %w", err)
	}

	got, err := c.consume(ctx, to)
	if err != nil {
		return err
	}
	want := masked(orders(count))
	if err := compare(got, want); err != nil {
		return fmt.Errorf("topic %s is not as it should be: %w", to, err)
	}
	fmt.Printf("\n%d orders are in topic %s: each once, those of a country in order, without the tests, cards masked\n", len(got), to)
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/jars"
	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/internal/testserver/proc"
)

func kafka(ctx context.Context, args []string) error {
	cache, err := jars.Dir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "kafka-up")
	switch {
	case args[0] == "up" && len(args) == 1:
		return kafkaUp(ctx, dir)
	case args[0] == "down" && len(args) == 1:
		return kafkaDown(dir)
	case args[0] == "topic" && len(args) == 3:
		return kafkaTopic(ctx, dir, args[1], args[2])
	}
	return errors.New("usage: testserver kafka up | down | topic NAME PARTITIONS")
}

// What a running broker's folder holds for those who come later.
const (
	pidFile     = "pid"
	serversFile = "bootstrap.servers"
)

// kafkaUp starts one broker, unless it runs, and prints its address as the last
// line. It keeps its data in dir until kafkaDown.
func kafkaUp(ctx context.Context, dir string) error {
	servers, err := runningServers(dir)
	if err != nil {
		c, err := kafkatest.Start(ctx, kafkatest.Options{Dir: dir, Detach: true, Warm: true})
		if err != nil {
			return err
		}
		servers = c.Bootstrap()
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(c.Brokers[0].PID())), 0o644),
			os.WriteFile(filepath.Join(dir, serversFile), []byte(servers), 0o644),
		); err != nil {
			c.Stop()
			return err
		}
	}
	fmt.Printf("data and log: %s\nbootstrap.servers=%s\n", dir, servers)
	return nil
}

func kafkaDown(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Println("kafka: not running")
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, pidFile), err)
	}
	if err := proc.StopPID(pid, "kafka.Kafka", time.Minute); err != nil {
		return err
	}
	fmt.Println("kafka: stopped, its data is removed")
	return os.RemoveAll(dir)
}

func kafkaTopic(ctx context.Context, dir, name, partitions string) error {
	n, err := strconv.Atoi(partitions)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of partitions", partitions)
	}
	servers, err := runningServers(dir)
	if err != nil {
		return fmt.Errorf("no broker is up: run make kafka-up (%w)", err)
	}
	if err := kafkatest.CreateTopic(ctx, servers, name, n, 1, nil); err != nil {
		return err
	}
	fmt.Printf("topic %s, %d partitions\n", name, n)
	return nil
}

// runningServers returns the address of the broker that runs in dir.
func runningServers(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, serversFile))
	if err != nil {
		return "", err
	}
	servers := strings.TrimSpace(string(text))
	return servers, proc.Listening(servers)
}

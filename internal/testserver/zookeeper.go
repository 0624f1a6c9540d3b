package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/jars"
	"github.com/weirstream/weir/internal/testserver/proc"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

func zookeeper(ctx context.Context, args []string) error {
	cache, err := jars.Dir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "zookeeper-up")
	switch {
	case args[0] == "up" && len(args) == 2:
		return zookeeperUp(ctx, dir, args[1])
	case args[0] == "down" && len(args) == 1:
		return zookeeperDown(dir)
	case args[0] == "cli" && len(args) > 1:
		return zookeeperCLI(ctx, dir, args[1:])
	}
	return errors.New("usage: testserver zookeeper up NODES | down | cli COMMAND [ARGUMENT]")
}

// zookeeperRun is what the folder of running servers holds for those who come
// later.
type zookeeperRun struct {
	Servers string `json:"servers"`
	PIDs    []int  `json:"pids"`
}

func zookeeperFile(dir string) string { return filepath.Join(dir, "run.json") }

// readZookeeper returns what runs in dir; fs.ErrNotExist where nothing does.
func readZookeeper(dir string) (r zookeeperRun, err error) {
	text, err := os.ReadFile(zookeeperFile(dir))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", zookeeperFile(dir), err)
	}
	return r, nil
}

// zookeeperUp starts an ensemble, unless one runs, and prints its addresses as the
// last line. It keeps its data in dir until zookeeperDown.
func zookeeperUp(ctx context.Context, dir, nodes string) error {
	n, err := strconv.Atoi(nodes)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of servers", nodes)
	}
	r, err := readZookeeper(dir)
	if err == nil {
		for address := range strings.SplitSeq(r.Servers, ",") {
			if err := proc.Listening(address); err != nil {
				return fmt.Errorf("an ensemble was started and its server at %s does not answer: run make zookeeper-down first (%w)", address, err)
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	} else {
		e, err := zookeepertest.Start(ctx, zookeepertest.Options{Nodes: n, Dir: dir, Detach: true, Warm: true})
		if err != nil {
			return err
		}
		r.Servers = e.Servers()
		for _, node := range e.Nodes {
			r.PIDs = append(r.PIDs, node.PID())
		}
		text, err := json.Marshal(r)
		if err = errors.Join(err, os.WriteFile(zookeeperFile(dir), text, 0o644)); err != nil {
			e.Stop()
			return err
		}
	}
	fmt.Printf("data and logs: %s\nzookeeper=%s\n", dir, r.Servers)
	return nil
}

func zookeeperDown(dir string) error {
	r, err := readZookeeper(dir)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Println("zookeeper: not running")
		return nil
	}
	if err != nil {
		return err
	}
	for _, pid := range r.PIDs {
		if err := proc.StopPID(pid, "QuorumPeerMain", time.Minute); err != nil {
			return err
		}
	}
	fmt.Println("zookeeper: stopped, its data is removed")
	return os.RemoveAll(dir)
}

func zookeeperCLI(ctx context.Context, dir string, command []string) error {
	r, err := readZookeeper(dir)
	if err != nil {
		return fmt.Errorf("no ensemble is up: run make zookeeper-up (%w)", err)
	}
	text, err := zookeepertest.CLI(ctx, r.Servers, command...)
	fmt.Print(text)
	return err
}

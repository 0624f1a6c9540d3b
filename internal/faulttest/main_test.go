//go:build linux

package faulttest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The roles that the test binary plays, as its first argument.
const (
	roleHost   = "__host"
	rolePlugin = "__plugin"
	roleRogue  = "__rogue"
)

// binaries are the programs that the tests start.
var binaries struct {
	self string // plays the roles
	weir string // the real thing
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleHost:
			playHost()
			return
		case rolePlugin:
			playPlugin()
			return
		case roleRogue:
			playRogue(os.Args[2])
			return
		}
	}
	os.Exit(runTests(m))
}

// runTests builds what the tests start. Tests wait most of the time, so more of them
// run side by side than there are processors.
func runTests(m *testing.M) int {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, flagInt("test.parallel")))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "weir-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries.self, binaries.weir = os.Args[0], filepath.Join(dir, "weir")
	builds := [][]string{{"build", "-o", binaries.weir, "github.com/weirstream/weir/cmd/weir"}}
	if raceEnabled {
		// The race detector watches the tests; in the children it would only make
		// the timing another.
		binaries.self = filepath.Join(dir, "faulttest.test")
		builds = append(builds, []string{"test", "-c", "-o", binaries.self, "github.com/weirstream/weir/internal/faulttest"})
	}
	for _, args := range builds {
		cmd := exec.Command("go", args...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "go", args, err)
			return 1
		}
	}
	code := m.Run()
	kafka.Stop()
	if err := nothingLeft(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// nothingLeft checks that the tests have left no goroutine and no process.
func nothingLeft() error {
	left, err := childrenOf(os.Getpid())
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("processes left: %v", left)
	}
	return goleak.Find()
}

func flagInt(name string) int {
	n, _ := strconv.Atoi(flag.Lookup(name).Value.String())
	return n
}

// seeded returns a random source whose seed is logged and can be given again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("replay with WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// rounds is how often a random test repeats itself.
func rounds(t *testing.T, otherwise int) int {
	s := os.Getenv("WEIR_FAULT_ROUNDS")
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("WEIR_FAULT_ROUNDS: %v", err)
	}
	return n
}

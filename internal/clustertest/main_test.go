//go:build linux

package clustertest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// weir is the binary that the tests start, for plugins and for hosts.
var weir string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if filepath.Base(os.Args[0]) == acmePlugin {
		serveAcme()
		return 0
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "weir-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	weir = filepath.Join(dir, "weir")
	cmd := exec.Command("go", "build", "-o", weir, "github.com/weirstream/weir/cmd/weir")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build weir:", err)
		return 1
	}
	code := m.Run()
	ensemble.Stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

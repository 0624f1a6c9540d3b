package zookeeper

import (
	"os"
	"strconv"
	"testing"

	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// single is one server, and ensemble three, for the tests that break nothing of
// them.
var (
	single   zookeepertest.Shared
	ensemble = zookeepertest.Shared{Options: zookeepertest.Options{
		Nodes: 3, Config: map[string]string{"readonlymode.enabled": "true"},
	}}
)

// rounds is how often the suite runs with each kind of fault: WEIR_FAULT_ROUNDS.
func rounds(t testing.TB) int {
	text := os.Getenv("WEIR_FAULT_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("WEIR_FAULT_ROUNDS=%s is no number of rounds", text)
	}
	return n
}

func TestMain(m *testing.M) {
	code := m.Run()
	single.Stop()
	ensemble.Stop()
	benched.Stop()
	os.Exit(code)
}

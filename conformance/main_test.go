package conformance

import (
	"fmt"
	"os"
	"testing"

	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/plugins/firstparty"
)

// servePlugin is the argument with which the test binary is the first-party plugin.
const servePlugin = "__plugin"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == servePlugin {
		firstparty.Serve()
		return
	}
	if len(os.Args) == 4 && os.Args[1] == makeTopic {
		if err := playMakeTopic(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// firstParty starts it.
func firstParty(t *testing.T) process.Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return process.Command{Name: "weir", Args: []string{self, servePlugin}}
}

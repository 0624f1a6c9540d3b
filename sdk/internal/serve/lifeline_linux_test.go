package serve

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/wire"
)

func TestTheLockIsKeptAndChildrenGetNeither(t *testing.T) {
	p := start(t)
	p.do(t, "collect")
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/4", p.cmd.Process.Pid))
	if err != nil || link != p.lock.Name() {
		t.Errorf("the lock in the plugin: %q, %v", link, err)
	}
	lifeline, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	child := p.do(t, "child")
	for _, not := range []string{wire.EnvLifeline, wire.EnvLock, p.lock.Name(), lifeline, "hosts-output"} {
		if strings.Contains(child, not) {
			t.Errorf("a child of the plugin has %q:\n%s", not, child)
		}
	}
}

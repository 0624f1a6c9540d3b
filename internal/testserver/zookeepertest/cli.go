package zookeepertest

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// cliTimeout bounds one command of zkCli.
const cliTimeout = time.Minute

// CLI runs one command of ZooKeeper's own zkCli and returns what it printed,
// without what it says of its connection.
func CLI(ctx context.Context, servers string, command ...string) (string, error) {
	classpath, err := install(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, cliTimeout)
	defer cancel()
	args := append([]string{
		"-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
		"-cp", classpath, "org.apache.zookeeper.ZooKeeperMain", "-server", servers,
	}, command...)
	cmd := exec.CommandContext(ctx, "java", args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var lines []string
	for line := range strings.Lines(string(out)) {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "Connecting to ") &&
			text != "WATCHER::" && !strings.HasPrefix(text, "WatchedEvent ") {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "")
	if err != nil {
		err = fmt.Errorf("zkCli %s: %w\n%s", strings.Join(command, " "), err, text)
	}
	return text, err
}

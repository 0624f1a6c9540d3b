package examples_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// TestKafka runs the trial, which produces, consumes and compares by itself: with its
// broker in memory, and with an Apache Kafka, whose console consumer then looks too.
func TestKafka(t *testing.T) {
	trial := filepath.Join(t.TempDir(), "trial")
	for _, args := range [][]string{{"vet", "."}, {"build", "-o", trial, "."}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = filepath.Join("kafka", "trial")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
		}
	}
	run := func(t *testing.T, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), trial, append(args, "-weir", weir, "-pipeline", filepath.Join("kafka", "pipeline.yaml"))...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "\n18000 orders are in topic ") || !strings.Contains(string(out), "exactly once: out\n") {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	t.Run("in memory", func(t *testing.T) { run(t) })
	t.Run("Apache Kafka", func(t *testing.T) {
		c := broker.Get(t)
		topic := regexp.MustCompile(`topic (\S+-masked):`).FindStringSubmatch(run(t, "-bootstrap.servers", c.Bootstrap()))[1]
		seen, err := c.Console(t.Context(), kafkatest.Consume{Topic: topic, Max: 18_000})
		if err != nil || len(seen) != 18_000 {
			t.Fatalf("the console consumer sees %d orders: %v", len(seen), err)
		}
		card := regexp.MustCompile(`"card":"\*{12}\d{4}","test":false`)
		for _, line := range seen {
			if !card.MatchString(line) {
				t.Fatalf("an order is %s", line)
			}
		}
	})
}

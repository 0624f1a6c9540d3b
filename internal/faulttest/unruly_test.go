//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// unrulyCase has a stranger's plugin in its middle, which behaves as $HOW says.
var unrulyCase = pipelineCase{
	name: "unruly", input: short, parallelism: []int{2}, isolation: []string{"plugin"},
	nodes: `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  mid:  {operator: rogue/rogue, input: slow}
  out:  {sink: file, input: mid, config: {path: $DIR/out/, roll: {size: 4KiB}}}
`,
	sinks: map[string]sinkCase{"out": {copied, byName}},
}

// behave writes the pipeline file with a plugin that behaves like this.
func (l *lab) behave(how string, s settings) {
	l.t.Helper()
	unrulyCase.set(l, s)
	l.amend("plugins:\n", fmt.Sprintf("plugins:\n  rogue: {command: [%s, %s, %q]}\n", binaries.self, roleRogue, how))
	l.fewRestarts()
}

// TestAPluginThatMisbehavesCostsARollbackAndThenThePipeline lets a third-party
// plugin do what no plugin may, in every epoch. Each time the pipeline rolls back,
// until the restart policy is used up; then it fails and says where, why, how the
// process ended and what it last said. With a plugin that behaves, the next run
// goes on and every record comes out once.
func TestAPluginThatMisbehavesCostsARollbackAndThenThePipeline(t *testing.T) {
	const task = `task mid\[[01]\] \(plugin rogue\): `
	const broke = task + `the plugin broke the protocol: `
	const process = `the process of node mid: plugin rogue \(pid \d+\) `
	for how, want := range map[string]string{
		"exits 0":                  process + `exited with status 0 without having been asked to`,
		"exits 7":                  process + `exited with status 7; its last output:\s+the model has no more quota`,
		"panics":                   process + `exited with status 2 \(goroutine dump: \S+\); its last output:\s+panic: the author's mistake`,
		"kills itself":             process + `was killed by signal SIGKILL`,
		"stops":                    process + `was ended by the host: it did not answer for [0-9.]+s: it is stopped by a signal or a debugger`,
		"hangs":                    process + `was ended by the host: it did not answer for [0-9.]+s \(goroutine dump: (\S+)\)`,
		"sends garbage":            broke + `malformed frame`,
		"sends a huge frame":       broke + `a frame of \d+ bytes, at most \d+ are allowed`,
		"sends to no output":       broke + `a batch for output 17 of node mid, which has 1`,
		"sends for another":        broke + `a frame of component 5 in a chain of 1`,
		"assigns splits":           broke + `a split assignment from a task that is no enumerator`,
		"asks for splits":          broke + `a split request from a task that reads none`,
		"makes a barrier up":       broke + `barrier 1099511627776 passed on, but (none is awaited|barrier \d+ comes first)`,
		"makes a snapshot up":      broke + `a snapshot of checkpoint 1099511627776, but (none is awaited|that of \d+ comes first)`,
		"ends the data":            task + `the plugin ended the data stream without a word`,
		"says that it is closed":   task + `the plugin closed the task without being asked`,
		"does not close":           task + `no luck today`,
		"opened twice":             broke + `Opened twice`,
		"passes a barrier twice":   broke + `barrier \d+ passed on, but (none is awaited|barrier \d+ comes first)`,
		"changes a barrier":        broke + `barrier \d+ was sent as .* and passed on as`,
		"snapshots twice":          broke + `a snapshot of checkpoint \d+, but (none is awaited|that of \d+ comes first)`,
		"snapshots what it is not": broke + `snapshot of checkpoint \d+: an entry of kind KIND_LIST and component 9 in a chain of 1`,
		"commits as an operator":   `node mid \(task mid\[[01]\], plugin rogue\): the plugin broke the protocol: a committable from a component that is no sink`,
		// The batch is broken only for who reads it; a host reads none.
		"cuts a batch short": `malformed frame`,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			l := unrulyCase.open(t)
			if how == "stops" || how == "hangs" {
				l.healthTimeout = 2 * time.Second
			}
			leisurely := unrulyCase.defaults()
			leisurely.took = 8 * time.Second
			l.behave(how, leisurely)
			r := l.run()
			if r.Finished || r.Error == "" {
				t.Fatalf("finished %v without an error", r.Finished)
			}
			found := regexp.MustCompile(want).FindStringSubmatch(r.Error)
			if found == nil {
				t.Errorf("the error is\n%s\nand does not match %s", r.Error, want)
			} else if how == "hangs" {
				dump, err := os.ReadFile(found[1])
				if err != nil || !strings.Contains(string(dump), "rogue") {
					t.Errorf("the goroutine dump: %v\n%.2000s", err, dump)
				}
			}
			if policy := "the restart policy allows 2 restarts within 1h0m0s, and all are used"; !strings.Contains(r.Error, policy) || r.Status.Restarts.Total != 2 {
				t.Errorf("%d restarts, error %s", r.Status.Restarts.Total, r.Error)
			}
			l.behave("well", unrulyCase.defaults())
			l.finish()
			unrulyCase.check(l, false)
		})
	}
}

// TestAPluginThatIsOnlyLoudDoesNoHarm prints where the handshake was and floods
// its standard error: that is read, cut and logged, and nothing stops.
func TestAPluginThatIsOnlyLoudDoesNoHarm(t *testing.T) {
	for _, how := range []string{"prints", "floods"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			l := unrulyCase.open(t)
			l.behave(how, unrulyCase.defaults())
			r := l.finish()
			unrulyCase.check(l, false)
			if r.Status.Restarts.Total != 0 {
				t.Errorf("%d restarts: %s", r.Status.Restarts.Total, r.Status.Restarts.Cause)
			}
			if how == "floods" && len(r.stderr) > 4<<20 {
				t.Errorf("%d bytes of log", len(r.stderr))
			}
		})
	}
}

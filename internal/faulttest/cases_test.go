//go:build linux

package faulttest

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pipelineCase is a pipeline whose output is known.
type pipelineCase struct {
	name string
	// input in processes of few plugins; every line is read once.
	input input
	// nodes are the nodes of the pipeline file. Those of plugin a and plugin b are
	// first-party components too, in processes of their own.
	nodes string
	// parallelism that runs may have; the first is the default.
	parallelism []int
	isolation   []string
	// sinks are the outputs by path below the lab's folder.
	sinks map[string]sinkCase
}

// sinkCase is what a sink must have published.
type sinkCase struct {
	expect func(in input) expectation
	order  order
}

// settings are what a run may choose.
type settings struct {
	parallelism int
	isolation   string
	// took is about how long a run takes that nothing happens to.
	took time.Duration
}

func (c pipelineCase) defaults() settings {
	return settings{c.parallelism[0], c.isolation[0], 700 * time.Millisecond}
}

// allIsolations is for pipelines that may run with any.
var allIsolations = []string{"plugin", "node", "task"}

const head = `
name: p
parallelism: %d
isolation: %s
checkpoint: {interval: 40ms, timeout: 20s, retain: 2}
restart: {attempts: 1000, window: 1h, backoff: 5ms..20ms}
batch: {size: 4KiB, linger: 2ms}
plugins:
  a: {command: [$PLUGIN, __plugin]}
  b: {command: [$PLUGIN, __plugin]}
nodes:
`

// set writes the pipeline file.
func (c pipelineCase) set(l *lab, s settings) {
	l.t.Helper()
	rate := float64(c.input.files*c.input.lines) / s.took.Seconds() / float64(s.parallelism)
	nodes := strings.NewReplacer("$RATE", fmt.Sprint(rate), "$SPLIT", fmt.Sprint(c.input.splitSize)).Replace(c.nodes)
	l.pipeline(fmt.Sprintf(head, s.parallelism, s.isolation) + nodes)
}

// open makes a lab for the case.
func (c pipelineCase) open(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	c.input.write(l)
	c.set(l, c.defaults())
	return l
}

// check compares all output with the input. rescaled says that the parallelism
// changed on the way, so that a split's records moved from task to task.
func (c pipelineCase) check(l *lab, rescaled bool) {
	l.t.Helper()
	for path, s := range c.sinks {
		o := s.order
		if rescaled {
			o = min(o, inRuns)
		}
		s.expect(c.input).check(l.t, published(l.t, l.path(path)), o)
		dir := l.path(path)
		if filepath.Ext(dir) != "" {
			dir = filepath.Dir(dir)
		}
		if left := hidden(l.t, dir); len(left) > 0 {
			l.t.Errorf("left in %s: %q", path, left)
		}
	}
	l.objectsAreNamed()
}

// short is an input of many small records; long is one of which no large part fits
// into the buffers between processes.
var (
	short = input{files: 8, lines: 1000, length: 60, splitSize: 15_000}
	long  = input{files: 8, lines: 150, length: 12_000, splitSize: 400_000}
)

func copied(in input) expectation { return in.expect(asItIs, bySplit) }

// copyCase goes through processes of two plugins. Where the isolation allows it,
// source and slow operator are one chain, so that little is in flight.
var copyCase = pipelineCase{
	name: "copy", input: short, parallelism: []int{1, 4}, isolation: allIsolations,
	nodes: `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  out:  {sink: file, input: slow, config: {path: $DIR/out/, roll: {size: 4KiB}}}
`,
	sinks: map[string]sinkCase{"out": {copied, byName}},
}

// chainCase has source, operator and sink in one task.
var chainCase = pipelineCase{
	name: "chain", input: short, parallelism: []int{4, 1}, isolation: []string{"plugin"},
	nodes: `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  out:  {sink: a/file, input: slow, config: {path: $DIR/out/, roll: {size: 20KiB, interval: 150ms}}}
`,
	sinks: map[string]sinkCase{"out": {copied, byName}},
}

// compressedCase publishes by time, in two compressions.
var compressedCase = pipelineCase{
	name: "compressed", input: short, parallelism: []int{2, 3}, isolation: allIsolations,
	nodes: `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  gz:   {sink: file, input: slow, config: {path: $DIR/gz/, compression: gzip, roll: {interval: 100ms}}}
  zst:  {sink: b/file, input: slow, config: {path: $DIR/zst/, compression: zstd, roll: {size: 3KiB, inactivity: 80ms}}}
`,
	sinks: map[string]sinkCase{"gz": {copied, byName}, "zst": {copied, byName}},
}

// diamondCase goes two ways that meet again.
var diamondCase = pipelineCase{
	name: "diamond", input: short, parallelism: []int{2, 1, 3}, isolation: allIsolations,
	nodes: `
  in:    {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow:  {operator: a/slow, input: in, config: {rate: $RATE}}
  left:  {operator: expr, input: slow, config: {value: '"left " + value'}}
  right: {operator: b/expr, input: slow, config: {value: '"right " + value'}}
  out:   {sink: file, input: [left, right], config: {path: $DIR/out/, roll: {size: 8KiB}}}
`,
	sinks: map[string]sinkCase{"out": {func(in input) expectation {
		e := expectation{}
		for _, way := range []string{"left", "right"} {
			maps.Copy(e, in.expect(
				func(_, _ int, line string) []string { return []string{way + " " + line} },
				func(split, _ string) string { return split + ", " + way }))
		}
		return e
	}, byName}},
}

// rejectsCase fails every tenth record, and parts the others by a condition.
var rejectsCase = pipelineCase{
	name: "rejects", input: short, parallelism: []int{2, 1, 4}, isolation: allIsolations,
	nodes: `
  in:    {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow:  {operator: a/slow, input: in, config: {rate: $RATE}}
  parse: {operator: expr, input: slow, config: {value: 'int(value[3:9]) % 10 == 7 ? string(int("x" + value)) : value'}, on_error: {dead_letter: bad}}
  parts: {operator: b/route, input: parse, config: {outputs: {odd: 'int(value[3:9]) % 2 == 1'}, default: even}}
  odd:   {sink: file, input: parts.odd, config: {path: $DIR/odd/, roll: {size: 5KiB}}}
  even:  {sink: file, input: parts.even, config: {path: $DIR/even/}}
  bad:   {sink: file, config: {path: $DIR/bad/, roll: {size: 1KiB}}}
`,
	sinks: map[string]sinkCase{
		"bad":  {only(func(n int) bool { return n%10 == 7 }), byName},
		"odd":  {only(func(n int) bool { return n%10 != 7 && n%2 == 1 }), byName},
		"even": {only(func(n int) bool { return n%10 != 7 && n%2 == 0 }), byName},
	},
}

// only is the lines whose number within their file passes.
func only(pass func(n int) bool) func(in input) expectation {
	return func(in input) expectation {
		return in.expect(func(_, n int, line string) []string {
			if pass(n) {
				return []string{line}
			}
			return nil
		}, bySplit)
	}
}

// keyedCase spreads records by key and brings them together again.
var keyedCase = pipelineCase{
	name: "keyed", input: short, parallelism: []int{3, 2, 1}, isolation: allIsolations,
	nodes: `
  in:    {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow:  {operator: a/slow, input: in, config: {rate: $RATE}}
  keys:  {operator: a/expr, input: slow, config: {key: 'value[7:9]'}}
  out:   {sink: file, input: {from: keys, partition: key}, config: {path: $DIR/out/, roll: {size: 5KiB}}}
`,
	sinks: map[string]sinkCase{"out": {func(in input) expectation {
		return in.expect(asItIs, func(split, line string) string { return split + ", key " + line[7:9] })
	}, byName}},
}

// oneFileCase appends to a single file.
var oneFileCase = pipelineCase{
	name: "one file", input: short, parallelism: []int{1}, isolation: allIsolations,
	nodes: `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  out:  {sink: file, input: slow, config: {path: $DIR/out/all.log}}
`,
	sinks: map[string]sinkCase{"out/all.log": {copied, inFiles}},
}

var allCases = []pipelineCase{copyCase, chainCase, compressedCase, diamondCase, rejectsCase, keyedCase, tallyCase, tallyOnDiskCase, oneFileCase}

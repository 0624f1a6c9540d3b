package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirstream/weir/bench/components"
)

// benchCase is one case.
type benchCase struct {
	name, about string
	records     uint64
	measure     func(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error)
}

func cases() []benchCase {
	return []benchCase{
		{"hop", "source process to host to sink process: two socket crossings and nothing else", 20_000_000, pipelineCase(hopYAML, false)},
		{"file-upper-file", "lines file to third-party operator to lines file, each a process, exactly once", 20_000_000, pipelineCase(isolatedYAML, true)},
		{"file-upper-file-chained", "the same components chained in one plugin process, two tasks", 40_000_000, pipelineCase(chainedYAML, true)},
		{"file-expr-file", "first-party components, expr upper(value), two tasks", 10_000_000, pipelineCase(exprYAML, true)},
		{"generator-discard", "chained in one process", 40_000_000, pipelineCase(generatorYAML, false)},
		{"keyed-edge", "generator to discard, a process and two tasks each: CPU time a record of an edge by key over a forward one, interleaved", 20_000_000, keyedEdge},
		{"keyed-count", "file, key set, count by key of 1 M keys, discard; one process, two tasks a node, checkpoint a second", 20_000_000, keyed(counting, "plugin")},
		{"keyed-count-isolated", "the same with a process a node", 10_000_000, keyed(counting, "node")},
		{"keyed-count-disk", "the same with 100 bytes of state for each of half as many keys as records, on disk: 40 M records are 2 GB", 10_000_000, keyedOnDisk},
		{"window-1s", "file, key and time set, tumbling windows of a second (a million records) over 1,000 keys, discard; one process, two tasks a node, checkpoint a second", 20_000_000, keyed(windows, "plugin")},
		{"window-1s-isolated", "the same with a process a node", 10_000_000, keyed(windows, "node")},
		{"checkpoint-overhead", "file-upper-file with a checkpoint a second against none, interleaved", 20_000_000, checkpointOverhead},
		{"observed", "file-upper-file-chained watched by status, /metrics, logs and a tap against unwatched, interleaved; p50, p99: a status", 40_000_000, observed},
		{"checkpoint-backpressure", "a sink at a hundredth of the source's speed: time from barrier to record", 400_000, checkpointBackpressure},
		{"latency", "10,000 records a second through three isolated plugins, checkpoint a second", 100_000, latencyCase},
		{"kafka-discard", "from four partitions of a broker on the same cores, chained in one process", 10_000_000, kafkaDiscard},
		{"generator-kafka", "to four partitions of a broker on the same cores, exactly once, a checkpoint every 5 s", 5_000_000, generatorKafka("exactly_once")},
		{"generator-kafka-alo", "the same, at least once", 5_000_000, generatorKafka("at_least_once")},
		{"kafka-kafka-eo", "topic to expr to topic, exactly once, a checkpoint every 5 s", 5_000_000, kafkaKafka("exactly_once")},
		{"kafka-kafka-alo", "the same, at least once", 5_000_000, kafkaKafka("at_least_once")},
		{"kafka-latency", "10,000 records a second from a producer through topic, operator and topic to a consumer, at least once, a checkpoint a second", 120_000, kafkaLatency},
		{"startup", "launch to the first record at the sink", 1, startupCase},
	}
}

const hopYAML = `
name: hop
isolation: node
checkpoint: {interval: 1s}
nodes:
  gen: {source: generator, config: {count: %d}}
  out: {sink: discard, input: gen}
`

const isolatedYAML = `
name: isolated
isolation: node
checkpoint: {interval: 1s}
plugins: {bench: {path: %s}}
nodes:
  in:  {source: file, config: {path: %s}}
  up:  {operator: bench/upper, input: in}
  out: {sink: file, input: up, config: {path: %s/}}
`

const chainedYAML = `
name: chained
parallelism: 2
checkpoint: {interval: 1s}
plugins: {benchfile: {path: %s}}
nodes:
  in:  {source: benchfile/file, config: {path: %s}}
  up:  {operator: benchfile/upper, input: in}
  out: {sink: benchfile/file, input: up, config: {path: %s/}}
`

const exprYAML = `
name: expr
parallelism: 2
checkpoint: {interval: 1s}
plugins: {bench: {path: %s}}
nodes:
  in:  {source: file, config: {path: %s}}
  up:  {operator: expr, input: in, config: {value: upper(value)}}
  out: {sink: file, input: up, config: {path: %s/}}
`

const generatorYAML = `
name: generator
parallelism: 2
checkpoint: {interval: 1s}
nodes:
  gen: {source: generator, config: {count: %d, splits: 2}}
  out: {sink: discard, input: gen}
`

// fill completes a pipeline: with the number of records, or with plugin, input and
// output.
func fill(l *lab, yaml string, files bool, records uint64, out string) (string, error) {
	if !files {
		return fmt.Sprintf(yaml, records), nil
	}
	in, err := l.lines(records)
	if err != nil {
		return "", err
	}
	plugin := l.plugin
	if yaml == chainedYAML {
		plugin = l.pluginWithFile
	}
	return fmt.Sprintf(yaml, plugin, in, out), nil
}

// pipelineCase runs a pipeline to its end and, where it writes files, checks that
// the output has as many lines and bytes as the input.
func pipelineCase(yaml string, files bool) func(context.Context, *lab, string, uint64, int) (Result, error) {
	return func(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
		var all []Result
		for range runs {
			r, err := l.once(ctx, name, func(out string) (string, error) { return fill(l, yaml, files, records, out) }, records, files)
			if err != nil {
				return Result{}, err
			}
			all = append(all, r)
		}
		return median(all), nil
	}
}

// median returns the run with the median CPU time a record, with the extremes.
func median(all []Result) Result {
	byCPU := slices.Clone(all)
	slices.SortFunc(byCPU, func(a, b Result) int { return sign(a.CPUNsPerRecord - b.CPUNsPerRecord) })
	bySpeed := slices.Clone(all)
	slices.SortFunc(bySpeed, func(a, b Result) int { return sign(a.RecordsPerS - b.RecordsPerS) })
	r := byCPU[len(byCPU)/2]
	r.RecordsPerS = bySpeed[len(bySpeed)/2].RecordsPerS
	r.MedianOf = len(all)
	r.MinRecordsPerS, r.MaxRecordsPerS = bySpeed[0].RecordsPerS, bySpeed[len(bySpeed)-1].RecordsPerS
	r.MinCPUNsPerRecord, r.MaxCPUNsPerRecord = byCPU[0].CPUNsPerRecord, byCPU[len(byCPU)-1].CPUNsPerRecord
	return r
}

func sign(f float64) int {
	switch {
	case f < 0:
		return -1
	case f > 0:
		return 1
	}
	return 0
}

// checkpointOverhead compares CPU time a record with and without checkpoints.
func checkpointOverhead(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	var with, without []Result
	never := replaceOnce(isolatedYAML, "interval: 1s", "interval: 1h")
	for range max(runs, 3) {
		for _, side := range []struct {
			yaml string
			into *[]Result
		}{{isolatedYAML, &with}, {never, &without}} {
			r, err := l.once(ctx, name, func(out string) (string, error) { return fill(l, side.yaml, true, records, out) }, records, true)
			if err != nil {
				return Result{}, err
			}
			*side.into = append(*side.into, r)
		}
	}
	r := median(with)
	r.OverheadPercent = 100 * (r.CPUNsPerRecord/median(without).CPUNsPerRecord - 1)
	return r, nil
}

const slowYAML = `
name: slow
isolation: node
checkpoint: {interval: 1s, timeout: 10m}
plugins: {bench: {path: %s}}
nodes:
  gen: {source: generator, config: {count: %d}}
  out: {sink: bench/slow, input: gen, config: {rate: %d}}
`

// checkpointBackpressure lets the source run against a sink of a hundredth of its
// speed and reports the slowest checkpoint: how long it took from barrier to
// record, and how much of that the sink needed for the bytes in flight.
func checkpointBackpressure(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	const rate = 20_000 // the source makes some two million a second
	var all []Result
	for range runs {
		r, err := l.once(ctx, name, func(string) (string, error) { return fmt.Sprintf(slowYAML, l.plugin, records, rate), nil }, records, false)
		if err != nil {
			return Result{}, err
		}
		r.BarrierToRecordMs = float64(l.last.Slowest) / 1e6
		r.BytesInFlight = l.last.PeakInFlight
		recordBytes := float64(r.Bytes) / float64(records)
		r.InFlightDrainMs = float64(r.BytesInFlight) / recordBytes / rate * 1e3
		all = append(all, r)
	}
	return median(all), nil
}

const latencyYAML = `
name: latency
isolation: node
checkpoint: {interval: 1s}
plugins: {bench: {path: %s}}
nodes:
  gen:  {source: generator, config: {count: %d, rate: 10000, time: now}}
  pass: {operator: bench/pass, input: gen}
  out:  {sink: bench/latency, input: pass, config: {path: %s}}
`

func latencyCase(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	var all []Result
	for range runs {
		result := filepath.Join(l.dir, "latency.json")
		r, err := l.once(ctx, name, func(string) (string, error) { return fmt.Sprintf(latencyYAML, l.plugin, records, result), nil }, records, false)
		if err != nil {
			return Result{}, err
		}
		b, err := os.ReadFile(result)
		if err != nil {
			return Result{}, err
		}
		var p components.Percentiles
		if err := json.Unmarshal(b, &p); err != nil {
			return Result{}, err
		}
		r.P50us, r.P99us = p.P50, p.P99
		all = append(all, r)
	}
	return median(all), nil
}

// startupCase measures from the launch to the first record at a sink that
// stamps it.
func startupCase(ctx context.Context, l *lab, name string, _ uint64, runs int) (Result, error) {
	var all []Result
	for range runs {
		stamp := filepath.Join(l.dir, "first")
		launched := time.Now()
		r, err := l.once(ctx, name, func(string) (string, error) {
			launched = time.Now()
			return fmt.Sprintf(startupYAML, l.plugin, stamp), nil
		}, 1, false)
		if err != nil {
			return Result{}, err
		}
		b, err := os.ReadFile(stamp)
		if err != nil {
			return Result{}, err
		}
		var first components.First
		if err := json.Unmarshal(b, &first); err != nil {
			return Result{}, err
		}
		r.StartupMs = float64(first.At.Sub(launched).Microseconds()) / 1e3
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Result) int { return sign(a.StartupMs - b.StartupMs) })
	return all[len(all)/2], nil
}

const startupYAML = `
name: startup
isolation: node
plugins: {bench: {path: %s}}
nodes:
  gen: {source: generator, config: {count: 1}}
  up:  {operator: bench/upper, input: gen}
  out: {sink: bench/first, input: up, config: {path: %s}}
`

package main

import (
	"context"
	"fmt"
)

const keyedEdgeYAML = `
name: edge
parallelism: 2
isolation: node
checkpoint: {interval: 1s}
nodes:
  gen: {source: generator, config: {count: %d, splits: 2, keys: 1000000}}
  out: {sink: discard, input: {from: gen, partition: %s}}
`

// keyedEdge compares CPU time a record of a keyed edge with that of a forward one.
func keyedEdge(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	var keyed, forward []Result
	for range max(runs, 3) {
		for _, side := range []struct {
			partition string
			into      *[]Result
		}{{"key", &keyed}, {"forward", &forward}} {
			r, err := l.once(ctx, name, func(string) (string, error) { return fmt.Sprintf(keyedEdgeYAML, records, side.partition), nil }, records, false)
			if err != nil {
				return Result{}, err
			}
			*side.into = append(*side.into, r)
		}
	}
	r := median(keyed)
	r.EdgeNsPerRecord = r.CPUNsPerRecord - median(forward).CPUNsPerRecord
	return r, nil
}

const keyedYAML = `
name: keyed
parallelism: 2
isolation: %s
checkpoint: {interval: 1s}
plugins: {benchfile: {path: %s}}
nodes:
  in:    {source: benchfile/file, config: {path: %s}}
  keys:  {operator: benchfile/keys, input: in, %s}
  count: {operator: benchfile/%s}
  out:   {sink: benchfile/discard, input: count}
`

// keyedWork is what a pipeline of keyedYAML does by key.
type keyedWork struct {
	keys, count string
	results     func(records uint64) uint64
}

var (
	// counting counts by key; every record has a result.
	counting = keyedWork{
		"config: {keys: 1000000}", "count, input: keys",
		func(records uint64) uint64 { return records },
	}
	// windows has a result of each key and second, of which there is one a million
	// records.
	windows = keyedWork{
		"config: {keys: 1000}, event_time: {from: record}",
		"window, input: keys, config: {size: 1s, aggregates: {n: count()}}",
		func(records uint64) uint64 { return (records + 999_999) / 1_000_000 * 1000 },
	}
)

// keyedOnDisk counts over state that is larger than what the back end keeps in memory.
func keyedOnDisk(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	return keyed(keyedWork{
		fmt.Sprintf("config: {keys: %d}", max(1, records/2)), "count, input: keys, state: disk, config: {pad: 92}", counting.results,
	}, "plugin")(ctx, l, name, records, runs)
}

// keyed measures a pipeline that reads lines and keeps state by key.
func keyed(work keyedWork, isolation string) func(context.Context, *lab, string, uint64, int) (Result, error) {
	return func(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
		in, err := l.lines(records)
		if err != nil {
			return Result{}, err
		}
		var all []Result
		for range runs {
			r, err := l.onceTo(ctx, name, func(string) (string, error) {
				return fmt.Sprintf(keyedYAML, isolation, l.pluginWithFile, in, work.keys, work.count), nil
			}, records, work.results(records), false)
			if err != nil {
				return Result{}, err
			}
			all = append(all, r)
		}
		return median(all), nil
	}
}

// Command bench measures whole pipelines, all of their processes included.
//
//	go run ./bench                          every case, a table
//	go run ./bench -case hop -o json        one case, a line of JSON
//
// It builds weir and the plugins that it needs, makes the input, runs each case
// as `weir run` in a process of its own, and takes CPU time from the operating
// system's accounting of that process and its plugins. Overheads are compared as
// CPU time a record, in interleaved runs: these are ratios, and survive a noisy
// machine; records a second do not.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// Result is what a case measured; see the README for what counts.
type Result struct {
	Case            string  `json:"case"`
	Records         uint64  `json:"records"`
	Bytes           uint64  `json:"bytes"`
	Seconds         float64 `json:"seconds"`
	RecordsPerS     float64 `json:"records_per_s"`
	CPUNsPerRecord  float64 `json:"cpu_ns_per_record"`
	PSSPeakMiB      float64 `json:"pss_peak_mib"`
	AllocsPerRecord float64 `json:"allocs_per_record"` // of the host
	// BrokerCPUNsPerRecord is a Kafka broker's, beside our own.
	BrokerCPUNsPerRecord float64 `json:"broker_cpu_ns_per_record,omitempty"`
	Checkpoints          int     `json:"checkpoints,omitempty"`
	P50us                float64 `json:"p50_us,omitempty"`
	P99us                float64 `json:"p99_us,omitempty"`
	// What only some cases have.
	StartupMs         float64 `json:"startup_ms,omitempty"`
	OverheadPercent   float64 `json:"overhead_percent,omitempty"`
	EdgeNsPerRecord   float64 `json:"edge_ns_per_record,omitempty"`
	BarrierToRecordMs float64 `json:"barrier_to_record_ms,omitempty"`
	BytesInFlight     uint64  `json:"bytes_in_flight,omitempty"`
	InFlightDrainMs   float64 `json:"in_flight_drain_ms,omitempty"`
	Dir               string  `json:"dir"`
	MedianOf          int     `json:"median_of"`
	MinRecordsPerS    float64 `json:"min_records_per_s"`
	MaxRecordsPerS    float64 `json:"max_records_per_s"`
	MinCPUNsPerRecord float64 `json:"min_cpu_ns_per_record"`
	MaxCPUNsPerRecord float64 `json:"max_cpu_ns_per_record"`
}

func main() {
	var (
		name    = flag.String("case", "", "the case to run, or several with commas; empty runs all")
		records = flag.Uint64("records", 0, "records; 0 is the case's own number")
		runs    = flag.Int("runs", 1, "runs of each case; the median is reported, with minimum and maximum")
		format  = flag.String("o", "text", "text or json")
		dir     = flag.String("dir", "", "where the files lie; the default is /dev/shm where it exists")
		keep    = flag.Bool("keep", false, "leave the output there")
		list    = flag.Bool("list", false, "list the cases")
		profile = flag.String("profile", "", "folder for CPU profiles, one a process and second: go tool pprof adds them up")
	)
	flag.Parse()
	if *list {
		for _, c := range cases() {
			fmt.Printf("%-24s %s\n", c.name, c.about)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *name, *records, *runs, *format, *dir, *keep, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names string, records uint64, runs int, format, dir string, keep bool, profile string) error {
	var chosen []benchCase
	for _, c := range cases() {
		if names == "" || slices.Contains(strings.Split(names, ","), c.name) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no case %q; -list shows them", names)
	}
	lab, err := newLab(ctx, dir, keep, profile)
	if err != nil {
		return err
	}
	defer lab.close()
	if format == "text" {
		fmt.Printf("files in %s\n%-24s %12s %14s %10s %9s %8s  %s\n", lab.dir, "case", "records/s", "CPU ns/record", "seconds", "PSS MiB", "allocs", "")
	}
	for _, c := range chosen {
		n := records
		if n == 0 {
			n = c.records
		}
		r, err := c.measure(ctx, lab, c.name, n, runs)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		r.Case, r.Dir = c.name, lab.dir
		if format == "json" {
			if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
				return err
			}
			continue
		}
		fmt.Printf("%-24s %12.0f %14.0f %10.2f %9.0f %8.3f  %s\n", r.Case, r.RecordsPerS, r.CPUNsPerRecord, r.Seconds, r.PSSPeakMiB, r.AllocsPerRecord, r.extra())
	}
	return nil
}

// extra is what only some cases have, as text.
func (r Result) extra() string {
	var parts []string
	add := func(format string, v float64) {
		if v != 0 {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	add("broker %.0f ns/record", r.BrokerCPUNsPerRecord)
	add("%.0f checkpoints", float64(r.Checkpoints))
	add("p50 %.0f us", r.P50us)
	add("p99 %.0f us", r.P99us)
	add("first record after %.0f ms", r.StartupMs)
	add("overhead %.1f%%", r.OverheadPercent)
	add("%.0f ns/record over a forward edge", r.EdgeNsPerRecord)
	add("barrier to record %.0f ms", r.BarrierToRecordMs)
	add("of which draining %.0f ms", r.InFlightDrainMs)
	add("%.0f bytes in flight", float64(r.BytesInFlight))
	return strings.Join(parts, ", ")
}

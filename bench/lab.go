package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// lab holds what cases share: the binaries and the input.
type lab struct {
	dir            string
	keep           bool
	weir           string
	plugin         string // weir-plugin-bench
	pluginWithFile string // weir-plugin-benchfile
	runs           int
	last           summary // of the newest run
	// beside, if it is set, runs beside each run until its ctx ends.
	beside func(ctx context.Context, stateDir string)
	broker *kafkatest.Cluster
	topics map[string]bool // that are filled
}

// newLab builds what cases run; its processes write CPU profiles into a folder,
// unless that is empty.
func newLab(ctx context.Context, dir string, keep bool, profile string) (*lab, error) {
	if dir == "" {
		dir = os.TempDir()
		if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
			dir = "/dev/shm"
		}
	}
	dir, err := os.MkdirTemp(dir, "weir-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, keep: keep, topics: map[string]bool{}}
	overlay, err := profiled(profile, dir)
	if err != nil {
		l.close()
		return nil, err
	}
	for _, b := range []struct {
		into *string
		pkg  string
	}{
		{&l.weir, "./cmd/weir"}, {&l.plugin, "./bench/weir-plugin-bench"}, {&l.pluginWithFile, "./bench/weir-plugin-benchfile"},
	} {
		*b.into = filepath.Join(dir, filepath.Base(b.pkg))
		cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build"}, overlay, []string{"-o", *b.into, b.pkg})...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			l.close()
			return nil, fmt.Errorf("build %s (run this in the repository): %w", b.pkg, err)
		}
	}
	return l, nil
}

func (l *lab) close() {
	if l.broker != nil {
		l.broker.Stop()
	}
	if !l.keep {
		os.RemoveAll(l.dir)
	}
}

// lineBytes is the length of an input line without its newline.
const lineBytes = 100

// lines makes a file of lines, once a size.
func (l *lab) lines(records uint64) (string, error) {
	path := filepath.Join(l.dir, fmt.Sprintf("in-%d.log", records))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<16)
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyz    "[random.IntN(30)]
	}
	for n := range records {
		head := fmt.Sprintf("%012d ", n)
		at := random.IntN(len(text) - lineBytes)
		w.WriteString(head)
		w.Write(text[at : at+lineBytes-len(head)])
		w.WriteByte('\n')
	}
	return path, errors.Join(w.Flush(), f.Close())
}

// summary is what the bench reads of `weir run -o json`.
type summary struct {
	Seconds     float64 `json:"seconds"`
	Checkpoints int     `json:"checkpoints_completed"`
	Nodes       []struct {
		Name     string `json:"name"`
		Kind     string `json:"kind"`
		In       uint64 `json:"records_in"`
		BytesIn  uint64 `json:"bytes_in"`
		BytesOut uint64 `json:"bytes_out"`
	} `json:"nodes"`
	Slowest      int64  `json:"slowest_checkpoint_ns"`
	Finished     bool   `json:"finished"`
	HostAllocs   uint64 `json:"host_allocations"`
	PeakInFlight uint64 `json:"peak_bytes_in_flight"`
}

// once runs a pipeline in a process of its own, that brings each record to its
// sinks, and measures it.
func (l *lab) once(ctx context.Context, name string, pipeline func(out string) (string, error), records uint64, files bool) (Result, error) {
	return l.onceTo(ctx, name, pipeline, records, records, files)
}

// onceTo is once with another number of records at each sink.
func (l *lab) onceTo(ctx context.Context, name string, pipeline func(out string) (string, error), records, results uint64, files bool) (Result, error) {
	l.runs++
	work := filepath.Join(l.dir, fmt.Sprintf("run-%d", l.runs))
	out := filepath.Join(work, "out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return Result{}, err
	}
	if !l.keep {
		defer os.RemoveAll(work)
	}
	yaml, err := pipeline(out)
	if err != nil {
		return Result{}, err
	}
	file := filepath.Join(work, name+".yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		return Result{}, err
	}
	cmd := exec.CommandContext(ctx, l.weir, "run", file, "--state-dir", filepath.Join(work, "state"), "-o", "json", "--progress", "none", "--log-level", "warn")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	peak := samplePSS(cmd.Process.Pid)
	leave := l.accompany(ctx, filepath.Join(work, "state"))
	err = cmd.Wait()
	leave()
	pss := peak()
	took := time.Since(began)
	if err != nil {
		return Result{}, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	var s summary
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		return Result{}, fmt.Errorf("read the summary: %w\n%s", err, stdout.String())
	}
	l.last = s
	if !s.Finished {
		return Result{}, fmt.Errorf("the pipeline did not finish: %s", stdout.String())
	}
	var bytesIn uint64
	for _, n := range s.Nodes {
		if n.Kind == "sink" {
			if n.In != results {
				return Result{}, fmt.Errorf("sink %s got %d records, expected %d", n.Name, n.In, results)
			}
			bytesIn = n.BytesIn
		}
	}
	if files {
		if err := checkLines(out, records); err != nil {
			return Result{}, err
		}
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return Result{
		Records: records, Bytes: bytesIn, Seconds: took.Seconds(),
		RecordsPerS:     float64(records) / took.Seconds(),
		CPUNsPerRecord:  float64(cpu.Nanoseconds()) / float64(records),
		PSSPeakMiB:      float64(pss) / (1 << 20),
		AllocsPerRecord: float64(s.HostAllocs) / float64(records),
		Checkpoints:     s.Checkpoints,
		MedianOf:        1,
	}, nil
}

// accompany starts what runs beside a run; leave ends it and waits for it.
func (l *lab) accompany(ctx context.Context, stateDir string) (leave func()) {
	if l.beside == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.beside(ctx, stateDir)
	}()
	return func() {
		cancel()
		<-done
	}
}

// checkLines counts lines and bytes of everything published in a folder.
func checkLines(dir string, records uint64) error {
	var lines, size uint64
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		for {
			n, err := f.Read(buf)
			size += uint64(n)
			lines += uint64(bytes.Count(buf[:n], []byte("\n")))
			if err == io.EOF {
				break
			}
			if err != nil {
				return errors.Join(err, f.Close())
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if lines != records || size != records*(lineBytes+1) {
		return fmt.Errorf("the output has %d lines and %d bytes, expected %d and %d", lines, size, records, records*(lineBytes+1))
	}
	return nil
}

func replaceOnce(s, old, new string) string { return strings.Replace(s, old, new, 1) }

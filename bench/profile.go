package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// profiler is what a binary is built with that is to be profiled. A process may be
// killed at any time, so that it begins a new file each second.
const profiler = `package sdk

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

func init() {
	go func() {
		for i := 0; ; i++ {
			f, err := os.Create(filepath.Join($DIR, fmt.Sprintf("%s-%d-%03d.pprof", filepath.Base(os.Args[0]), os.Getpid(), i)))
			if err != nil || pprof.StartCPUProfile(f) != nil {
				return
			}
			time.Sleep(time.Second)
			pprof.StopCPUProfile()
			f.Close()
		}
	}()
}
`

// profiled returns the arguments of go build for binaries whose processes write CPU
// profiles into a folder. work is for files of the build.
func profiled(into, work string) ([]string, error) {
	if into == "" {
		return nil, nil
	}
	into, err := filepath.Abs(into)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return nil, err
	}
	source := filepath.Join(work, "profile.go")
	if err := os.WriteFile(source, []byte(strings.ReplaceAll(profiler, "$DIR", strconv.Quote(into))), 0o644); err != nil {
		return nil, err
	}
	at, err := filepath.Abs(filepath.Join("sdk", "bench_profile.go"))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{at: source}})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(work, "overlay.json")
	return []string{"-overlay", overlay}, os.WriteFile(overlay, text, 0o644)
}

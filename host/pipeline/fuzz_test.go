package pipeline_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirstream/weir/host/pipeline"
)

const fuzzSecret = "s3cr3t-t0k3n"

// Whatever a file holds, reading it ends without a panic, with a pipeline or with
// faults that each stand somewhere in the file, and tells no secret.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../../cmd/weir/testdata/broken/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	opts := testOptions()
	opts.ReadFile = func(string) ([]byte, error) { return []byte(fuzzSecret), nil }
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := checkLoad(data, opts); err != nil {
			t.Error(err)
		}
	})
}

// checkLoad says what is wrong with the answer to a file, whatever the file.
func checkLoad(data []byte, opts pipeline.Options) error {
	p, report := pipeline.LoadBytes(context.Background(), "fuzz.yaml", data, opts)
	if (p != nil) != report.OK() {
		return fmt.Errorf("a pipeline: %t, but a report that is OK: %t", p != nil, report.OK())
	}
	text := string(data)
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i, fault := range report.Faults {
		if fault.Code == "" || fault.Message == "" || fault.File != "fuzz.yaml" {
			return fmt.Errorf("fault %d is incomplete: %+v", i, fault)
		}
		if fault.Line < 1 || fault.Column < 1 || fault.Line > len(lines) {
			return fmt.Errorf("fault %d stands at %d:%d of a file of %d lines", i, fault.Line, fault.Column, len(lines))
		}
		if fault.Column > utf8.RuneCountInString(lines[fault.Line-1])+1 {
			return fmt.Errorf("fault %d stands at %d:%d, behind its line", i, fault.Line, fault.Column)
		}
		if i > 0 {
			if b := report.Faults[i-1]; b.Line > fault.Line || b.Line == fault.Line && b.Column > fault.Column {
				return fmt.Errorf("fault %d stands before the one that it follows", i)
			}
		}
	}
	if !strings.Contains(text, fuzzSecret) && strings.Contains(report.String(), fuzzSecret) {
		return fmt.Errorf("the report tells a secret:\n%s", report)
	}
	if p != nil {
		return checkPipeline(p)
	}
	return nil
}

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const broken = "testdata/broken"

// TestBrokenFilesAreRefusedAsWritten validates every file of testdata/broken, by
// subject, with what is installed: the first party and the plugin acme. Beside each
// lies all that is said about it, as file:line:column: field: message (remedy);
// go test -update writes it anew. No file is accepted, and no secret told.
func TestBrokenFilesAreRefusedAsWritten(t *testing.T) {
	said := sayBroken(t)
	files := brokenFiles(t)
	if len(files) < 120 {
		t.Errorf("only %d files", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			got := said[file]
			if !strings.Contains(got, file+":") || strings.Contains(got, file+": ok") {
				t.Errorf("the file was accepted")
			}
			for _, secret := range []string{"planted-word", "planted-token", "planted-password"} {
				if strings.Contains(got, secret) {
					t.Errorf("the secret %s is told:\n%s", secret, got)
				}
			}
			golden := filepath.Join(broken, strings.TrimSuffix(file, ".yaml")+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// brokenFiles are the paths of the corpus, with slashes, below its folder.
func brokenFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(broken + "/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		rel, err := filepath.Rel(broken, file)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = filepath.ToSlash(rel)
	}
	return files
}

// sayBroken returns what one weir validate says about each file of the corpus.
func sayBroken(t *testing.T) map[string]string {
	t.Helper()
	acme, err := exec.LookPath(acmeName)
	if err != nil {
		t.Fatal(err)
	}
	plugins := t.TempDir()
	if err := os.Symlink(acme, filepath.Join(plugins, acmePlugin)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "weir", append([]string{"validate", "--plugin-dir", plugins}, brokenFiles(t)...)...)
	cmd.Dir = broken
	cmd.Env = append(os.Environ(), "WORD=abc", "NUMBER=0", "SECRET=planted-word", "XDG_DATA_HOME="+plugins)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInput || stderr.Len() > 0 {
		t.Fatalf("weir validate: %v\n%s", err, stderr.Bytes())
	}
	here, err := filepath.Abs(broken)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for line := range strings.Lines(strings.ReplaceAll(string(out), here, "$HERE")) {
		file, _, _ := strings.Cut(line, ":")
		said[file] += line
	}
	return said
}

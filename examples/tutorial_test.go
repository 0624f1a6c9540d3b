//go:build unix

package examples_test

import (
	"os"
	"path/filepath"
	"testing"
)

// The operator's tutorial does what it says.
func TestTheTutorial(t *testing.T) {
	t.Parallel()
	if n := doPage(t, "../docs/tutorial.md", t.TempDir(), "letters"); n < 15 {
		t.Errorf("only %d blocks were run", n)
	}
}

// So does that of plugin authors, and its plugin does what it is for.
func TestTheTutorialOfPluginAuthors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(dir, "weir")); err != nil {
		t.Fatal(err)
	}
	if n := doPage(t, "../docs/plugin-authors.md", dir, "failed", "GOPROXY=off", "GOWORK=off", "GOFLAGS=", "MAKEFLAGS=", "MAKELEVEL=0"); n < 7 {
		t.Errorf("only %d blocks were run", n)
	}
	out, err := filepath.Glob(filepath.Join(dir, "*", "out"))
	if err != nil || len(out) != 1 {
		t.Fatalf("folders %q, %v", out, err)
	}
	for file, want := range map[string]string{
		"all.jsonl":    `{"celsius":95.0,"id":1,"temp_f":203}` + "\n" + `{"celsius":20.0,"id":2,"temp_f":68}` + "\n",
		"alarms.jsonl": `{"celsius":95.0,"id":1,"temp_f":203}` + "\n",
		"broken.jsonl": `{"id":3}` + "\n",
	} {
		if got, err := os.ReadFile(filepath.Join(out[0], file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", file, got, err)
		}
	}
}

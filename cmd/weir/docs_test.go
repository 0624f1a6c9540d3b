package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// docs/connectors is what the components say of themselves today.
func TestTheConnectorsPagesAreCurrent(t *testing.T) {
	const kept = "../../docs/connectors"
	dir := t.TempDir()
	made := filepath.Join(dir, "pages")
	cmd := exec.CommandContext(t.Context(), "weir", "plugin", "describe", "weir", "--pages", made)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read := func(dir string) map[string]string {
		t.Helper()
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		pages := map[string]string{}
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			pages[f.Name()] = string(text)
		}
		return pages
	}
	is, want := read(kept), read(made)
	for name, text := range want {
		if is[name] != text {
			t.Errorf("docs/connectors/%s is not current: run make docs", name)
		}
		delete(is, name)
	}
	for name := range is {
		t.Errorf("docs/connectors/%s is of a component that is gone: run make docs", name)
	}
	if len(want) < 8 {
		t.Errorf("only %d pages were made", len(want))
	}
}

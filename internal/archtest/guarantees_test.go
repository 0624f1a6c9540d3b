package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestEveryTestThatADocumentNamesExists keeps docs/guarantees.md honest.
func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	root := filepath.Join("..", "..")
	doc, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	// A row names packages, each followed by its tests.
	named := regexp.MustCompile("`([a-z/]+)`: ((?:Test[A-Za-z0-9]+(?:, )?)+)").FindAllStringSubmatch(string(doc), -1)
	if len(named) < 20 {
		t.Fatalf("found only %d rows that name tests", len(named))
	}
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	for _, row := range named {
		files, err := filepath.Glob(filepath.Join(root, row[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
				have[m[1]] = true
			}
		}
		for _, name := range regexp.MustCompile(`Test[A-Za-z0-9]+`).FindAllString(row[2], -1) {
			if !have[name] {
				t.Errorf("docs/guarantees.md: %s has no %s", row[1], name)
			}
		}
	}
}

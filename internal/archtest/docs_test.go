package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// documents are all Markdown files of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"out", "bin", "testdata"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(file) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		all[file] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	// held is a package and the names of its tests: `host/edge`: TestA, TestB.
	held   = regexp.MustCompile("`([a-z/0-9]+)`: (Test[A-Za-z0-9_/]+(?:, Test[A-Za-z0-9_/]+)*)")
	isTest = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for file, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %s leads nowhere", file, m[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

func TestTestsThatDocumentsNameExist(t *testing.T) {
	known := map[string][]string{} // by package
	tests := func(pkg string) []string {
		if names, ok := known[pkg]; ok {
			return names
		}
		names := []string{}
		files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range isTest.FindAllStringSubmatch(string(text), -1) {
				names = append(names, m[1])
			}
		}
		known[pkg] = names
		return names
	}
	named := 0
	for file, text := range documents(t) {
		for _, m := range held.FindAllStringSubmatch(text, -1) {
			for _, name := range strings.Split(m[2], ", ") {
				named++
				name, sub, _ := strings.Cut(name, "/")
				if !slices.Contains(tests(m[1]), name) {
					t.Errorf("%s: there is no %s in %s", file, name, m[1])
				}
				if sub != "" {
					if _, err := os.Stat(filepath.Join(root, m[1], "testdata", sub+".txtar")); err != nil {
						t.Errorf("%s: %s has no script %s", file, m[1], sub)
					}
				}
			}
		}
	}
	if named < 60 {
		t.Errorf("only %d tests were found: does the page look different now?", named)
	}
}

// Every guarantee has a test beside it.
func TestEveryGuaranteeNamesItsTest(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	table, rows := "", 0
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "| guarantee | held by |"):
			table = "guarantees"
		case !strings.HasPrefix(line, "|"):
			table = ""
		case table == "guarantees" && !strings.HasPrefix(line, "|---"):
			if rows++; !held.MatchString(line) {
				t.Errorf("no test for: %s", line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("only %d guarantees were found", rows)
	}
}

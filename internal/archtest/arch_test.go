package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPackagesDependInOneDirection(t *testing.T) {
	packages, err := Scan("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Check(Rules, packages) {
		t.Error(v)
	}
	// What was read is this module.
	for _, dir := range []string{"sdk", "host/engine", "plugins/expr", "cmd/weir", "examples/plugins/weir-plugin-mask"} {
		i := slices.IndexFunc(packages, func(p Package) bool { return p.Dir == dir })
		if i < 0 || len(packages[i].Imports) == 0 {
			t.Errorf("%s was not read", dir)
		}
	}
}

func TestAWrongImportIsFound(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test     bool
		wrong    bool
	}{
		{from: "sdk", to: "proto/wire"},
		{from: "sdk/internal/task", to: "proto/weir/plugin/v1"},
		{from: "sdk", to: "host/pipeline", wrong: true},
		{from: "sdk", to: "host/pipeline", test: true, wrong: true},
		{from: "sdk/sdktest", to: "checkpoint", wrong: true},
		{from: "plugins/expr", to: "sdk"},
		{from: "plugins/expr", to: "sdk/sdktest", test: true},
		{from: "plugins/expr", to: "plugins/internal/expression"},
		{from: "plugins/expr", to: "plugins/route", wrong: true},
		{from: "plugins/expr", to: "proto/wire", wrong: true},
		{from: "plugins/expr", to: "host/task", wrong: true},
		{from: "plugins/internal/expression", to: "sdk"},
		{from: "plugins/firstparty", to: "plugins/file"},
		{from: "plugins/firstparty", to: "host/process", wrong: true},
		{from: "checkpoint", to: "proto/weir/plugin/v1"},
		{from: "checkpoint", to: "coordination"},
		{from: "checkpoint", to: "coordination/embedded", wrong: true},
		{from: "checkpoint", to: "coordination/embedded", test: true},
		{from: "checkpoint/storage", to: "host/engine", wrong: true},
		{from: "checkpoint", to: "sdk", wrong: true},
		{from: "coordination/embedded", to: "coordination"},
		{from: "coordination/embedded", to: "checkpoint", wrong: true},
		{from: "coordination", to: "plugins/file", wrong: true},
		{from: "host/engine", to: "checkpoint/storage"},
		{from: "host/engine", to: "coordination"},
		{from: "host/engine", to: "coordination/embedded", wrong: true},
		{from: "host/engine", to: "coordination/embedded", test: true},
		{from: "host/engine", to: "host/local", wrong: true},
		{from: "host/local", to: "coordination/embedded"},
		{from: "host/local", to: "plugins/file", wrong: true},
		{from: "host/task", to: "plugins/firstparty", wrong: true},
		{from: "host/task", to: "plugins/firstparty", test: true, wrong: true},
		{from: "host/catalog", to: "sdk", wrong: true},
		{from: "proto/weir/plugin/v1", to: "proto/wire", wrong: true},
		{from: "proto/wire", to: "proto/weir/plugin/v1"},
		{from: "proto/wire", to: "sdk", wrong: true},
		{from: "cmd/weir", to: "plugins/firstparty"},
		{from: "elsewhere", to: "sdk", wrong: true},
	} {
		p := Package{Dir: c.from}
		if c.test {
			p.TestImports = []string{c.to}
		} else {
			p.Imports = []string{c.to}
		}
		if found := Check(Rules, []Package{p}); (len(found) > 0) != c.wrong {
			t.Errorf("%s importing %s (test %v): found %v", c.from, c.to, c.test, found)
		}
	}
}

func TestAModuleOfItsOwnKnowsTheSDKAlone(t *testing.T) {
	p := Package{Dir: "examples/plugins/weir-plugin-x", Nested: true, Imports: []string{"sdk", "sdk/sdktest"}}
	if found := Check(Rules, []Package{p}); found != nil {
		t.Errorf("found %v", found)
	}
	p.Imports = append(p.Imports, "proto/wire")
	if found := Check(Rules, []Package{p}); len(found) != 1 || found[0].Import != "proto/wire" {
		t.Errorf("found %v", found)
	}
}

// The whole way, from a file on disk: a build tag hides nothing, testdata does not
// count.
func TestImportsAreReadFromFiles(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module "+Module)
	write("sdk/sdk.go", "package sdk\nimport \"fmt\"\nvar _ = fmt.Sprint()")
	write("sdk/sdk_plan9.go", "//go:build plan9 && never\n\npackage sdk\nimport _ \""+Module+"/host/engine\"")
	write("sdk/sdk_test.go", "package sdk_test\nimport h \""+Module+"/host/task\"\nvar _ = h.X")
	write("sdk/testdata/x/x.go", "package x\nimport _ \""+Module+"/host/edge\"")
	write("examples/plugins/weir-plugin-y/go.mod", "module y")
	write("examples/plugins/weir-plugin-y/main.go", "package main\nimport _ \""+Module+"/proto/wire\"")
	packages, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range Check(Rules, packages) {
		who, _, _ := strings.Cut(v.String(), ":")
		got = append(got, who)
	}
	want := []string{
		"examples/plugins/weir-plugin-y imports proto/wire",
		"sdk imports host/engine",
		"sdk (its tests) imports host/task",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

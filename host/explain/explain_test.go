package explain_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/explain"
)

var update = flag.Bool("update", false, "write docs/errors.md")

const root = "../.."

// Every code in the source is explained, and nothing else is.
func TestEveryCodeIsExplained(t *testing.T) {
	used := codes(t)
	for code, at := range used {
		if _, ok := explain.Find(code); !ok {
			t.Errorf("%s: code %q is not explained", at, code)
		}
	}
	seen := map[string]bool{}
	for _, e := range explain.All() {
		switch {
		case used[e.Code] == "":
			t.Errorf("code %q is explained, and no constant Code... has it", e.Code)
		case seen[e.Code]:
			t.Errorf("code %q is explained twice", e.Code)
		case e.Title == "" || !strings.HasSuffix(e.Meaning, ".") || !strings.HasSuffix(e.Remedy, "."):
			t.Errorf("code %q: title, meaning and remedy are whole sentences", e.Code)
		}
		seen[e.Code] = true
	}
	if len(used) < 60 {
		t.Errorf("only %d codes were found in the source: the search is broken", len(used))
	}
}

var codeForm = regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)

// codes are the values of all constants Code..., with their places.
func codes(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if !strings.HasPrefix(name.Name, "Code") || i >= len(spec.Values) {
					continue
				}
				lit, ok := spec.Values[i].(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				if v, err := strconv.Unquote(lit.Value); err == nil && codeForm.MatchString(v) {
					found[v] = fset.Position(lit.Pos()).String()
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestThePageIsCurrent(t *testing.T) {
	page := filepath.Join(root, "docs", "errors.md")
	want := explain.Markdown(explain.All())
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the entries say: go test ./host/explain -update", page)
	}
}

type coded struct{}

func (coded) Error() string     { return "coded" }
func (coded) ErrorCode() string { return "a.code" }

func TestTheCodeOfAnErrorIsFoundInsideOthers(t *testing.T) {
	wrapped := fmt.Errorf("outside: %w", errors.Join(errors.New("plain"), coded{}))
	if got := explain.CodeOf(wrapped); got != "a.code" {
		t.Errorf("got %q", got)
	}
	if got := explain.CodeOf(errors.New("plain")); got != "" {
		t.Errorf("got %q", got)
	}
}

package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Scan reads the imports of every package below root, the module's folder.
func Scan(root string) ([]Package, error) {
	byDir := map[string]*Package{}
	modules := []string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && rel != "." {
				modules = append(modules, rel)
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		imports, err := importsOf(file)
		if err != nil {
			return err
		}
		dir := path.Dir(rel)
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir, Nested: slices.ContainsFunc(modules, func(m string) bool { return within(dir, m) })}
			byDir[dir] = p
		}
		if strings.HasSuffix(rel, "_test.go") {
			p.TestImports = append(p.TestImports, imports...)
		} else {
			p.Imports = append(p.Imports, imports...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []Package
	for _, p := range byDir {
		p.Imports = unique(p.Imports)
		p.TestImports = unique(p.TestImports)
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.Dir, b.Dir) })
	return all, nil
}

// importsOf lists the packages of this module that a file imports.
func importsOf(file string) ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if p == Module {
			out = append(out, ".")
		} else if rel, ok := strings.CutPrefix(p, Module+"/"); ok {
			out = append(out, rel)
		}
	}
	return out, nil
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// Package scaffold makes the module of a new plugin: a small component that works,
// its tests, what the conformance kit needs, and a pipeline that runs it.
//
// The files lie under templates/, those of all kinds in common/. They are under
// test as an author gets them: generated, built, tested and run.
package scaffold

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// SDKModule is the module that a plugin in Go requires.
const SDKModule = "github.com/weirstream/weir"

// Kinds are the kinds of components that there is a scaffold for.
var Kinds = []string{"source", "operator", "sink"}

// Options say what to make.
type Options struct {
	// Name is the plugin's name and its component's.
	Name string
	// Kind is one of Kinds.
	Kind string
	// Keyed makes an operator that remembers by key, with a timer.
	Keyed bool
	// Dir is the folder of the module, made if need be; empty means weir-plugin-NAME.
	Dir string
	// Module is the module's path; empty means example.org/weir-plugin-NAME.
	Module string
	// SDK is a checkout of Weir that replaces the released SDK; empty means none.
	SDK string
	// Version is the released SDK's; it does not count where SDK is set. Empty means
	// that there is none.
	Version string
}

// InputError says that an option is wrong, or that something is in the way. Nothing
// has been written then.
type InputError struct{ message string }

func (e *InputError) Error() string { return e.message }

func wrong(format string, args ...any) error {
	return &InputError{fmt.Sprintf(format, args...)}
}

// ModulesError says that the files are there and that the modules that they need
// are not.
type ModulesError struct {
	Dir string
	Err error
}

// Error says what to do.
func (e *ModulesError) Error() string {
	return fmt.Sprintf("%s is written, but its modules are not complete: run go mod tidy in it when they can be had: %v", e.Dir, e.Err)
}

// Unwrap returns Err.
func (e *ModulesError) Unwrap() error { return e.Err }

// Result is what was made.
type Result struct {
	Dir string
	// Files are the names of all files, relative to Dir, sorted.
	Files []string
}

//go:embed templates
var templates embed.FS

// New makes a module. No file is ever overwritten: it writes nothing where one of
// its files is there already. ctx bounds the go command, which finds the modules:
// in the module cache if it can. The error is an *[InputError] where an option is
// wrong, and a *[ModulesError] where the files are there and the modules are not.
func New(ctx context.Context, o Options) (Result, error) {
	if err := o.complete(); err != nil {
		return Result{}, err
	}
	files, err := o.render()
	if err != nil {
		return Result{}, err
	}
	var sums []byte
	if o.SDK != "" {
		sums, err = os.ReadFile(filepath.Join(o.SDK, "go.sum"))
		if err != nil {
			return Result{}, wrong("--sdk: %v", err)
		}
		// All of the SDK's, from which the go command keeps what the plugin needs.
		files["go.sum"] = sums
	}
	if err := write(o.Dir, files); err != nil {
		return Result{}, err
	}
	if err := resolve(ctx, o.Dir, sums); err != nil {
		return Result{}, &ModulesError{o.Dir, err}
	}
	r := Result{Dir: o.Dir}
	for name := range files {
		r.Files = append(r.Files, name)
	}
	slices.Sort(r.Files)
	return r, nil
}

// A component's name has no hyphen at its end and none beside another.
var (
	namePattern   = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	modulePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._~-]*(/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*)*$`)
)

const maxName = 64

// complete checks the options and fills in what is left out.
func (o *Options) complete() error {
	switch {
	case !namePattern.MatchString(o.Name) || len(o.Name) > maxName:
		return wrong("%q is no name for a plugin: up to %d lower-case letters and digits, joined by single hyphens, beginning with a letter", o.Name, maxName)
	case o.Name == "weir":
		return wrong("%q is the plugin that comes with weir: choose another name", o.Name)
	case o.Kind == "":
		return wrong("--kind says what to make: %s", strings.Join(Kinds, ", "))
	case !slices.Contains(Kinds, o.Kind):
		return wrong("--kind: %q is none of %s", o.Kind, strings.Join(Kinds, ", "))
	case o.Keyed && o.Kind != "operator":
		return wrong("--keyed goes with --kind operator: a %s keeps no state by key", o.Kind)
	}
	o.Dir = cmp.Or(o.Dir, "weir-plugin-"+o.Name)
	o.Module = cmp.Or(o.Module, "example.org/weir-plugin-"+o.Name)
	if !modulePattern.MatchString(o.Module) {
		return wrong("--module: %q is no path of a Go module, such as example.org/weir-plugin-%s", o.Module, o.Name)
	}
	if o.SDK == "" {
		if o.Version == "" {
			return wrong("this weir was not built from a release, so that no released SDK belongs to it: name a checkout of Weir by --sdk DIR")
		}
		return nil
	}
	sdk, err := filepath.Abs(o.SDK)
	if err != nil {
		return err
	}
	o.SDK = sdk
	mod, err := os.ReadFile(filepath.Join(sdk, "go.mod"))
	if err != nil {
		return wrong("--sdk: %s is no checkout of Weir: %v", sdk, err)
	}
	if first, _, _ := strings.Cut(string(mod), "\n"); strings.TrimSpace(first) != "module "+SDKModule {
		return wrong("--sdk: %s is no checkout of Weir: its go.mod begins with %q", sdk, first)
	}
	return nil
}

// data is what templates know.
type data struct {
	Options
	Binary string
	Go     string // language version
}

// render returns the files by name.
func (o *Options) render() (map[string][]byte, error) {
	d := data{Options: *o, Binary: "weir-plugin-" + o.Name, Go: goVersion}
	if d.Version = cmp.Or(d.Version, "v0.0.0"); d.SDK != "" {
		d.Version = "v0.0.0"
	}
	files := map[string][]byte{}
	own := o.Kind
	if o.Keyed {
		own = "keyed"
	}
	for _, dir := range []string{"common", own} {
		root := path.Join("templates", dir)
		err := fs.WalkDir(templates, root, func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := templates.ReadFile(file)
			if err != nil {
				return err
			}
			t, err := template.New(file).Delims("<%", "%>").Option("missingkey=error").Parse(string(text))
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := t.Execute(&b, d); err != nil {
				return err
			}
			name := strings.TrimSuffix(strings.TrimPrefix(file, root+"/"), ".tmpl")
			if name == "gitignore" {
				name = "." + name // go:embed leaves such files out
			}
			content := b.Bytes()
			if path.Ext(name) == ".go" {
				// A name's length moves what is aligned.
				if content, err = format.Source(content); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			files[name] = content
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// write writes all files, or none where one of them is there.
func write(dir string, files map[string][]byte) error {
	var taken []string
	for name := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Lstat(file); err == nil {
			taken = append(taken, file)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return wrong("%v", err) // a file where a folder must be, say
		}
	}
	if len(taken) > 0 {
		slices.Sort(taken)
		return wrong("nothing is overwritten, and there is %s: choose another --dir, or move what is there away", strings.Join(taken, ", "))
	}
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return wrong("%v", err)
		}
		if err := create(file, content); err != nil {
			return err
		}
	}
	return nil
}

func create(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Package lock pins the plugins of the pipelines in a folder: the file weir.lock
// beside them names each plugin's version and, for each platform, the checksum of
// its executable. Where the file exists, a plugin that is not in it, or has other
// content, is not started.
package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Name is the file's name.
const Name = "weir.lock"

// version is that of the file's form.
const version = 1

// File is what a weir.lock says.
type File struct {
	// Plugins by name, without the one that comes with weir.
	Plugins map[string]Plugin
}

// Plugin is one pinned plugin.
type Plugin struct {
	Version string `yaml:"version"`
	// SHA256 is by platform, in lower-case hex; see [Platform].
	SHA256 map[string]string `yaml:"sha256"`
}

// Platform is what this process runs on: "linux/amd64".
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Read reads the lock of a folder; nil where there is none.
func Read(dir string) (*File, error) {
	path := filepath.Join(dir, Name)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	var raw struct {
		Version int               `yaml:"version"`
		Plugins map[string]Plugin `yaml:"plugins"`
	}
	if err := yaml.UnmarshalWithOptions(data, &raw, yaml.Strict()); err != nil {
		return nil, &Error{Path: path, Err: errors.New(yaml.FormatError(err, false, false))}
	}
	if raw.Version != version {
		return nil, &Error{Path: path, Err: fmt.Errorf("is of version %d, this weir knows version %d", raw.Version, version)}
	}
	for name, p := range raw.Plugins {
		for platform, sum := range p.SHA256 {
			if !hexSum.MatchString(sum) {
				return nil, &Error{Path: path, Err: fmt.Errorf("plugins.%s.sha256.%s: must be 64 hexadecimal digits in lower case, in quotes", name, platform)}
			}
		}
	}
	return &File{Plugins: raw.Plugins}, nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Sum returns the checksum that a plugin's file must have on this platform. It
// fails with an *[Error] where the lock has none.
func (f *File) Sum(dir, name string) (string, error) {
	p, ok := f.Plugins[name]
	if !ok {
		return "", &Error{Path: filepath.Join(dir, Name), Err: fmt.Errorf("plugin %s is not in it: `weir plugin lock FILE` adds it", name)}
	}
	sum, ok := p.SHA256[Platform()]
	if !ok {
		return "", &Error{Path: filepath.Join(dir, Name), Err: fmt.Errorf(
			"plugin %s is pinned for %s only, and this is %s: `weir plugin lock FILE` adds it",
			name, strings.Join(platforms(p), ", "), Platform())}
	}
	return sum, nil
}

func platforms(p Plugin) []string {
	return slices.Sorted(maps.Keys(p.SHA256))
}

// Pin notes a plugin's version and checksum on a platform. Sums of other platforms
// stay as long as the version does: they are of another file otherwise.
func (f *File) Pin(name, pluginVersion, platform, sum string) {
	if f.Plugins == nil {
		f.Plugins = map[string]Plugin{}
	}
	p := f.Plugins[name]
	if p.Version != pluginVersion || p.SHA256 == nil {
		p = Plugin{Version: pluginVersion, SHA256: map[string]string{}}
	}
	p.SHA256[platform] = sum
	f.Plugins[name] = p
}

// Write replaces the lock of a folder.
func (f *File) Write(dir string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by `weir plugin lock`. Keep it with the pipeline file.\nversion: %d\nplugins:", version)
	if len(f.Plugins) == 0 {
		b.WriteString(" {}")
	}
	// Always in quotes: a version or a sum of digits alone is no number.
	for _, name := range slices.Sorted(maps.Keys(f.Plugins)) {
		p := f.Plugins[name]
		fmt.Fprintf(&b, "\n  %s:\n    version: %q\n    sha256:", name, p.Version)
		for _, platform := range platforms(p) {
			fmt.Fprintf(&b, "\n      %s: %q", platform, p.SHA256[platform])
		}
	}
	b.WriteString("\n")
	path := filepath.Join(dir, Name)
	temp, err := os.CreateTemp(dir, "."+Name+"-*")
	if err != nil {
		return &Error{Path: path, Err: err}
	}
	_, err = temp.WriteString(b.String())
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return &Error{Path: path, Err: errors.Join(err, os.Remove(temp.Name()))}
	}
	return nil
}

// Error says what is wrong with a lock.
type Error struct {
	Path string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeLock is the stable code of an Error.
const CodeLock = "process.lock"

// ErrorCode implements explain.Coded.
func (e *Error) ErrorCode() string { return CodeLock }

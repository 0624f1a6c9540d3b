package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirstream/weir/host/lock"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
)

// Prefix begins the file name of every plugin on the plugin path.
const Prefix = "weir-plugin-"

// EnvPath is the variable with the first folders of the plugin path.
const EnvPath = "WEIR_PLUGIN_PATH"

// DefaultPath is the plugin path for a pipeline file in dir. Folders that do not
// exist are among it.
func DefaultPath(dir string) []string {
	var path []string
	for _, d := range filepath.SplitList(os.Getenv(EnvPath)) {
		if d != "" {
			path = append(path, d)
		}
	}
	path = append(path, filepath.Join(dir, "plugins"), filepath.Join(dir, "bin"),
		filepath.Join(xdg.DataHome, "weir", "plugins"))
	if self, err := os.Executable(); err == nil {
		path = append(path, filepath.Dir(self))
	}
	return path
}

// Command returns how the plugin is started, without starting it. The error wraps
// [pipeline.ErrUnknownPlugin] where there is no such plugin.
func (c *Catalog) Command(p pipeline.Plugin) (process.Command, error) {
	cmd := process.Command{Name: p.Name, Dir: c.dir(p)}
	switch {
	case p.Path != "":
		cmd.Args = []string{p.Path}
	case len(p.Command) > 0:
		cmd.Args = p.Command
	case p.Name == pipeline.FirstParty:
		cmd.Args, cmd.Env = c.config.BuiltIn.Args, maps.Clone(c.config.BuiltIn.Env)
		cmd.Checksums = c.config.BuiltIn.Checksums
	case c.config.Companions[p.Name].Args != nil:
		cmd.Args = c.config.Companions[p.Name].Args
	default:
		path := c.path(cmd.Dir)
		all := find(path)
		i := slices.IndexFunc(all, func(f found) bool { return f.name == p.Name })
		if i < 0 {
			return process.Command{}, c.unknown(p.Name, path, all)
		}
		cmd.Args = []string{all[i].path}
	}
	for _, kv := range p.Env {
		name, value, _ := strings.Cut(kv, "=")
		if cmd.Env == nil {
			cmd.Env = make(map[string]string)
		}
		cmd.Env[name] = value
	}
	sums := []string{p.SHA256}
	if _, ours := c.config.Companions[p.Name]; p.Name != pipeline.FirstParty && !ours && !c.config.Unlocked {
		pinned, err := lock.Read(cmd.Dir)
		if err != nil {
			return process.Command{}, err
		}
		if pinned != nil {
			sum, err := pinned.Sum(cmd.Dir, p.Name)
			if err != nil {
				return process.Command{}, err
			}
			sums = append(sums, sum)
		}
	}
	for _, sum := range sums {
		if sum != "" {
			cmd.Checksums = append(slices.Clone(cmd.Checksums), process.Checksum{Path: checked(p, cmd.Dir), SHA256: sum})
		}
	}
	return cmd, nil
}

// Checked is the file of a plugin whose checksum counts: its program, or the script
// that a command of several words names right after an interpreter.
func (c *Catalog) Checked(p pipeline.Plugin) (string, error) {
	cmd, err := c.Command(p)
	if err != nil {
		return "", err
	}
	if path := checked(p, cmd.Dir); path != "" {
		return path, nil
	}
	return cmd.Program()
}

// checked is that file where it is not the program.
func checked(p pipeline.Plugin, dir string) string {
	if p.Path != "" || len(p.Command) < 2 {
		return ""
	}
	script := p.Command[1]
	if strings.HasPrefix(script, "-") {
		return ""
	}
	if !filepath.IsAbs(script) {
		script = filepath.Join(dir, script)
	}
	if info, err := os.Stat(script); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return script
}

// Installed lists the names of the plugins that need no declaration, from the
// plugin path of Config.Dir, without starting them.
func (c *Catalog) Installed(context.Context) []string {
	var names []string
	for _, f := range find(c.path(c.config.Dir)) {
		if f.why == "" {
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	return names
}

// dir is the folder in which a plugin's process works.
func (c *Catalog) dir(p pipeline.Plugin) string {
	if p.Dir != "" {
		return p.Dir
	}
	return c.config.Dir
}

func (c *Catalog) path(dir string) []string {
	if c.config.Path != nil {
		return c.config.Path
	}
	return DefaultPath(dir)
}

func (c *Catalog) log() *slog.Logger {
	if c.config.Process.Log != nil {
		return c.config.Process.Log
	}
	return slog.New(slog.DiscardHandler)
}

// found is a file on the plugin path that has a plugin's name.
type found struct {
	name, path string
	why        string // it is not used; empty where it is
}

// find lists what lies on the path, in its order. Of one name the first is used,
// also where it turns out to be broken: what is run must not depend on that.
func find(path []string) []found {
	var all []found
	first := make(map[string]string)
	seen := make(map[string]bool)
	for _, dir := range path {
		abs, err := filepath.Abs(dir)
		if err != nil || seen[abs] {
			continue
		}
		seen[abs] = true
		files, err := filepath.Glob(filepath.Join(escape(abs), Prefix+"*"))
		if err != nil {
			continue
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err == nil && info.IsDir() {
				continue // the source of a plugin, say
			}
			name := strings.TrimPrefix(filepath.Base(file), Prefix)
			if runtime.GOOS == "windows" {
				name = strings.TrimSuffix(name, ".exe")
			}
			f := found{name: name, path: file}
			switch {
			case !validName(name):
				f.why = fmt.Sprintf("%q is no name for a plugin: lower-case letters, digits and hyphens, beginning with a letter", name)
			case name == pipeline.FirstParty:
				f.why = fmt.Sprintf("%q is the plugin that comes with weir", name)
			case first[name] != "":
				f.why = fmt.Sprintf("another of this name comes first on the plugin path: %s", first[name])
			default:
				first[name] = file
			}
			all = append(all, f)
		}
	}
	return all
}

// escape keeps the pattern characters of a folder's name from being any.
func escape(dir string) string {
	if runtime.GOOS == "windows" {
		return dir // no pattern can be escaped there
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func validName(name string) bool {
	for i, r := range name {
		if !(r >= 'a' && r <= 'z' || i > 0 && (r >= '0' && r <= '9' || r == '-')) {
			return false
		}
	}
	return name != ""
}

// identity tells plugins apart: two declarations of one name in two files may
// differ.
func identity(p pipeline.Plugin) string {
	b, err := json.Marshal(p)
	if err != nil {
		return p.Name // cannot be: it is strings throughout
	}
	return string(b)
}

func alive(p Process) bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// broken says that a call failed because the connection did.
func broken(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.Canceled
}

// grace is how long a process whose connection broke may take to be reaped.
func grace() <-chan time.Time { return time.After(3 * time.Second) }

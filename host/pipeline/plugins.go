package pipeline

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/yamlfile"
	"github.com/weirstream/weir/proto/wire"
)

// declaration is an entry of the file's `plugins`.
type declaration struct {
	at     field
	plugin Plugin
	sound  bool
	used   bool
}

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (l *loader) declarations(section field) {
	l.plugins = make(map[string]*declaration)
	for _, f := range l.entries(section) {
		d := &declaration{at: f, plugin: Plugin{Name: f.name, Dir: l.opts.BaseDir}}
		before := len(l.faults)
		l.declaration(f, &d.plugin)
		d.sound = len(l.faults) == before
		l.plugins[f.name] = d
	}
}

func (l *loader) declaration(f field, p *Plugin) {
	switch {
	case !pluginName.MatchString(f.name) || len(f.name) > maxName:
		l.faultKey(f, CodeName, "", "a plugin's name has lower-case letters, digits and hyphens, and begins with a letter")
	case f.name == FirstParty:
		l.faultKey(f, CodeName, "its components need no declaration", "%q is the plugin that comes with weir", f.name)
	}
	fs := l.fields(f, "path", "command", "env", "sha256")
	path, command := fs["path"], fs["command"]
	switch {
	case path.present() && command.present():
		l.faultKey(command, CodeExclusive, "", "`path` and `command` exclude each other")
	case path.present():
		optional(path, &p.Path, l.text)
		if p.Path != "" && !filepath.IsAbs(p.Path) {
			p.Path = filepath.Join(l.opts.BaseDir, p.Path)
		}
	case command.present():
		p.Command = l.command(command)
	case !l.missing(f, fs, "path") || !l.missing(f, fs, "command"):
	case f.Kind == yamlfile.Map || f.Kind == yamlfile.Null:
		l.faultKey(f, CodeRequired, "", "needs the plugin's `path` or `command`")
	}
	var secrets []string
	for _, e := range l.entries(fs["env"]) {
		if v, ok := l.variable(e); ok {
			p.Env = append(p.Env, e.name+"="+v)
			if e.Secret {
				secrets = append(secrets, e.name)
			}
		}
	}
	if secrets != nil {
		p.Env = append(p.Env, wire.EnvSecrets+"="+strings.Join(secrets, ","))
	}
	slices.Sort(p.Env)
	if sum := fs["sha256"]; sum.present() {
		if s, ok := l.text(sum); ok {
			p.SHA256 = strings.ToLower(s)
			if !sha256Hex.MatchString(p.SHA256) {
				l.fault(sum, CodeValue, "", "must be 64 hexadecimal digits")
			}
		}
	}
}

func (l *loader) command(f field) []string {
	if f.Kind != yamlfile.List || len(f.Items) == 0 {
		if !f.Failed {
			l.wrongType(f, "a list of the program and its arguments")
		}
		return nil
	}
	var words []string
	for i := range f.Items {
		item := f.item(i)
		if s, ok := l.text(item); ok {
			words = append(words, s)
		}
	}
	if len(words) > 0 && strings.ContainsAny(words[0], "/"+string(filepath.Separator)) && !filepath.IsAbs(words[0]) {
		words[0] = filepath.Join(l.opts.BaseDir, words[0])
	}
	return words
}

// variable reads the value of an environment variable, which may look like a
// number.
func (l *loader) variable(f field) (string, bool) {
	switch {
	case f.Failed:
		return "", false
	case f.name == "" || strings.Contains(f.name, "="):
		l.faultKey(f, CodeName, "", "%q is not the name of an environment variable", f.name)
		return "", false
	case f.Kind == yamlfile.List || f.Kind == yamlfile.Map || f.Kind == yamlfile.Null && !f.Resolved:
		l.wrongType(f, "a string")
		return "", false
	case strings.ContainsRune(f.Text, 0):
		l.fault(f, CodeValue, "", "must not hold a zero byte")
		return "", false
	}
	return f.Text, true
}

// unusedPlugins warns of declarations that no node refers to.
func (l *loader) unusedPlugins() {
	for _, d := range l.plugins {
		if !d.used {
			l.warn(d.at, CodeUnusedPlugin, "", "no node uses this plugin")
		}
	}
}

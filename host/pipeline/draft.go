package pipeline

import (
	"regexp"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// draft is a node on its way: what the file says about it, then what the steps
// of loading find out.
type draft struct {
	name string
	at   field

	kind pluginv1.Kind // unspecified where the file does not say one clearly
	ref  field         // the component's name
	id   string

	config        field
	eventTime     field
	parallelismAt field // absent where the node takes the pipeline's
	parallelism   int
	isolation     Isolation
	stateAt       field // absent where the node takes the default
	onDisk        bool
	failure       *failure // nil where the node takes the pipeline's
	inputAt       field
	inputs        []connection

	// Once the component is found; nil where it is not.
	component *component
	// What the configuration leaves and names; known says that the component has
	// checked it.
	capabilities *pluginv1.Capabilities
	sound        bool // the configuration has no fault, so the capabilities are right
	outputs      []string
	outputsKnown bool
	json         []byte
	secretPaths  []string
	time         *pluginv1.EventTime
	timed        *component // sets the event time behind a component that does not

	in, out    []*link
	unresolved bool     // an input of it could not be connected
	mentioned  bool     // an input that could not be connected seems to mean it
	misspelt   []string // the nodes that a misspelt input names
	portFault  bool     // that it needs ports to be named has been said
	guarantee  Guarantee
}

var nodeFields = []string{"source", "operator", "sink", "input", "config", "parallelism", "isolation", "state", "id", "on_error", "event_time"}

// drafts reads the nodes and what the file says for all of them.
func (l *loader) drafts(file field, fs map[string]field) {
	l.failure = &failure{policy: &pluginv1.FailurePolicy{}}
	if f := fs["on_error"]; f.present() {
		l.failure = l.onError(f)
	}
	l.byName = make(map[string]*draft)
	section := fs["nodes"]
	entries := l.entries(section)
	if l.missing(file, fs, "nodes") {
		l.faultAt(file.pos(), "nodes", CodeNothingToDo, "", "a pipeline needs nodes: at least a source and a sink")
	} else if section.present() && len(entries) == 0 && (section.Kind == yamlfile.Map || section.Kind == yamlfile.Null) {
		l.faultKey(section, CodeNothingToDo, "", "a pipeline needs nodes: at least a source and a sink")
	}
	folded := make(map[string]string)
	for _, f := range entries {
		d := &draft{name: f.name, at: f}
		l.validName(f, f.key, "a node's name", f.name)
		l.draft(d)
		l.nodes = append(l.nodes, d)
		l.byName[d.name] = d
		if other, ok := folded[strings.ToLower(d.id)]; ok {
			l.faultKey(f, CodeDuplicateName, "letter case does not tell names apart: files are named after them",
				"its id %q is that of node %q", d.id, other)
		}
		folded[strings.ToLower(d.id)] = d.name
	}
}

func (l *loader) draft(d *draft) {
	d.id, d.isolation = d.name, l.p.Isolation
	if v := d.at.Value; !v.Failed && v.Kind == yamlfile.String {
		l.fault(d.at, CodeType, "write {source: NAME}, or operator or sink, with what it reads from", "must be a map, not %s", shown(v))
		return
	}
	fs := l.fields(d.at, nodeFields...)
	l.kind(d, fs)
	d.config, d.eventTime, d.inputAt = fs["config"], fs["event_time"], fs["input"]
	if f := fs["id"]; f.present() {
		if s, ok := l.text(f); ok && l.validName(f, f.pos(), "an id", s) {
			d.id = s
		}
	}
	d.parallelism = l.p.Parallelism
	if f := fs["parallelism"]; f.present() {
		if n, ok := l.integer(f, 1, maxTasks); ok {
			d.parallelism, d.parallelismAt = n, f
		}
	}
	if n, ok := l.opts.Parallelism[d.name]; ok {
		d.parallelism = n
	}
	optional(fs["isolation"], &d.isolation, l.isolation)
	if f := fs["state"]; f.present() {
		if s, ok := l.oneOf(f, StateMemory, StateDisk); ok {
			d.stateAt, d.onDisk = f, s == StateDisk
		}
	}
	if f := fs["on_error"]; f.present() {
		d.failure = l.onError(f)
	}
	if d.inputAt.present() {
		if d.kind == pluginv1.Kind_KIND_SOURCE {
			l.faultKey(d.inputAt, CodeInputOnSource, "", "a source has no input")
		} else {
			d.inputs = l.inputs(d.inputAt)
			d.unresolved = len(d.inputs) == 0
		}
	}
	if l.meant[yamlfile.Key(d.at.path, "input")] {
		d.unresolved = true
		for _, e := range l.entries(d.at) {
			if Nearest(e.name, nodeFields) == "input" {
				d.misspelt = append(d.misspelt, words(e.Value)...)
			}
		}
	}
}

// words are the texts in a value.
func words(v *yamlfile.Value) []string {
	list := []string{v.Text}
	for _, item := range v.Items {
		list = append(list, words(item)...)
	}
	for _, e := range v.Entries {
		list = append(list, words(e.Value)...)
	}
	return list
}

// kind finds which of source, operator and sink the node is.
func (l *loader) kind(d *draft, fs map[string]field) {
	var said []field
	for _, k := range []pluginv1.Kind{pluginv1.Kind_KIND_SOURCE, pluginv1.Kind_KIND_OPERATOR, pluginv1.Kind_KIND_SINK} {
		if f := fs[KindName(k)]; f.present() {
			said = append(said, f)
			d.kind = k
		}
	}
	switch {
	case len(said) > 1:
		slices.SortFunc(said, func(a, b field) int { return comparePos(a.key, b.key) })
		l.faultKey(said[1], CodeKind, "use exactly one of source, operator and sink", "the node is a %s already", said[0].name)
		d.kind = pluginv1.Kind_KIND_UNSPECIFIED
	case len(said) == 1:
		d.ref = said[0]
	case l.meant[yamlfile.Key(d.at.path, "source")] || l.meant[yamlfile.Key(d.at.path, "operator")] || l.meant[yamlfile.Key(d.at.path, "sink")]:
	case d.at.Kind == yamlfile.Map || d.at.Kind == yamlfile.Null:
		l.faultKey(d.at, CodeKind, "use exactly one of source, operator and sink", "the node names no component")
	}
}

// Names become parts of file names, of ids in other systems and of metrics.
const maxName = 64

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	// Some systems take these for devices, in any folder.
	reservedName = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])$`)
)

func (l *loader) validName(f field, pos yamlfile.Pos, what, name string) bool {
	switch {
	case len(name) > maxName:
		l.faultAt(pos, f.path, CodeName, "", "%s has at most %d characters, this has %d", what, maxName, len(name))
	case !namePattern.MatchString(name):
		l.faultAt(pos, f.path, CodeName, "", "%s has letters, digits, - and _, and begins with a letter or a digit", what)
	case reservedName.MatchString(name):
		l.faultAt(pos, f.path, CodeName, "choose another", "%q is reserved: some systems cannot have a file of that name", name)
	default:
		return true
	}
	return false
}

func comparePos(a, b yamlfile.Pos) int {
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Column - b.Column
}

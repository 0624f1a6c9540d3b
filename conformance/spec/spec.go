// Package spec reads conformance.yaml: how the kit reaches the outside of a
// component, and what it may send there. docs/conformance.md describes the file
// for authors.
package spec

import (
	"time"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// File is a conformance.yaml whose references have been resolved for one case.
type File struct {
	// Name is the file's name as it was given, Dir its folder: plugin and commands
	// run there.
	Name, Dir string
	// Env is set for the plugin on top of the usual.
	Env map[string]string
	// CaseTimeout bounds a case, CommandTimeout a command.
	CaseTimeout, CommandTimeout time.Duration
	Components                  []*Component
}

// Component says how to test one component with one configuration.
type Component struct {
	// Pos is where the component stands in the file, and Path its field.
	Pos  yamlfile.Pos
	Path string

	Kind pluginv1.Kind
	// Name is the component's, Label what tells apart entries of one component;
	// empty where there is no need.
	Name, Label string
	Config      Config
	// Previous is the configuration for the older version; nil means Config.
	Previous *Config

	Setup, Teardown Command
	// Feed puts records where a source reads them; nil where the source makes its
	// own. Read tells what a sink has committed; nil where nothing can.
	Feed, Read *Outside
	// Objects lists everything that a sink has outside, unpublished output too; nil
	// where nothing can.
	Objects Command
	// Input and Expect are an operator's, by port and by output; Input is nil where
	// the kit makes the records.
	Input  map[string][]exchange.Record
	Expect map[string][]exchange.Expected
	// Steps are an operator's input with watermarks in between, and what comes of each
	// step.
	Steps []Step
	// ByClock says that what an operator gives of Input comes by the clock, without an
	// end of the input.
	ByClock bool
	// Forgets says what makes an operator forget a key.
	Forgets Forgets
	// Bad are records that the component must fail.
	Bad []exchange.Record

	// Exclusive says that one process at a time writes to the outside of a sink:
	// another is refused.
	Exclusive bool
	// Varies says that an operator's output is not a function of its input alone.
	Varies bool

	// Parallelism is the number of tasks in cases that want several; 0 is the kit's
	// choice.
	Parallelism int
	Records     Template
	Carries     Carries
}

// Config is a configuration as it stands in the file.
type Config struct {
	Pos   yamlfile.Pos
	Path  string
	Value *yamlfile.Value // nil where there is none
}

// Command is a program and its arguments.
type Command []string

// Outside is how records get to or from where a component has them: by a command,
// or by another component.
type Outside struct {
	Pos  yamlfile.Pos
	Path string

	Command Command
	Format  exchange.Format
	// Timeout bounds the command; 0 means the file's.
	Timeout time.Duration

	// ShowsUncommitted says that a reader also sees output that is not committed,
	// until a restart takes it back.
	ShowsUncommitted bool

	// Component is a reference as pipelines have it: file, acme/pages.
	Component string
	Kind      pluginv1.Kind
	Config    Config
}

// Template says how the kit makes a record. NumberMark stands for the record's
// number. A nil Key is null.
type Template struct {
	Key, Value *string
	// Count is the number of records that a case sends at least; 0 is the kit's
	// choice.
	Count int
	// MaxSize is the largest value that the outside takes, in bytes; 0 means the
	// host's limit.
	MaxSize int64
}

// Carries says what a record keeps on its way through the outside. The zero value
// is a value of text alone.
type Carries struct {
	Key, Time, Headers bool
	// Null: a null value is told apart from an empty one.
	Null bool
	// Empty: there may be a value without bytes.
	Empty bool
	// Binary: values hold any bytes, else UTF-8 text on one line.
	Binary bool
}

// Fields are those of a record that are compared.
func (c Carries) Fields() exchange.Fields {
	return exchange.Fields{Key: c.Key, Value: true, Time: c.Time, Headers: c.Headers}
}

// Vars are what a case's references stand for.
type Vars struct {
	// CaseID is ${CASE_ID}: the case's own name, of lower-case letters, digits and
	// underscores. TMP is ${TMP}: a folder of its own.
	CaseID, TMP string
}

// NumberMark is what ${N} becomes in a template.
const NumberMark = "\x00N\x00"

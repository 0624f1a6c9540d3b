// Package archtest checks in which direction the packages of this module depend on
// each other:
//
//	proto, proto/wire  <-  sdk  <-  plugins
//	proto, proto/wire  <-  host  ->  checkpoint, coordination
//
// It reads the import declarations of every Go file, whatever its build tags and
// its platform, tests included.
package archtest

import "strings"

// Module is the path of the module that is checked.
const Module = "github.com/weirstream/weir"

// A Rule says what the packages below some folder may import of this module.
// Packages outside of it are not its affair.
type Rule struct {
	// Of is the folder, relative to the module; the longest that matches counts.
	Of string
	// May lists the folders that may be imported, with all below them; one that
	// ends in "!" stands for that package alone. Anything allows everything.
	May []string
	// Tests lists what tests may import beside.
	Tests []string
	// Why is said where the rule is broken.
	Why string
}

// Anything in May allows every package of the module.
const Anything = "..."

// Rules are the rules of this module.
var Rules = []Rule{
	{Of: "proto/weir", Why: "the wire contract stands on nothing of ours"},
	{Of: "proto/keygroup", Why: "it stands on nothing of ours"},
	{Of: "proto/snapfile", May: []string{"proto/weir"}, Why: "it knows the wire contract's entries alone"},
	{Of: "proto/policy", May: []string{"proto/weir", "proto/wire"}, Why: "it knows the wire contract and nothing that follows it"},
	{Of: "proto/weir/host", May: []string{"proto/weir"}, Why: "hosts pass on what plugins say"},
	{Of: "proto/wire", May: []string{"proto"}, Why: "the frame codec stands on the wire contract alone"},
	{Of: "sdk", May: []string{"sdk", "proto"}, Why: "an author's import closure holds nothing of the host"},
	{Of: "sdk/format", May: []string{"sdk"}, Tests: []string{"internal/testserver"}, Why: "it lies beside the SDK, for plugins that need it"},
	{
		Of: "plugins", May: []string{"sdk", "plugins/internal"},
		Tests: []string{"internal/testserver"},
		Why:   "a first-party plugin is written as a stranger's would be",
	},
	{
		Of: "plugins/kafka", May: []string{"sdk", "plugins/internal", "plugins/kafka/internal"},
		Tests: []string{"internal/testserver"},
		Why:   "source and sink share what lies below them, and it knows neither",
	},
	{Of: "plugins/testio", May: []string{"sdk", "conformance/exchange"}, Why: "it stands in for sources and sinks as a plugin of anybody's would"},
	{Of: "plugins/firstparty", May: []string{"sdk", "plugins"}, Why: "it serves the first-party components and does nothing else"},
	{
		Of: "checkpoint", May: []string{"checkpoint", "proto/weir", "proto/keygroup", "coordination!"},
		Tests: []string{"coordination", "internal/race"},
		Why:   "checkpoints know the wire contract's entries and the interface of coordination, no host and no plugin",
	},
	{
		Of: "coordination", May: []string{"coordination"},
		Tests: []string{"internal/testserver", "internal/race"},
		Why:   "coordination knows nothing of what it coordinates",
	},
	{
		Of: "host", May: []string{"host", "proto", "checkpoint", "coordination!"},
		Tests: []string{"coordination/embedded", "coordination/coordtest"}, // a store, and the faults that it may have
		Why:   "the host knows plugins by the wire contract alone, and coordination by its interface",
	},
	{Of: "host/pipetest", May: []string{"host", "proto", "conformance/exchange"}, Why: "it rewrites pipelines and compares records; cmd runs them"},
	{
		Of: "host/local", May: []string{"host", "proto", "checkpoint", "coordination"},
		Why: "it chooses the coordination of `weir run`, for cmd",
	},
	{
		Of: "conformance", May: []string{"conformance", "host", "proto", "checkpoint!"},
		Tests: []string{"plugins/firstparty", "internal/testserver"},
		Why:   "the kit knows plugins by the wire contract alone, and stands where a host does",
	},
	{Of: "conformance/mutants", May: []string{"conformance", "host/process", "proto", "sdk"}, Why: "a mutant is a plugin, or stands between one and its host"},
	{Of: "tools", May: []string{"tools"}, Why: "tools are modules of their own"},
	{Of: "cmd", May: []string{Anything}},
	{Of: "bench", May: []string{Anything}},
	{Of: "examples", May: []string{Anything}},
	{Of: "internal", May: []string{Anything}},
}

// nested is the rule for a module within this one: it is a stranger.
var nested = Rule{May: []string{"sdk"}, Why: "a module of its own knows the SDK alone"}

// A Package is a folder with Go files and what they import of this module, as
// folders relative to it.
type Package struct {
	Dir     string
	Nested  bool // it belongs to a module of its own
	Imports []string
	// TestImports are those of its tests alone.
	TestImports []string
}

// A Violation is an import that a rule forbids.
type Violation struct {
	Dir, Import string
	Test        bool
	Why         string
}

func (v Violation) String() string {
	who := v.Dir
	if v.Test {
		who += " (its tests)"
	}
	if v.Import == "" {
		return who + ": " + v.Why
	}
	return who + " imports " + v.Import + ": " + v.Why
}

// Check returns every import that breaks a rule.
func Check(rules []Rule, packages []Package) []Violation {
	var out []Violation
	for _, p := range packages {
		r, ok := nested, true
		if !p.Nested {
			r, ok = ruleOf(rules, p.Dir)
		}
		if !ok {
			out = append(out, Violation{Dir: p.Dir, Why: "no rule says what this folder may import"})
			continue
		}
		for _, to := range p.Imports {
			if !allows(r.May, p.Dir, to) {
				out = append(out, Violation{Dir: p.Dir, Import: to, Why: r.Why})
			}
		}
		for _, to := range p.TestImports {
			if !allows(r.May, p.Dir, to) && !allows(r.Tests, p.Dir, to) {
				out = append(out, Violation{Dir: p.Dir, Import: to, Test: true, Why: r.Why})
			}
		}
		// What chooses an implementation is for those who wire, not for the host.
		if within(p.Dir, "host") && !within(p.Dir, "host/local") {
			for _, to := range p.Imports {
				if within(to, "host/local") {
					out = append(out, Violation{Dir: p.Dir, Import: to, Why: "only cmd chooses an implementation of coordination"})
				}
			}
		}
	}
	return out
}

func ruleOf(rules []Rule, dir string) (best Rule, ok bool) {
	for _, r := range rules {
		if within(dir, r.Of) && len(r.Of) >= len(best.Of) {
			best, ok = r, true
		}
	}
	return best, ok
}

func allows(may []string, from, to string) bool {
	if from == to {
		return true // a package's own tests
	}
	for _, m := range may {
		alone, only := strings.CutSuffix(m, "!")
		if m == Anything || to == alone || !only && within(to, m) {
			return true
		}
	}
	return false
}

// within says whether dir is folder or below it.
func within(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}

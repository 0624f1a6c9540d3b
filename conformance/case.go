package conformance

import (
	"slices"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Case is one demand on a plugin.
type Case struct {
	// ID never changes and is never used again: WC-SNK-003.
	ID string
	// Title says in a few words what holds where the case passes.
	Title string
	// Demands says what is tested, Why what would go wrong in a pipeline without,
	// and Fix where to look when it fails: Markdown, for docs/conformance.md.
	Demands, Why, Fix string
	// Kinds are those of the components that it applies to; empty is any.
	Kinds []pluginv1.Kind
	// Once makes it a case of the plugin as a whole, run once and not for each
	// component.
	Once bool
	// Needs says what of the target is missing for the case to apply, or nothing.
	Needs func(*Target) Missing
	// Unconfigured says that the case needs no entry in conformance.yaml.
	Unconfigured bool

	run func(*T)
}

// Missing is why a case does not apply to a target; empty where it does. It begins
// with "not claimed", "not configured" or "not here".
type Missing string

func notClaimed(what string) Missing    { return Missing("not claimed: " + what) }
func notConfigured(what string) Missing { return Missing("not configured: " + what) }
func notHere(what string) Missing       { return Missing("not here: " + what) }

// missing says why the case does not apply to the target, or nothing.
func (c *Case) missing(t *Target) Missing {
	if t.Entry == nil && !c.Unconfigured && !c.Once {
		return notConfigured("conformance.yaml has no entry for the component")
	}
	if c.Needs != nil {
		return c.Needs(t)
	}
	return ""
}

// of says whether the case is about components of the kind.
func (c *Case) of(k pluginv1.Kind) bool {
	return !c.Once && (len(c.Kinds) == 0 || slices.Contains(c.Kinds, k))
}

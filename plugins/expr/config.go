// Package expr is an operator that filters and changes records by expressions.
package expr

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/sdk"
)

// Config is the operator's configuration. Every expression sees the record as it
// came in.
type Config struct {
	Filter    sdk.Expr            `weir:"filter" doc:"Keeps the record where it is true."`
	Value     sdk.Expr            `weir:"value" doc:"The new value: text as it is, anything else as JSON, nil a tombstone."`
	Set       map[string]sdk.Expr `weir:"set" doc:"Sets fields of the JSON value: path (user.name or /user/name) to expression. Other fields keep their place and their exact text. A tombstone stays one."`
	Unset     []string            `weir:"unset" doc:"Removes fields of the JSON value, by path."`
	Each      sdk.Expr            `weir:"each" doc:"A list: one record leaves for each element, with the element as its value. key, timestamp and headers see it as item."`
	Key       sdk.Expr            `weir:"key" doc:"The new key; nil is null."`
	Timestamp sdk.Expr            `weir:"timestamp" doc:"The new time: milliseconds since the Unix epoch, or a time (date(...)); nil is none."`
	Headers   map[string]sdk.Expr `weir:"headers" doc:"Sets headers: name to expression; nil removes the header."`
}

// Operator returns the component.
func Operator() sdk.Component {
	return sdk.NewOperator("expr", "Filters and changes records by expressions.",
		func(_ context.Context, cfg *Config, _ *sdk.Task) (*operator, error) {
			op, faults := compile(cfg)
			if len(faults) > 0 {
				return nil, sdk.Fatal(faults[0])
			}
			return op, nil
		},
		sdk.PreservesOrder(), sdk.PreservesKey(),
		sdk.Description(`The language is that of expr-lang (https://expr-lang.org). Variables: value and
key (text, or nil), timestamp (milliseconds, or nil), headers (a map), json (the
value read as JSON). A field that is not there is nil.`),
		sdk.Example("Keep server errors and key them by host",
			"filter: json.status >= 500\nkey: json.host\nset: {host: lower(json.host)}\nunset: [ip]\n"))
}

// Capabilities implements [sdk.Claimer].
func (c *Config) Capabilities(caps *sdk.Capabilities) {
	if !c.Key.IsZero() {
		caps.PreservesKey = false
	}
}

// Validate implements [sdk.Validator].
func (c *Config) Validate() []sdk.FieldError {
	_, faults := compile(c)
	edits := len(c.Set) > 0 || len(c.Unset) > 0
	if !c.Value.IsZero() && edits {
		faults = append(faults, sdk.Faultf("value", "cannot stand beside set or unset: value replaces what they edit"))
	}
	if !c.Each.IsZero() && (!c.Value.IsZero() || edits) {
		faults = append(faults, sdk.Faultf("each", "cannot stand beside value, set or unset: its elements are the values"))
	}
	return faults
}

// compile compiles every expression, in a fixed order, and lists all faults.
func compile(c *Config) (*operator, []sdk.FieldError) {
	op := &operator{}
	var faults []sdk.FieldError
	itemKnown := false
	one := func(e sdk.Expr, want string) *expression.Program {
		if e.IsZero() {
			return nil
		}
		p, f := expression.Compile(e, want)
		faults = append(faults, f...)
		if p == nil {
			return nil
		}
		op.uses = op.uses.And(p.Uses())
		if p.Uses().Item && !(itemKnown && !c.Each.IsZero()) {
			faults = append(faults, e.Faultf(0, "item is known beside each alone, in key, timestamp and headers"))
		}
		return p
	}
	op.filter, op.value, op.each = one(c.Filter, "bool"), one(c.Value, ""), one(c.Each, "")
	for _, path := range slices.Sorted(maps.Keys(c.Set)) {
		p, err := expression.ParsePath(path)
		if err != nil {
			faults = append(faults, sdk.Faultf("set."+path, "%v", err))
		}
		op.set = append(op.set, edit{p, one(c.Set[path], "")})
	}
	for i, path := range c.Unset {
		p, err := expression.ParsePath(path)
		if err != nil {
			faults = append(faults, sdk.Faultf(fmt.Sprintf("unset[%d]", i), "%v", err))
		}
		op.unset = append(op.unset, p)
	}
	itemKnown = true
	op.key, op.timestamp = one(c.Key, ""), one(c.Timestamp, "")
	faults = append(faults, steady(c.Key, op.key)...)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		op.headers = append(op.headers, header{name, one(c.Headers[name], "")})
	}
	return op, faults
}

// steady finds what would give a record another key when it comes again: where it
// goes, and what is remembered of it, goes by its key.
func steady(e sdk.Expr, p *expression.Program) (faults []sdk.FieldError) {
	if p == nil {
		return nil
	}
	for _, u := range p.Unsteady() {
		if u.Call == "now()" {
			faults = append(faults, e.Faultf(u.Offset+1, "now() gives a record another key when it comes again after a restart, and so another task and other state: make the key from the record, such as its timestamp"))
			continue
		}
		faults = append(faults, e.Faultf(u.Offset+1, "%s has no fixed order, so that a record could have another key when it comes again after a restart: put sort(...) around it", u.Call))
	}
	return faults
}

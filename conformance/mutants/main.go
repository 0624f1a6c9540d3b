// Command mutants is a plugin that is broken on purpose: it holds a good source, two
// good operators and a good sink, and a name given as its argument puts one fault into
// them. Its tests show that the conformance kit finds each: a kit that passes a broken
// plugin is worth nothing.
//
//	weir plugin test ./mutants --config conformance/mutants/conformance.yaml            the good one
//	weir plugin test ./mutants sink-commits-at-prepare --config ...                     a broken one
//
// The faults of components lie in source.go, operator.go, tally.go and sink.go; those
// of the protocol in wire.go and, of state by key, wire_state.go and wire_files.go, which stand between the host and a good process and change
// what passes. mutants.go lists all of them with the cases that must fail.
package main

import (
	"fmt"
	"os"

	"github.com/weirstream/weir/sdk"
)

// fault is the name of the fault that this process has; empty for none. It is set
// before anything is served and never after.
var fault string

// is says whether this process has the fault.
func is(name string) bool { return fault == name }

func main() { serve(os.Args[1:]) }

// serve serves the plugin with the fault that the arguments name.
func serve(args []string) {
	if len(args) == 1 {
		fault = args[0]
		if find(fault) == nil {
			fmt.Fprintf(os.Stderr, "mutants: there is no fault %q\n", fault)
			os.Exit(2)
		}
	}
	if m := find(fault); m != nil && m.Wire {
		relay()
		return
	}
	components()
}

// components serves the components themselves.
func components() {
	sdk.Serve(sdk.Plugin{Name: "mutant", Version: "1.0.0"}, pagesSource(), markOperator(), rowsSink(), tallyOperator())
}

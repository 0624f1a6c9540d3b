// Package conformance is the kit that tells whether a plugin keeps the contract: a
// black box over the same processes, connection and life cycle that a host uses,
// for plugins in any language.
//
// A [Case] is one demand, with a stable id such as WC-SRC-007: a small function
// beside the text that says what it demands, why, and how to mend a failure. The
// files case_*.go hold them by subject; catalog.go lists the subjects. [Run] runs
// every case that applies to what a manifest claims and a conformance.yaml (package
// spec) gives the means for.
//
// The packages below: spec reads conformance.yaml, exchange the records in it and
// those that commands read and write, rig plays the host, mutants holds plugins
// that are broken on purpose and shows that the kit finds each of them.
package conformance

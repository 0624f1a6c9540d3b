// Package clustertest runs whole clusters: hosts with real plugin processes, of one
// process over an embedded store where what matters is the order of events, and as
// `weir serve` processes over a real ensemble where what matters is that they die.
// Whatever dies, committed output must equal input.
package clustertest

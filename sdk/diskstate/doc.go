// Package diskstate keeps an operator's state by key on the local disk, for state that
// is larger than memory:
//
//	sdk.NewKeyedOperator("count", "Counts by key.", open, sdk.DiskState(diskstate.Pebble()))
//
// The pipeline's file chooses it with `state: disk`; what the operator does, and what
// comes out of it, is the same. It is a package of its own since it brings an LSM
// store, Pebble, into the plugin's binary, which weighs some megabytes.
//
// What is written gathers in memory, in an overlay, a few of which go to Pebble one
// after the other, on a goroutine of their own. At a barrier the overlay at hand is
// laid aside: that is all for which the task stands still. When it has reached
// Pebble, and before anything later does, Pebble links its files into a folder: the
// snapshot. A file that Pebble has written never changes, so that a snapshot refers
// to those which a completed checkpoint holds already. Values that are not small lie in
// files of their own, so that merging keys into order does not write them anew. Timers
// stay in memory.
//
// The folder is scratch: nothing in it is synced to the disk, and after a failure it
// is made anew from the checkpoint.
package diskstate

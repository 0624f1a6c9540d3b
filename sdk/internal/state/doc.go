// Package state keeps what an operator remembers by key: values, lists and maps,
// and timers.
//
// A [Keyed] is the state of one task. It knows the key at hand, and everything
// that is read or written belongs to that key. What it keeps lies in a [Backend] as
// bytes: package sdk turns an author's values into bytes and back, and a back end
// knows nothing of types. The back end of this package is memory: cells on pages,
// with no pointer for the garbage collector to follow. A snapshot shares the pages
// and copies none; a page is copied when it is next written while a snapshot still
// reads it. So the task stands still for as long as it takes to copy a list of
// pages, whatever they hold, and the entries are made beside it.
//
// Everything of a Keyed belongs to the task's loop, save what [Keyed.Capture]
// returns.
package state

// Package aggregate computes aggregates over records: count, sum, avg, min, max,
// first, last, distinct, approx_distinct, collect and quantile, each over an
// expression.
//
// Everything is incremental, can be merged, and depends on the set of records
// alone, not on the order in which they came: sums are exact and rounded once,
// first and last go by the records' times, collect is sorted. So a result is the
// same whatever the interleaving, a restart or the parallelism.
//
// A [Set] is the compiled form of a configuration. A [State] is what it remembers
// of a group of records; it encodes itself, and keeps what may grow without bound
// (the elements of distinct and collect) in a [Bag] of the caller's, element by
// element.
package aggregate

// Package reference turns what components say about themselves into
// documentation: the rows that `weir plugin describe` prints, and Markdown pages,
// of which docs/connectors is made.
//
// It reads manifests and nothing else, so that a third party's plugin gets the
// same pages as those that come with Weir.
package reference

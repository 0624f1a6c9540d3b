// Package faulttest runs whole pipelines in real processes, lets things die at
// every named step of a checkpoint, a commit and a restore, and compares what was
// committed in the end with the input, record by record.
//
// The test binary plays every part. Started again as a host it runs a pipeline
// file as `weir run` does, with a list of faults to commit: at the n-th time that
// the engine takes a step, or after a while, it kills itself or one of its plugins
// or stops one. Started again as a plugin it serves the first-party components, or
// misbehaves.
//
// What is random is drawn from a seed that is logged. These variables change how
// much is done:
//
//	WEIR_SEED           replays a run of the random tests
//	WEIR_FAULT_ROUNDS   how many rounds of random faults; a few by default
package faulttest

// Package pipetest tests pipelines: it runs a pipeline file with the records of a
// test case in place of its sources, and compares what reaches its sinks, or any
// other node's outputs, with what the case expects. Operators are the real ones, in
// processes of their own.
//
// A case is run as an ordinary pipeline (see rewrite.go), so that edges, dead
// letters, watermarks and the end of input are what they are in production.
package pipetest

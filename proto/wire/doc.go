// Package wire is the part of the contract that protobuf does not say in types
// and both sides of a plugin connection share: the go-plugin handshake, the gRPC
// options, a codec that lets frames pass without being unmarshalled, and the
// layout of a batch.
//
// The life of a batch: a [Builder] collects records into columns, Freeze makes a
// [Batch], [Encode] turns it into a [Frame] whose buffers are the columns
// themselves. A host reads a frame's [Header], writes a new one in front of the
// same body ([Frame.Rewrite]) and sends it on. The receiver calls [Pool.Decode],
// which checks every offset once, into memory of its own.
//
// Batches and frames are counted. A Batch is released once by whoever made or
// received it, a Frame is freed or sent once; the memory behind both returns to
// the [Pool] when the last of them has gone. Tests use [NewPoisonedPool], which
// overwrites what is released, and [Pool.Live], which counts what is not.
package wire

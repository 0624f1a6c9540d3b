// Package wire is the part of the contract that protobuf does not say in types
// and both sides of a plugin connection share: the go-plugin handshake, the gRPC
// options, a codec that lets frames pass without being unmarshalled, and the
// layout of a batch.
//
// The life of a batch: a [Builder] collects records into columns, Freeze makes a
// [Batch], [Encode] turns it into a [Frame] whose buffers are the columns
// themselves. A host reads a frame's [Header], writes a new one in front of the
// same body ([Frame.Rewrite]) and sends it on. The receiver calls [Decode],
// which checks every offset once, into memory of its own.
package wire

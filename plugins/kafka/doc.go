// Package kafka holds the source and the sink of Kafka topics, on
// segmentio/kafka-go. Like a stranger's plugin it imports nothing of Weir but the
// SDK, and its components can be served beside others.
//
// # The source
//
// A split is a partition; its position is the next offset, and the epoch of the
// leader before it. A task has one fetcher for all its partitions: for each broker
// a goroutine asks for those that it leads, as long as their queues have room, and
// looks for the new leader where one has moved. A reader takes record batches from
// its queue as they came from the wire and decodes them into the columns: aborted
// transactions and markers are filtered there. Nothing is ever skipped silently: a
// position that is gone is an error, or what out_of_range says, said and counted.
//
// # The sink
//
// A task's loop decides where each record goes (router, sticky) and hands runs of
// batches, which are held and not copied, to partitions. A partition has a goroutine
// while it has records: it encodes what waits into one record batch, sends it to the
// leader, and only then takes the next, so that order is kept and batches grow with
// the load. The backlog bounds what waits, and is what a flush waits for.
//
// With exactly once a task writes transactions, one a checkpoint, each under a name
// that carries the pipeline's uid and epoch and with a producer epoch of its own, so
// that a committable names exactly one transaction (transactions, committer). The
// calls of the protocol before KIP-890 are used, since kafka-go knows no others; they
// are right with brokers of both kinds.
package kafka

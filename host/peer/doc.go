// Package peer carries edges between the hosts of a cluster: what a task's router
// puts into a channel to another host travels there as the frame that the plugin
// has made, over one gRPC connection a pair of hosts and direction, one stream a
// channel. The receiving side takes no more from a stream than its task takes from
// the channel, so that HTTP/2 holds back the one sender and nobody else.
//
//	Router =Channel=> outlet Input =stream=> inlet Channel => Input => plugin
//
// Every stream names its pipeline's uid and epoch, the edge and both tasks, and the
// instance of the host that it means; it is refused where any of them is another.
//
// A host that does not answer a ping for five seconds breaks all streams to it. A
// stream that breaks is a [*ChannelError], which names both hosts.
package peer

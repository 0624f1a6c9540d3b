// Package edge carries records between the tasks of one host: what a task's
// plugin emits goes through its [Router] into [Channel]s, and each receiving
// task's [Input] merges its channels into the one ordered stream that its plugin
// reads.
//
//	plugin =Run=> Router =Channel=> Input =Run=> plugin
//	                     =Channel=> Input =Run=> plugin
//
// A batch stays encoded on the way: only a keyed edge looks inside, at the keys.
//
// What the host itself has to say to a task, such as the barriers that begin at
// an enumerator, comes by a channel that the host opens and pushes into.
//
// # Order
//
// A channel is a queue: what one task sends to another arrives once and in order,
// watermarks and barriers among the batches. Between channels there is no order
// but one: an Input hands out barrier n after everything that came before it on
// each channel, and before everything behind it.
//
// # Memory
//
// A channel owns room for 64 KiB, or for one larger batch alone. What is queued
// beyond that comes out of a budget that the channels of a receiving task share,
// up to a bound for each. So a channel that alignment blocks cannot take what
// another needs to go on, which keeps the graph free of deadlock. Barriers,
// watermarks and everything that is not a batch need no room and never block: a
// barrier that went to one receiver goes to all.
//
// # Who calls what
//
// Each Router, and the sending side of each Channel, belongs to one goroutine:
// the one that receives from the task's plugin. Next of each Input belongs to
// the one that sends to the plugin. Close, Stats and Awaited may be called by
// anyone. No function here starts a goroutine. Frames are counted: whoever is
// given one frees it, sends it, or hands it on, also when an error is returned.
package edge

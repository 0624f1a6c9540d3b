// Package task runs components inside a plugin process: it serves the wire
// contract, and for each task runs one loop that feeds a chain of components,
// answers barriers, snapshots and restores.
//
// It knows nothing of the author's types. Package sdk wraps a typed component
// into a [Component] whose positions, splits, state and committables are JSON.
//
// # Life of a task
//
// Control brings Open, the restored entries and Restored; the components are
// opened, the last of the chain first; Opened is answered; Run attaches. Close,
// the end of either stream, a silent lease or an error ends everything of the
// task at once: the context that components were given is cancelled, they are
// closed, the last report and Closed are sent. An error is told as Failed before
// anything else. A component that does not return within Options.CloseTimeout
// costs the stream an error instead of Closed, and then the host kills the
// process.
//
// # Who owns what
//
// One goroutine, the loop, runs all members of a chain and owns nearly all of a
// task. What others give it goes through bounded queues (received frames, the
// readers' hand-overs) or through mailboxes whose writers never wait (Control).
// What it gives others goes through the sender, which bounds batches alone, and
// the outbox, which bounds logs and reports alone. So data that is blocked never
// blocks control, and a barrier waits for no room.
//
// A Reader has a goroutine of its own and a collector of its own. It hands over
// what one Read returned, records and position together; once the loop has
// treated the records, the position is the task's. A barrier takes that position
// and so needs neither a lock nor the end of a read.
//
// # Records
//
// A call of a component puts records into its collector, where they wait until it
// returns: an error drops them, so that a call can be repeated. Then they go
// through the outlets: to the next member of the chain as they are, to the host
// through the sender. A small batch is sent at once when nothing is in flight and
// joins the one being gathered otherwise; linger bounds its wait. A call that puts
// out very much hands on what is complete while it runs, and can then not be
// repeated.
//
// Records that fail are collected from any goroutine and treated by the node's
// policy when the call returns, before each barrier, and when the loop is woken.
//
// The event_time stage of a member stands where a batch enters an outlet: it sees
// every batch of an output once, in order, with its origin. It sets the times, and
// at the end of a turn of the loop, when all that it has seen has left, it passes
// on the watermark that has come of it.
package task

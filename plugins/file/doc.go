// Package file holds the source and the sink of lines in files. Like a stranger's
// plugin it imports nothing of Weir but the SDK, and its components can be served
// beside others.
//
// # The source
//
// A split is a file, or a range of a large one, which owns the lines that begin in
// it. A followed file is known by its identity and not by its name.
//
// # The sink of a folder
//
// A task writes parts under hidden names, which carry the pipeline's uid, the node,
// the epoch and the task, so that nobody ever writes to another's. At a barrier the
// open part is flushed to a valid prefix (whole lines, whole gzip members or zstd
// frames, on disk), and parts that are complete become committables. The committer
// gives them their published names. What an old process does that wakes late stays
// without effect:
//
//	it writes to a part         the part is of its own epoch; the next epoch has
//	                            copied the prefix that the checkpoint covers
//	it makes a part             nobody looks for one of an old epoch, and the next
//	                            Sweep removes it
//	it commits                  the part has been renamed already, or was removed; a
//	                            rename replaces nothing
//	it sweeps                   only what epochs before its own have left, which
//	                            nobody needs by then
//	it withdraws                only what epochs before its own have published: the
//	                            epoch is part of published names too
//	it tidies up after the end  only what epochs before its own have left; what a
//	                            later one has set aside has its epoch in the name
//
// A restart from a checkpoint below the newest takes back what was published
// after it. A part that such a checkpoint goes on with may be published by then, or
// may be about to be by a process that is paused: it is given a name that no
// committer knows before anything else is done.
//
// Whoever finds a step done by someone else syncs it all the same, for he may have
// died before he could.
//
// # The sink of a single file
//
// One task appends to the file, and the checkpoint says how long it was. A restart
// cuts off the rest; until there is a checkpoint, a hidden note beside the file says
// how long it was before. A lock keeps two processes from writing at once.
package file

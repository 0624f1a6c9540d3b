// Package embedded keeps coordination records in one local bbolt file, for a
// process that needs no cluster.
//
// [Open] opens the file for one process; each [DB.NewStore] is a session on it,
// so that several contenders of one process see each other as they would in a
// cluster. A session never expires by time. It ends with [Store.Close] or the
// process, and the ephemeral records of a process that died are gone when the
// file is opened again.
//
// # Durability
//
// A commit is one bbolt transaction: synced to disk before Commit returns, and
// either wholly there or wholly absent after a crash. Where the write fails
// before bbolt's meta page is touched, as on a full disk, nothing took effect
// and the error is ErrUnavailable. Where the meta page may have reached the
// disk, the error is ErrUnknownOutcome and the database answers nothing more
// until it is opened again, since what a failed sync left behind cannot be known
// from inside.
//
// # Reading beside the owner
//
// bbolt locks the file against any other process. [OpenSnapshot] reads a copy
// instead, see there for why the copy is sound.
//
// # The file
//
// Bucket "records" holds each record under parent + NUL + name, so that the
// children of one record lie side by side, behind a header of creation number,
// version and owning session (three big-endian uint64; owner 0 is persistent).
// The bucket's sequence is the last creation number. Bucket "owned" holds owner
// + path of each ephemeral record. Bucket "format" holds the version of this
// layout.
package embedded

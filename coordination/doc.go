// Package coordination says what the engine needs from a coordination service
// and nothing more: small records with versions, several of them written under
// one condition, watches, records that live as long as a session, and an
// election with a fencing epoch.
//
// Two implementations stand behind it. Package embedded keeps the records in
// one local file for a single process; package zookeeper keeps them in a ZooKeeper
// ensemble for a cluster. Both pass the suite in package coordtest unchanged, and no caller
// can tell which one it has.
//
// # Records
//
// Records form a tree. A path is relative and slash-separated, such as
// "pipelines/access-log/checkpoints/17". Every ancestor of a record is itself a
// record: one that does not exist yet is created in the same commit, persistent,
// empty and at version 0. It stays when its last child goes, and it has to be
// empty of children before it can be deleted. [DeleteTree] removes a whole
// subtree.
//
// A record starts at version 0, and each [Set] adds one. A record that was
// deleted and created again starts at 0 once more, so an equal version alone
// does not prove that nothing happened in between; the pair of [Record.Created]
// and [Record.Version] does. A condition can name the version only. Where a path
// is created and deleted repeatedly, put something unique into it (a checkpoint
// number, an epoch, a random id): then its existence is its identity.
//
// # Writing
//
// [Store.Commit] applies a list of operations in order, all or none. It is the
// only way to write, and its conditions are the only sound way to exclude
// somebody: a read may lag behind what other sessions have committed, so a
// check that is not part of the commit proves nothing.
//
//	err := store.Commit(ctx,
//		leadership.Guard(),
//		coordination.Check("pipelines/access-log/epoch", epochVersion),
//		coordination.Create("pipelines/access-log/checkpoints/17", record),
//		coordination.Delete("pipelines/access-log/pending", pendingVersion),
//	)
//	var conflict *coordination.ConflictError
//	switch {
//	case err == nil:
//	case leadership.Fenced(err):                            // somebody else leads
//	case errors.As(err, &conflict):                         // conflict.Index failed, nothing was written
//	case errors.Is(err, coordination.ErrUnknownOutcome):    // read back and compare
//	}
//
// # Unknown outcomes
//
// When the reply to a commit is lost the commit may have taken effect or not.
// Commit then returns [ErrUnknownOutcome]. The outcome is settled before any
// later call on the same Store answers: a Get that does not show the effect
// proves that it will never come. So read back and compare, or repeat the
// commit where its own conditions forbid that it happens twice.
//
// # Sessions
//
// A [Store] is one session. Ephemeral records belong to it and vanish with it;
// its leaderships end with it. A session that is lost stays lost: nothing ever
// continues under a new one without the caller opening a new Store.
// [SessionState] tells how sure the session still is.
//
// Members of a cluster are ephemeral records below one path, followed with
// [Store.WatchChildren].
//
// # Election
//
// [Campaign] works on any Store. Each contender is an ephemeral record with a
// random name; the one that was created first leads, and its creation number is
// the epoch. This is the usual ZooKeeper recipe, ordered by creation
// transaction (czxid) in place of sequence numbers, so that a lost reply leaves
// no contender that nobody knows of. Since a record's presence is the
// leadership, [Leadership.Guard] fences with a plain [Check].
package coordination

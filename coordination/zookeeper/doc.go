// Package zookeeper keeps coordination records in a ZooKeeper ensemble, for a
// cluster.
//
// [Open] opens one session. The records of a cluster lie below
// /weir/<cluster>, as znodes of the same names, so that zkCli shows them.
// [coordination.Record.Created] is the znode's czxid, and a commit is one multi.
//
// # What the client library does, and what is done here
//
// Requests go through github.com/go-zookeeper/zk, which encodes them, sends them
// in order, and finds another server when it loses one. It also has habits that a
// [coordination.Store] must not have, so these are kept from it:
//
//   - After a session has expired it opens another by itself and goes on. Here a
//     lost session stays lost: from then on the dialer refuses.
//   - It waits ten receive timeouts for the answer to a handshake, and two thirds
//     of the session timeout for any byte. Here a [link] bounds the handshake, and
//     a heartbeat that is not answered for a third of the session timeout costs
//     the connection, so that there is time left to try another server.
//   - It pauses a whole second after each round over all servers. Here the dialer
//     paces itself.
//   - A failed write can block it for ever. Here a write never fails; the read
//     after it does.
//   - What was queued while it was disconnected may be answered before it has set
//     its watches again, which it then sets too late to be told of what that
//     answer already covered. Here requests wait until the watches are set, and
//     every watch looks again.
//
// # Lease
//
// [coordination.SessionState] follows a lease on a clock that also runs while the
// machine sleeps. It is renewed by commits and by a heartbeat, a sync, which goes
// through the ensemble's leader; reads are answered by any server, also by one
// that is cut off from the others, and prove nothing.
//
// # Unknown outcomes
//
// When a connection breaks while a commit is under way, the commit may still be in
// the pipeline of the ensemble's leader. A sync on the next connection comes after
// it there: the leader refuses what the session's former server sends later. So
// calls that follow an unknown outcome wait for that sync first.
package zookeeper

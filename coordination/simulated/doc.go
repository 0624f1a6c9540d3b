// Package simulated is a model of a ZooKeeper ensemble for simulations: it lives in
// memory, and its sessions, delays and losses follow a seed. Run in a bubble of
// testing/synctest its time is virtual, so that minutes of timeouts take
// milliseconds.
//
// An [Ensemble] gives each [Store] what a client of ZooKeeper meets: requests and
// answers that take their time, reads that lag behind other sessions' commits,
// watches that come late, answers that are lost, a lease that ends while the
// client is cut off ([Store.Cut]) or its process does not run ([Store.Pause]), and
// a session that the ensemble ends by its own clock, earlier or later than the
// client knows. It passes the suite of package coordtest.
//
// A test sees every commit as it takes effect by [Options.Committed], and may
// change what is asked before it does by [Options.Ask], to see that a condition is
// needed.
package simulated

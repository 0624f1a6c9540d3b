// Package clustersim simulates hosts that share pipelines through records, in
// virtual time: real elections (coordination.Campaign) and a real checkpoint.Ledger
// over a model of ZooKeeper (coordination/simulated), and hosts that are paused,
// cut off, killed and started again by a seed. What a plugin does is a number that
// grows.
//
// A seed decides delays, losses and faults. Which of two goroutines goes first when
// both can is not the seed's: a schedule that failed is found again by running its
// seed a few times.
//
//	WEIR_SEED=n      plays that schedule alone
//	WEIR_SCHEDULES=n how many are played; `make test` plays 1000
//
// A schedule takes about 16 ms of one processor without the race detector: 10,000 of
// them, WEIR_SCHEDULES=10000, take 80 s on two that are idle.
package clustersim

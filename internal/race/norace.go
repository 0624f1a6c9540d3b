//go:build !race

// Package race tells tests whether the race detector is on, which slows them down.
package race

// Enabled says that the race detector is on.
const Enabled = false

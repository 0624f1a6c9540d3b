//go:build linux && !race

package faulttest

const raceEnabled = false

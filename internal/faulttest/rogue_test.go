//go:build linux

package faulttest

// playRogue is a plugin that misbehaves.
func playRogue(string) {}

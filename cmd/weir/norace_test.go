//go:build !race || !unix

package main

// underTest is main for the scripts.
func underTest() { main() }

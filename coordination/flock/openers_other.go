//go:build !linux

package flock

func openers(string) []int { return nil }

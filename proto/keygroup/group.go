// Package keygroup is what hosts and plugins must agree on about records with a key:
// which task a key belongs to, and how state by key lies in a snapshot.
package keygroup

import "github.com/twmb/murmur3"

// Hash is murmur3 x86 32 bit, seed 0, of the key.
func Hash(key []byte) uint32 { return murmur3.Sum32(key) }

// Of is the group of a key: its hash modulo the number of groups, which is the
// pipeline's max_parallelism and never changes.
func Of(key []byte, groups int) int { return OfHash(Hash(key), groups) }

// OfHash is the group of the keys with that hash.
func OfHash(hash uint32, groups int) int { return int(hash % uint32(groups)) }

// Owner is the task that owns a group.
func Owner(group, groups, parallelism int) int { return group * parallelism / groups }

// Range returns the first and the last group that a task owns. There are at least
// as many groups as tasks, so each owns one.
func Range(task, groups, parallelism int) (first, last int) {
	first = (task*groups + parallelism - 1) / parallelism
	last = ((task+1)*groups+parallelism-1)/parallelism - 1
	return first, last
}

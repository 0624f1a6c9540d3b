package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Suggest is a hint for a name that is none of the known ones: the one that was
// probably meant, or all of them.
func Suggest(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	if best := Nearest(name, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known: " + enumerate(known)
}

// enumerate lists names, not too many of them.
func enumerate(names []string) string {
	const most = 24
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Nearest returns the known name that differs from name by the fewest edits, or ""
// where none is near enough for its length. Case and separators do not count.
func Nearest(name string, known []string) string {
	const longest, most = 32, 500 // beyond them the search would take long and help nobody
	if len(name) > longest {
		return ""
	}
	best, least := "", 1+max(1, len([]rune(name))/3)
	folded := fold(name)
	for _, k := range slices.Sorted(slices.Values(known[:min(len(known), most)])) {
		if len(k) > longest {
			continue
		}
		if d := distance(folded, fold(k)); d < least && d < len([]rune(k)) {
			best, least = k, d
		}
	}
	return best
}

// fold makes names alike that differ in case and separators only.
func fold(s string) []rune {
	return []rune(strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(strings.ToLower(s)))
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// (the optimal string alignment distance).
func distance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

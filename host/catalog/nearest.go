package catalog

import "slices"

// nearest returns the candidate that a misspelt name most likely meant: the one
// with the fewest single-letter edits, if these are no more than a third of its
// length. Empty where there is none.
func nearest(name string, candidates []string) string {
	best, least := "", 0
	slices.Sort(candidates)
	for _, c := range candidates {
		d := edits(name, c)
		if d <= max(1, len(c)/3) && d < len(c) && (best == "" || d < least) {
			best, least = c, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

package main

import "strings"

// nearest returns the name that is most like got. A name that contains got whole counts as one slip
// away, so that --fsync finds --fsync-mode; the earlier of two equally near names wins.
func nearest(got string, names []string) string {
	best, bestDistance := "", 0
	for _, name := range names {
		d := editDistance(got, name)
		if len(got) > 2 && strings.Contains(name, got) {
			d = min(d, 1)
		}
		if best == "" || d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance between two names: the number of single-byte inserts,
// deletes and replacements that turn one into the other. Letter case and the kind of word separator
// cost nothing, so that snake_case spellings find their flag.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if foldByte(a[i]) == foldByte(b[j]) {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// foldByte maps a byte of a name to the form in which names are compared.
func foldByte(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_' || c == '.':
		return '-'
	default:
		return c
	}
}

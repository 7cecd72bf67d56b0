package batch

import "strings"

const (
	// maxSlips is how many slips of the keyboard a name may be away from one that is known.
	maxSlips = 2
	// slipBytes is how many bytes of a name excuse one slip: two in "ts" would leave nothing.
	slipBytes = 2
	// maxNameBytes is longer than any name that a slip could have made.
	maxNameBytes = 40
)

// nearestHeader returns the control header that an unknown one, which begins with
// controlPrefix, was most likely meant to be, or "". Only what follows the prefix is
// compared; the beginning of a known name (chronos-schedule-expire) is one slip away.
func nearestHeader(name string) string {
	got := strings.TrimPrefix(name, controlPrefix)
	if got == "" || len(got) > maxNameBytes {
		return ""
	}
	best, bestSlips := "", maxSlips+1
	for _, header := range controlHeaders {
		known := strings.TrimPrefix(strings.TrimPrefix(header, controlPrefix), "chronos-")
		slips := slipsBetween(got, known)
		if len(got) > slipBytes && strings.HasPrefix(known, got) {
			slips = min(slips, 1)
		}
		if slips < bestSlips && slips <= (len(known)+1)/slipBytes {
			best, bestSlips = header, slips
		}
	}
	return best
}

// slipsBetween counts the single-byte inserts, deletes and replacements that turn one name
// into the other. Upper and lower case are the same here, and so are the separators that
// people choose.
func slipsBetween(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := before
			if foldByte(a[i]) != foldByte(b[j]) {
				replace++
			}
			before, row[j+1] = row[j+1], min(replace, row[j]+1, row[j+1]+1)
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

package recur

import "strconv"

// maxShownBytes bounds what a refusal repeats of a client's bytes.
const maxShownBytes = 64

// Error is the refusal of a text by Parse. It is meant for the person who wrote the text: it says
// what to write instead, in printable characters.
type Error struct {
	// Zone says that the zone's name is at fault, else the cron is.
	Zone bool
	// Reason is a sentence without a subject but the text itself: `"x" has one field; write ...`.
	Reason string
}

// Error returns what is at fault and the sentence.
func (e *Error) Error() string {
	if e.Zone {
		return "time zone " + e.Reason
	}
	return "cron " + e.Reason
}

// quoted returns a client's text in quotes, bounded.
func quoted(s string) string {
	if len(s) <= maxShownBytes {
		return strconv.QuoteToASCII(s)
	}
	return strconv.QuoteToASCII(s[:maxShownBytes]) + "..."
}

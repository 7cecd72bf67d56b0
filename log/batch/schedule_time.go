package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

const (
	// minPlausibleMs is 26 April 1970. Any number below it is taken for a mistake:
	// Unix seconds have ten digits until the year 2286, and an unset time is 0.
	minPlausibleMs = 10_000_000_000
	// maxPlausibleMs is the year 33658. Unix microseconds are above it since 2001.
	maxPlausibleMs = 1_000_000_000_000_000
	// maxDecimalDigits keeps a decimal within int64.
	maxDecimalDigits = 18
	// bigEndianBytes is the size of a binary time.
	bigEndianBytes = 8

	wantTime = "milliseconds (like 1767225600000), RFC 3339 with a zone " +
		"(like 2026-01-01T00:00:00Z), or 8 bytes big-endian"
)

// parseDue reads a point in time: decimal Unix milliseconds, RFC 3339 with a zone, or 8
// bytes big-endian milliseconds. reason is empty, or a sentence for the refusal. A
// fraction of a millisecond rounds up.
//
// There is no guessing between the forms: all digits is decimal (so 8 digits are, and
// are refused as a day in 1970); 8 bytes that are not all printable are big-endian (a
// binary time before the year 10889 begins with two zero bytes, which no text does);
// everything else must be RFC 3339.
func parseDue(v []byte) (due UnixMs, reason string) {
	switch {
	case len(v) == 0:
		return 0, "has no value; write " + wantTime
	case allDigits(v):
		return parseDecimalTime(v)
	case len(v) == bigEndianBytes && !isPrintable(v):
		ms := int64(binary.BigEndian.Uint64(v))
		if isPlausible(ms) {
			return UnixMs(ms), ""
		}
		return 0, implausible(ms, fmt.Sprintf("8 bytes big-endian, read as %d,", ms))
	default:
		return parseRFC3339(v)
	}
}

// parseEnd reads chronos-schedule-expire-ts and -until, for which a duration has no header to
// which it belongs.
func parseEnd(v []byte) (UnixMs, string) {
	end, reason := parseDue(v)
	if reason == "" || len(v) > maxDelayBytes || allDigits(v) {
		return end, reason
	}
	if _, ok := durationOf(string(v)); ok {
		reason = quoted(v) + " is a duration, and this is a point in time; write " + wantTime
	}
	return 0, reason
}

func parseDecimalTime(v []byte) (UnixMs, string) {
	digits := bytes.TrimLeft(v, "0")
	if len(digits) > maxDecimalDigits {
		return 0, quoted(v) + tooFine(len(digits) == 19)
	}
	if ms := decimal(digits); !isPlausible(ms) {
		return 0, implausible(ms, quoted(v))
	}
	return UnixMs(decimal(digits)), ""
}

func isPlausible(ms int64) bool { return ms >= minPlausibleMs && ms < maxPlausibleMs }

// implausible says why ms cannot have been meant as Unix milliseconds.
func implausible(ms int64, shown string) string {
	switch {
	case ms < 0:
		return shown + " is negative; write " + wantTime
	case ms >= minPlausibleMs/10 && ms < minPlausibleMs:
		return fmt.Sprintf("%s looks like Unix seconds; write milliseconds (%d000), "+
			"RFC 3339 with a zone, or 8 bytes big-endian", shown, ms)
	case ms < minPlausibleMs:
		return shown + " would be a time in early 1970 and is not plausible; write " + wantTime
	default:
		return shown + tooFine(ms >= 1000*maxPlausibleMs)
	}
}

// tooFine ends the sentence for a number that is too large.
func tooFine(nanos bool) string {
	unit := "microseconds"
	if nanos {
		unit = "nanoseconds"
	}
	return " is too large, as if it were Unix " + unit + "; write " + wantTime
}

// parseRFC3339 reads a time with a zone.
func parseRFC3339(v []byte) (UnixMs, string) {
	t, ok := rfc3339(v)
	if !ok {
		return 0, quoted(v) + timeMistake(string(v)) + "; write " + wantTime
	}
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++ // Never early.
	}
	if ms < minPlausibleMs {
		return 0, quoted(v) + " is before May 1970, as if the time were not set; write " + wantTime
	}
	return UnixMs(ms), ""
}

// rfc3339 is strict: what one library reads leniently, another reads otherwise. Package
// time takes hours of one digit, a comma before the fraction and zones of 99 hours.
func rfc3339(v []byte) (time.Time, bool) {
	const dateTime, zone = "2006-01-02T15:04:05", "+01:00"
	n := len(v)
	if n <= len(dateTime) || v[13] != ':' || bytes.IndexByte(v, ',') >= 0 {
		return time.Time{}, false
	}
	if v[n-1] != 'Z' {
		z := v[max(n-len(zone), len(dateTime)):]
		if len(z) != len(zone) || z[1] > '2' || z[1] == '2' && z[2] > '3' || z[4] > '5' {
			return time.Time{}, false
		}
	}
	var t time.Time
	err := t.UnmarshalText(v)
	return t, err == nil
}

// timeMistake names what people get wrong most often.
func timeMistake(s string) string {
	if len(s) > maxShownBytes {
		return " is not a time"
	}
	if trimmed := strings.TrimSpace(s); trimmed != s {
		return " has spaces around it"
	}
	if strings.HasPrefix(s, "-") {
		return " is negative"
	}
	if whole, fraction, ok := strings.Cut(s, "."); ok && isDigits(whole) && isDigits(fraction) {
		return " has a fraction"
	}
	isTime := func(s string) bool {
		_, ok := rfc3339([]byte(s))
		return ok
	}
	withT := strings.Replace(s, " ", "T", 1)
	switch {
	case isTime(s + "Z"):
		return " has no time zone"
	case isTime(s + "T00:00:00Z"):
		return " is a date without a time and a zone"
	case isTime(withT), isTime(withT + "Z"):
		return " is not RFC 3339, which has a T between date and time"
	}
	if _, ok := durationOf(s); ok {
		return " is a duration, which belongs in " + HeaderScheduleDelay
	}
	return " is not a time"
}

// allDigits says whether v is one or more ASCII digits.
func allDigits(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0
}

func isDigits(s string) bool { return allDigits([]byte(s)) }

// isPrintable says whether v is text that a person could have typed.
func isPrintable(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// decimal returns the value of at most maxDecimalDigits digits.
func decimal(digits []byte) int64 {
	var n int64
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	return n
}

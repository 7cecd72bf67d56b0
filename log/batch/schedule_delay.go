package batch

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"time"
)

const (
	// minUnixDelayMs is 31 years: a plain number above it is a point in time.
	minUnixDelayMs = 1_000_000_000_000
	// maxDelayBytes is longer than any duration that means something.
	maxDelayBytes = 64

	wantDelay = "milliseconds (like 1500), a duration (like 90s or 1h30m), or ISO 8601 (like PT15M)"
)

// MinEvery is the shortest interval of chronos-schedule-every. Each occurrence is a record
// of its own in the log, for ever unless something ends it, so one header with a slip (60
// for 60s) must not fill a disk. Other schedulers begin at a second or a minute; what comes
// oftener than ten times a second is a stream, which its producer can write.
const MinEvery = 100 * time.Millisecond

// parseEvery reads the value of chronos-schedule-every, which is written as a delay is.
func parseEvery(v []byte) (time.Duration, string) {
	d, reason := parseDelay(v)
	if reason == "" && d < MinEvery {
		reason = quoted(v) + " is below the shortest interval; write " + MinEvery.String() + " or more"
	}
	return d, reason
}

// ParseDelay reads a duration as the value of chronos-schedule-delay, for orders that come another
// way. The error is a sentence about the value.
func ParseDelay(text string) (time.Duration, error) {
	d, reason := parseDelay([]byte(text))
	if reason != "" {
		return 0, errors.New(reason)
	}
	return d, nil
}

// parseDelay reads a duration: decimal milliseconds, a Go duration, or an ISO 8601 duration
// of days and less (weeks alone count too). reason is empty, or a sentence for the refusal.
// The duration comes in whole milliseconds, rounded up.
func parseDelay(v []byte) (d time.Duration, reason string) {
	switch {
	case len(v) == 0:
		return 0, "has no value; write " + wantDelay
	case allDigits(v):
		return parseDecimalDelay(v)
	case len(v) > maxDelayBytes || !isPrintable(v):
		return 0, quoted(v) + " is not a duration; write " + wantDelay
	}
	s := string(v)
	d, ok := durationOf(s)
	if !ok {
		return 0, quoted(v) + delayMistake(s) + "; write " + wantDelay
	}
	if d < 0 {
		return 0, quoted(v) + " is negative; write " + wantDelay
	}
	if rest := d % time.Millisecond; rest > 0 {
		if d-rest > math.MaxInt64-time.Millisecond {
			return 0, quoted(v) + " is too long; write " + wantDelay
		}
		d += time.Millisecond - rest // Never early.
	}
	return d, ""
}

// durationOf reads a Go or ISO 8601 duration.
func durationOf(s string) (time.Duration, bool) {
	if isISODuration(s) {
		return parseISODuration(s)
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func parseDecimalDelay(v []byte) (time.Duration, string) {
	digits := bytes.TrimLeft(v, "0")
	if len(digits) > maxDecimalDigits {
		return 0, quoted(v) + " is too long; write " + wantDelay
	}
	ms := decimal(digits)
	if ms >= minUnixDelayMs {
		return 0, quoted(v) + " looks like a point in time, which belongs in " +
			HeaderScheduleTs + "; write " + wantDelay
	}
	return time.Duration(ms) * time.Millisecond, ""
}

// delayMistake names what people get wrong most often.
func delayMistake(s string) string {
	if strings.TrimSpace(s) != s {
		return " has spaces around it"
	}
	if whole, fraction, ok := strings.Cut(s, "."); ok && isDigits(whole) && isDigits(fraction) {
		return " has a fraction and no unit"
	}
	if s[0] == '-' && (isDigits(s[1:]) || isISODuration(s[1:])) {
		return " is negative"
	}
	if isISODuration(s) {
		date, _, _ := strings.Cut(s, "T")
		if strings.ContainsAny(date, "YMym") {
			return " has years or months, whose length varies"
		}
		return " is not an ISO 8601 duration that is supported"
	}
	if n := len(s) - 1; n > 0 && (s[n] == 'd' || s[n] == 'D') && isDigits(s[:n]) {
		return " has days, which are written P" + s[:n] + "D or in hours"
	}
	if _, ok := rfc3339([]byte(s)); ok {
		return " is a point in time, which belongs in " + HeaderScheduleTs
	}
	return " is not a duration"
}

// isISODuration says whether s is meant as an ISO 8601 duration.
func isISODuration(s string) bool {
	return strings.HasPrefix(s, "P") || strings.HasPrefix(s, "p")
}

// isoUnit is one component of an ISO 8601 duration.
type isoUnit struct {
	letter byte
	length time.Duration
}

// A day has 24 hours: the delay counts elapsed time and knows no zone.
var (
	isoDateUnits = [...]isoUnit{{'W', 7 * 24 * time.Hour}, {'D', 24 * time.Hour}}
	isoTimeUnits = [...]isoUnit{{'H', time.Hour}, {'M', time.Minute}, {'S', time.Second}}
)

// parseISODuration reads PnW, PnD and PnDTnHnMn.nS, each part at most once, in order,
// and at least one of them.
func parseISODuration(s string) (time.Duration, bool) {
	s = strings.ToUpper(s)
	date, clock, hasClock := strings.Cut(s[1:], "T")
	days, ok := sumISO(date, isoDateUnits[:])
	if !ok || hasClock && clock == "" || date == "" && clock == "" {
		return 0, false
	}
	rest, ok := sumISO(clock, isoTimeUnits[:])
	if !ok || days > math.MaxInt64-rest {
		return 0, false
	}
	return days + rest, true
}

// sumISO adds up components in the order of units; only seconds may have a fraction.
func sumISO(s string, units []isoUnit) (sum time.Duration, ok bool) {
	for _, u := range units {
		end := strings.IndexByte(s, u.letter)
		if end < 0 {
			continue
		}
		whole, fraction, hasFraction := strings.Cut(strings.Replace(s[:end], ",", ".", 1), ".")
		if hasFraction && (u.letter != 'S' || !isDigits(fraction)) {
			return 0, false
		}
		if !isDigits(whole) || len(whole) > maxDecimalDigits {
			return 0, false
		}
		n := decimal([]byte(whole))
		if n > math.MaxInt64/int64(u.length) {
			return 0, false
		}
		part := time.Duration(n)*u.length + secondFraction(fraction)
		if part < 0 || sum > math.MaxInt64-part {
			return 0, false
		}
		sum, s = sum+part, s[end+1:]
	}
	return sum, s == ""
}

// secondFraction returns the nanoseconds of decimal digits behind the point, rounded
// up when there are more than nine.
func secondFraction(digits string) time.Duration {
	var n time.Duration
	unit := time.Second
	for i := range len(digits) {
		unit /= 10
		if unit == 0 {
			if strings.Trim(digits[i:], "0") != "" {
				n++
			}
			break
		}
		n += time.Duration(digits[i]-'0') * unit
	}
	return n
}

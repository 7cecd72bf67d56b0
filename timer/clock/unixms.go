package clock

import (
	"math"
	"time"
)

// UnixMs is a point in time in whole milliseconds since 1970-01-01T00:00:00Z. It may be negative.
type UnixMs int64

// ToMs returns t in Unix milliseconds, rounded down: a fraction of a millisecond that has not
// passed yet does not count, so an entry compared with the result is never early.
func ToMs(t time.Time) UnixMs { return UnixMs(t.UnixMilli()) }

// Time returns m as a time in UTC.
func (m UnixMs) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Sub returns the time from o to m. A difference that does not fit a Duration (292 years) becomes
// the largest or smallest Duration instead of wrapping around: timestamps come from clients.
func (m UnixMs) Sub(o UnixMs) time.Duration {
	const limitMs = math.MaxInt64 / int64(time.Millisecond)
	d := int64(m) - int64(o)
	overflowed := (m < 0) != (o < 0) && (d < 0) != (m < 0)
	switch {
	case overflowed && m > o, !overflowed && d > limitMs:
		return math.MaxInt64
	case overflowed, d < -limitMs:
		return math.MinInt64
	}
	return time.Duration(d) * time.Millisecond
}

// Add returns m plus d. A fraction of a millisecond is rounded up, so that a due time computed
// from a delay is never early, and the sum saturates instead of wrapping around.
func (m UnixMs) Add(d time.Duration) UnixMs {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	sum := int64(m) + ms
	switch {
	case ms > 0 && sum < int64(m):
		return math.MaxInt64
	case ms < 0 && sum > int64(m):
		return math.MinInt64
	}
	return UnixMs(sum)
}

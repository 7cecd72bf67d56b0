package recur

import (
	"math"
	"time"
)

const (
	secondsPerDay  = 24 * 60 * 60
	secondsPerHour = 60 * 60
	// maxOffset is more than any clock was ever ahead of or behind Greenwich (15 h 13 min), in
	// seconds.
	maxOffset = 26 * secondsPerHour
)

// instant is a point in time in Unix seconds.
type instant int64

// wall is what a clock on the wall of some zone shows: the seconds since 1 January 1970, 00:00, on
// that clock. A zone shows some twice and some never.
type wall int64

// span is a time in which a zone's offset is the same. It may be shorter than it could be.
type span struct {
	end    instant // behind the last instant; MaxInt64 if there is none
	offset int64   // what is shown minus Greenwich
}

// spanAt returns the span of a zone that t lies in.
func spanAt(zone *time.Location, t instant) span {
	local := time.Unix(int64(t), 0).In(zone)
	_, offset := local.Zone()
	s := span{end: math.MaxInt64, offset: int64(offset)}
	if _, end := local.ZoneBounds(); !end.IsZero() {
		s.end = instant(end.Unix())
	}
	if s.end <= t {
		// golang.org/issue/81583: in years for which a zone has a rule and no table, the last span
		// ends 365 days after the year began, also in a leap year. On that year's last
		// day, which lasts to midnight in Greenwich, no rule changes a clock.
		s.end = t - t%secondsPerDay + secondsPerDay
	}
	return s
}

// shows returns what the clock shows at t, which lies in the span.
func (s span) shows(t instant) wall { return wall(int64(t) + s.offset) }

// at returns the instant at which the clock shows w, if that lies in the span.
func (s span) at(w wall) instant { return instant(int64(w) - s.offset) }

// reached returns the latest that the clock has shown up to t. That is what it shows, but for the
// time after it was set back.
func reached(zone *time.Location, t instant) wall {
	// What was shown longer ago than offsets can differ is behind by now.
	s := spanAt(zone, t-2*maxOffset)
	latest := s.shows(min(s.end-1, t))
	for s.end <= t {
		s = spanAt(zone, s.end)
		latest = max(latest, s.shows(min(s.end-1, t)))
	}
	return latest
}

// first returns the first instant at which the clock shows w or later.
func first(zone *time.Location, w wall) instant {
	from := instant(w) - maxOffset
	for {
		s := spanAt(zone, from)
		if t := max(s.at(w), from); t < s.end {
			return t
		}
		from = s.end
	}
}

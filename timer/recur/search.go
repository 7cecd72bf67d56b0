package recur

import (
	"math/bits"
	"time"
)

const (
	// firstMs and lastMs bound the occurrences: the years 1 to 9999, which RFC 3339 can write.
	firstMs UnixMs = -62_135_596_800_000
	lastMs  UnixMs = 253_402_300_799_999
	// lastYear is where the search on a wall's calendar ends. A zone may be a day ahead there.
	lastYear = 10_000
)

// Next returns the first occurrence after an instant, which need not be one. ok is false if there
// is none up to the year 9999.
func (c Cron) Next(after UnixMs) (next UnixMs, ok bool) {
	if c.zone == nil || after > lastMs {
		return 0, false
	}
	after = max(after, firstMs)
	t := instant(after / 1000)
	if after%1000 < 0 {
		t-- // Rounded down, so that the second itself counts as past.
	}
	if c.rhythm {
		t, ok = c.nextShown(t)
	} else {
		t, ok = c.nextPromised(t)
	}
	if next = UnixMs(t) * 1000; !ok || next > lastMs {
		return 0, false
	}
	return next, true
}

// NextAfterDelivery returns the first occurrence after both prev, the one that was delivered, and
// now, the time at which it was. What lay between was missed and stays so: an outage has one
// delivery when it ends, and then the next one. ok is as in Next.
func (c Cron) NextAfterDelivery(prev, now UnixMs) (next UnixMs, ok bool) {
	return c.Next(max(prev, now))
}

// nextPromised is for hours that are written out: each local time once for each date.
func (c *Cron) nextPromised(after instant) (instant, bool) {
	w, ok := c.nextWall(reached(c.zone, after) + 1)
	if !ok {
		return 0, false
	}
	return first(c.zone, w), true
}

// nextShown is for hours that are a wildcard: whenever the clock shows a time that matches.
func (c *Cron) nextShown(after instant) (instant, bool) {
	t := after + 1
	for {
		s := spanAt(c.zone, t)
		w, ok := c.nextWall(s.shows(t))
		if !ok {
			return 0, false
		}
		if found := s.at(w); found < s.end {
			return found, true
		}
		if s.end-t >= 2*maxOffset {
			// Whatever is shown from here on is behind what was shown at t, so nothing matches
			// before w, which no clock shows earlier than this.
			t = max(s.end, instant(w)-maxOffset)
		} else {
			t = s.end // A clock that was set back can show again what matched before t.
		}
	}
}

// nextWall returns the first time on the wall's calendar that matches, from one on.
func (c *Cron) nextWall(from wall) (wall, bool) {
	day, second := from/secondsPerDay, from%secondsPerDay
	if second < 0 {
		day, second = day-1, second+secondsPerDay
	}
	found, ok := c.nextDay(day)
	if !ok {
		return 0, false
	}
	if found == day {
		if second, ok := c.nextSecond(int(second)); ok {
			return day*secondsPerDay + wall(second), true
		}
		if found, ok = c.nextDay(day + 1); !ok {
			return 0, false
		}
	}
	second0, _ := c.nextSecond(0)
	return found*secondsPerDay + wall(second0), true
}

// nextDay returns the first day that matches, from one on; both are days since 1 January 1970.
func (c *Cron) nextDay(from wall) (wall, bool) {
	year, month, day := time.Unix(int64(from)*secondsPerDay, 0).UTC().Date()
	for year <= lastYear {
		if m := nextBit(uint64(c.months), int(month)); m != int(month) {
			if m < 0 { // None in this year any more.
				year, m = year+1, nextBit(uint64(c.months), 1)
			}
			month, day = time.Month(m), 1
			continue
		}
		monthStart := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
		if d := nextBit(uint64(c.daysOf(monthStart)), day); d > 0 {
			return wall(monthStart.Unix()/secondsPerDay) + wall(d-1), true
		}
		if month, day = month+1, 1; month > time.December {
			year, month = year+1, time.January
		}
	}
	return 0, false
}

// daysOf returns the days of a month that match, the first as bit 1.
func (c *Cron) daysOf(monthStart time.Time) uint32 {
	length := monthStart.AddDate(0, 1, -1).Day()
	all := uint32(1)<<(length+1) - 2
	// A week of weekdays that begins with the month's first day, five times over.
	week := uint64(c.weekdays) | uint64(c.weekdays)<<7
	week = week >> int(monthStart.Weekday()) & (1<<7 - 1)
	byWeekday := uint32((week | week<<7 | week<<14 | week<<21 | week<<28) << 1)
	if c.anyDay || c.anyWeekday {
		return c.days & byWeekday & all
	}
	return (c.days | byWeekday) & all
}

// nextSecond returns the first second of a day that matches, from one on.
func (c *Cron) nextSecond(from int) (second int, ok bool) {
	hour, minute, second := from/secondsPerHour, from/60%60, from%60
	if h := nextBit(uint64(c.hours), hour); h != hour {
		if h < 0 {
			return 0, false
		}
		hour, minute, second = h, 0, 0
	}
	if m := nextBit(c.minutes, minute); m != minute {
		if m < 0 {
			return c.nextSecond((hour + 1) * secondsPerHour)
		}
		minute, second = m, 0
	}
	s := nextBit(c.seconds, second)
	if s < 0 {
		return c.nextSecond(hour*secondsPerHour + (minute+1)*60)
	}
	return hour*secondsPerHour + minute*60 + s, true
}

// nextBit returns the first bit of a set from one on, or -1.
func nextBit(set uint64, from int) int {
	if set = set >> from << from; set == 0 {
		return -1
	}
	return bits.TrailingZeros64(set)
}

package recur

import (
	"time"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// UnixMs is a point in time in Unix milliseconds.
type UnixMs = clock.UnixMs

// Every is an interval. Its occurrences lie on a grid: the first one, and a whole number of
// intervals behind it. A fraction of a millisecond does not count.
type Every time.Duration

// Next returns the occurrence after prev, itself an occurrence. ok is false if there is none:
// behind the year 9999, or if the interval is below a millisecond.
func (e Every) Next(prev UnixMs) (next UnixMs, ok bool) { return e.NextAfterDelivery(prev, prev) }

// NextAfterDelivery returns the first occurrence after both prev, the one that was delivered, and
// now, the time at which it was. What lay between was missed and stays so: an outage has one
// delivery when it ends, and then the next one on the grid. ok is as in Next.
func (e Every) NextAfterDelivery(prev, now UnixMs) (next UnixMs, ok bool) {
	step := UnixMs(time.Duration(e).Milliseconds())
	if step <= 0 || prev < firstMs || max(prev, now) > lastMs-step {
		return 0, false // From here on no sum overflows.
	}
	return prev + (max(prev, now)-prev)/step*step + step, true
}

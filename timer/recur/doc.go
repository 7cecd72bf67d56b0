// Package recur computes when a recurring record is due next: by a cron in a time zone ([Cron]), or
// by an interval ([Every]).
//
// The package is pure. It has no clock and keeps nothing but the zones that it has read: the caller
// gives the time of the occurrence before, as it was scheduled and not as it was delivered, so that
// lateness never adds up, and stores what it gets. Counts and ends are the caller's too.
//
// # What a cron is
//
// Five fields, or six of which the first is the second:
//
//	field         values          names
//	second        0-59
//	minute        0-59
//	hour          0-23
//	day of month  1-31
//	month         1-12            JAN-DEC
//	day of week   0-7 (0 and 7    SUN-SAT
//	              are Sunday)
//
// A field is a list, separated by commas, of *, a value, or a range, each with a step behind a
// slash if wanted: "*/15", "9-17", "MON-FRI", "10/20" (from 10 on), "1,15". A range may wrap around
// ("22-2", "FRI-MON"). "?" is "*". In place of the fields can stand @hourly, @daily (@midnight),
// @weekly, @monthly or @yearly (@annually). The extensions L, W, # and H, a year, and a zone or an
// interval within the text are refused.
//
// A day matches if day of month and day of week do. If neither is "*" (and "*/2" is not), it is
// enough that one of them does: "0 9 13 * FRI" is each 13th and each Friday.
//
// # When the clocks change
//
// A cron whose hours are written out is a promise about the clock on the wall: each local time
// comes once for each date, whatever the zone does.
//
//   - A local time that is skipped (a gap) comes at the first instant after the gap. Several that
//     are skipped come together, once.
//   - A local time that is shown twice (an overlap) comes the first time only.
//
// A cron whose hours are a wildcard ("*" or "*/n") is a rhythm. It goes by what the clock shows,
// whenever it does: in both passes of an overlap, and not at all for a gap.
//
//	Europe/Berlin        29 March 2026, 02:00 becomes 03:00   25 October 2026, 03:00 becomes 02:00
//	30 2 * * *           03:00 +02:00                         02:30 +02:00
//	*/30 1-3 * * *       01:00 01:30 03:00 03:30              01:00 01:30 02:00 02:30 03:00 03:30
//	*/30 * * * *         ... 01:30 03:00 ...                  ... 02:00 02:30 02:00 02:30 03:00 ...
//
// A date that a zone skips whole (Pacific/Apia, 30 December 2011) is a gap like any other.
//
// # How the next one is found
//
// The search goes by field and never by minute: the days of a month are one bit set, a month that
// the cron does not name is skipped, and the zone is asked only around the instant that was found.
//
// For hours that are written out, let reached(t) be the latest local time that the clock has shown
// up to the instant t, and first(w) the first instant at which it shows w or later. Both only grow,
// and the rules above say that the occurrences are first(w) for each w that matches. So the next
// one after t is first(w) for the first matching w behind reached(t).
package recur

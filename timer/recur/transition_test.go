package recur

import (
	"strings"
	"testing"
)

// TestTransitions goes over changes of clocks that were or are law.
func TestTransitions(t *testing.T) {
	for _, c := range []struct{ what, zone, text, after, want string }{
		{
			"gap: at its end", "Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00+01:00",
			"2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00",
		},
		{
			"gap: its first time", "Europe/Berlin", "0 2 * * *", "2026-03-28T12:00:00+01:00",
			"2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00",
		},
		{
			"gap: with the time at its end", "Europe/Berlin", "*/30 2,3 * * *", "2026-03-28T12:00:00+01:00",
			"2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00 2026-03-30T02:00:00+02:00",
		},
		{
			"gap: a date of its own", "Europe/Berlin", "15 2 29 3 *", "2025-12-01T00:00:00+01:00",
			"2026-03-29T03:00:00+02:00 2027-03-29T02:15:00+02:00",
		},
		{
			"gap: a rhythm", "Europe/Berlin", "30 * * * *", "2026-03-29T00:45:00+01:00",
			"2026-03-29T01:30:00+01:00 2026-03-29T03:30:00+02:00",
		},
		{
			"gap: a rhythm of two hours", "Europe/Berlin", "30 */2 * * *", "2026-03-29T00:15:00+01:00",
			"2026-03-29T00:30:00+01:00 2026-03-29T04:30:00+02:00",
		},
		{
			"overlap: the first time", "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00+02:00",
			"2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00",
		},
		{
			"overlap: asked for in its second pass", "Europe/Berlin", "45 2 * * *", "2026-10-25T02:30:00+01:00",
			"2026-10-26T02:45:00+01:00",
		},
		{
			"overlap: its end", "Europe/Berlin", "0 2,3 * * *", "2026-10-24T12:00:00+02:00",
			"2026-10-25T02:00:00+02:00 2026-10-25T03:00:00+01:00",
		},
		{
			"overlap: a rhythm", "Europe/Berlin", "30 * * * *", "2026-10-25T01:15:00+02:00",
			"2026-10-25T01:30:00+02:00 2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-25T03:30:00+01:00",
		},
		{
			"overlap: a rhythm on one date only", "Europe/Berlin", "30 */2 25 10 *", "2026-10-25T02:15:00+02:00",
			"2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-25T04:30:00+01:00",
		},
		{
			"overlap: a rhythm, the next a year on", "Europe/Berlin", "30 2,*/23 25 10 *", "2026-10-25T02:30:00+02:00",
			"2026-10-25T02:30:00+01:00 2026-10-25T23:30:00+01:00 2027-10-25T00:30:00+02:00",
		},
		{
			"overlap: a rhythm whose next date is a year on", "America/Sao_Paulo", "30 */23 17 2 *",
			"2018-02-17T12:00:00-02:00",
			"2018-02-17T23:30:00-02:00 2018-02-17T23:30:00-03:00 2019-02-17T00:30:00-03:00",
		},
		{
			"gap", "America/New_York", "30 2 * * *", "2026-03-07T12:00:00-05:00",
			"2026-03-08T03:00:00-04:00 2026-03-09T02:30:00-04:00",
		},
		{
			"overlap", "America/New_York", "30 1 * * *", "2026-10-31T12:00:00-04:00",
			"2026-11-01T01:30:00-04:00 2026-11-02T01:30:00-05:00",
		},
		{
			"overlap: weekdays", "America/New_York", "30 1 * * SUN", "2026-10-26T12:00:00-04:00",
			"2026-11-01T01:30:00-04:00 2026-11-08T01:30:00-05:00",
		},
		{
			"gap of 30 minutes", "Australia/Lord_Howe", "15,45 2 * * *", "2026-10-03T12:00:00+10:30",
			"2026-10-04T02:30:00+11:00 2026-10-04T02:45:00+11:00 2026-10-05T02:15:00+11:00",
		},
		{
			"gap of 30 minutes: a rhythm", "Australia/Lord_Howe", "*/15 * * * *", "2026-10-04T01:30:00+10:30",
			"2026-10-04T01:45:00+10:30 2026-10-04T02:30:00+11:00 2026-10-04T02:45:00+11:00",
		},
		{
			"overlap of 30 minutes", "Australia/Lord_Howe", "15,45 1 * * *", "2026-04-04T12:00:00+11:00",
			"2026-04-05T01:15:00+11:00 2026-04-05T01:45:00+11:00 2026-04-06T01:15:00+10:30",
		},
		{
			"overlap of 30 minutes: a rhythm", "Australia/Lord_Howe", "45 * * * *", "2026-04-05T01:00:00+11:00",
			"2026-04-05T01:45:00+11:00 2026-04-05T01:45:00+10:30 2026-04-05T02:45:00+10:30",
		},
		{
			"gap at midnight", "America/Sao_Paulo", "@daily", "2018-11-03T12:00:00-03:00",
			"2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00",
		},
		{
			"gap at midnight: weekly", "America/Sao_Paulo", "@weekly", "2018-11-01T00:00:00-03:00",
			"2018-11-04T01:00:00-02:00 2018-11-11T00:00:00-02:00",
		},
		{
			"gap at midnight: hourly", "America/Sao_Paulo", "@hourly", "2018-11-03T22:30:00-03:00",
			"2018-11-03T23:00:00-03:00 2018-11-04T01:00:00-02:00",
		},
		{
			"overlap before midnight", "America/Sao_Paulo", "30 23,0 * * *", "2018-02-17T12:00:00-02:00",
			"2018-02-17T23:30:00-02:00 2018-02-18T00:30:00-03:00 2018-02-18T23:30:00-03:00",
		},
		{
			"overlap before midnight: midnight", "America/Sao_Paulo", "0 0 * * *", "2018-02-17T12:00:00-02:00",
			"2018-02-18T00:00:00-03:00 2018-02-19T00:00:00-03:00",
		},
		{
			"overlap over midnight", "America/St_Johns", "0,30 0,23 * * *", "2010-11-06T12:00:00-02:30",
			"2010-11-06T23:00:00-02:30 2010-11-06T23:30:00-02:30 2010-11-07T00:00:00-02:30 2010-11-07T00:30:00-03:30",
		},
		{
			"gap at midnight", "Africa/Cairo", "0 0 * * *", "2024-04-25T12:00:00+02:00",
			"2024-04-26T01:00:00+03:00 2024-04-27T00:00:00+03:00",
		},
		{
			"overlap before midnight", "Africa/Cairo", "59 23 * * *", "2024-10-31T12:00:00+03:00",
			"2024-10-31T23:59:00+03:00 2024-11-01T23:59:00+02:00",
		},
		{
			"a date that was not: daily", "Pacific/Apia", "0 9 * * *", "2011-12-28T12:00:00-10:00",
			"2011-12-29T09:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T09:00:00+14:00",
		},
		{
			"a date that was not: monthly", "Pacific/Apia", "0 9 30 * *", "2011-12-01T00:00:00-10:00",
			"2011-12-31T00:00:00+14:00 2012-01-30T09:00:00+14:00",
		},
		{
			"a date that was not: a rhythm", "Pacific/Apia", "0 */6 * * *", "2011-12-29T17:00:00-10:00",
			"2011-12-29T18:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T06:00:00+14:00",
		},
		{
			"gap at midnight", "Asia/Tehran", "15 0 * * *", "2022-03-21T12:00:00+03:30",
			"2022-03-22T01:00:00+04:30 2022-03-23T00:15:00+04:30",
		},
		{
			"overlap before midnight", "Asia/Tehran", "15 23 * * *", "2022-09-21T12:00:00+04:30",
			"2022-09-21T23:15:00+04:30 2022-09-22T23:15:00+03:30",
		},
		{
			"a zone without seasons any more", "Asia/Tehran", "15 0 * * *", "2026-03-20T12:00:00+03:30",
			"2026-03-21T00:15:00+03:30 2026-03-22T00:15:00+03:30",
		},
		{
			"a day twice: written out", "America/Juneau", "0 0 12 * * *", "1867-10-17T23:00:00+15:02",
			"1867-10-18T12:00:00+15:02 1867-10-19T12:00:00+15:02 1867-10-20T12:00:00-08:57",
		},
		{
			"an offset with seconds, in a gap", "Africa/Monrovia", "20 0 * * *", "1972-01-06T12:00:00Z",
			"1972-01-07T00:44:30Z 1972-01-08T00:20:00Z",
		},
		{
			"seasons by a rule, beyond the tables", "Europe/Berlin", "30 2 * * *", "2126-03-30T12:00:00+01:00",
			"2126-03-31T03:00:00+02:00 2126-04-01T02:30:00+02:00",
		},
		{
			"the last day of a leap year by a rule", "Europe/Berlin", "0 */6 * * *", "2040-12-31T00:00:00+01:00",
			"2040-12-31T06:00:00+01:00 2040-12-31T12:00:00+01:00 2040-12-31T18:00:00+01:00 2041-01-01T00:00:00+01:00",
		},
		{
			"the last day of a leap year by a rule: written out", "America/New_York", "0 20 * * *",
			"2052-12-30T12:00:00-05:00",
			"2052-12-30T20:00:00-05:00 2052-12-31T20:00:00-05:00 2053-01-01T20:00:00-05:00",
		},
		{
			"summer time the other way round", "Europe/Dublin", "30 1 * * *", "2026-03-28T12:00:00Z",
			"2026-03-29T02:00:00+01:00 2026-03-30T01:30:00+01:00",
		},
	} {
		want := strings.Fields(c.want)
		got := follow(t, parse(t, c.text, c.zone), ms(t, c.after), len(want))
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q in %s:\n got %v\nwant %v", c.what, c.text, c.zone, got, want)
		}
	}
}

// TestDaysOfChanges counts the deliveries of whole days, as a schedule makes them: each a little
// late, the next from the time for which the one before was scheduled.
func TestDaysOfChanges(t *testing.T) {
	for _, c := range []struct {
		text                 string
		short, plain, longer int // deliveries of days of 23, 24 and 25 hours
	}{
		{"* * * * * *", 82_800, 86_400, 90_000},
		{"*/5 * * * *", 276, 288, 300},
		{"@hourly", 23, 24, 25},
		{"0 0-23 * * *", 23, 24, 24},
		{"*/5 0-23 * * *", 276, 288, 288},
		{"30 2 * * *", 1, 1, 1},
		{"*/15 2 * * *", 1, 4, 4},
		{"0 2 * * *", 1, 1, 1},
		{"0 3 * * *", 1, 1, 1},
		{"0,30 2-3 * * *", 2, 4, 4},
		{"@daily", 1, 1, 1},
		{"0 9-17 * * *", 9, 9, 9},
	} {
		for _, day := range []struct {
			from, to string
			want     int
		}{
			{"2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00", c.plain},
			{"2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", c.short},
			{"2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", c.longer},
		} {
			cron := parse(t, c.text, "Europe/Berlin")
			end, count := ms(t, day.to), 0
			next, ok := cron.Next(ms(t, day.from) - 1)
			for ; ok && next < end; next, ok = cron.NextAfterDelivery(next, next+3) {
				count++
			}
			if count != day.want {
				t.Errorf("%q on %s: %d deliveries, want %d", c.text, day.from[:10], count, day.want)
			}
		}
	}
}

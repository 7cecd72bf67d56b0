package recur

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// parse is Parse of what must be sound.
func parse(t testing.TB, text, zone string) Cron {
	t.Helper()
	c, err := Parse(text, zone)
	if err != nil {
		t.Fatalf("%q in %q: %v", text, zone, err)
	}
	return c
}

// ms reads an instant in RFC 3339.
func ms(t testing.TB, s string) UnixMs {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return UnixMs(at.UnixMilli())
}

// follow returns n occurrences after an instant, as the zone's clock shows them.
func follow(t testing.TB, c Cron, after UnixMs, n int) (shown []string) {
	t.Helper()
	for range n {
		next, ok := c.Next(after)
		if !ok {
			return append(shown, "none")
		}
		if next <= after {
			t.Fatalf("after %v comes %v", after.Time(), next.Time())
		}
		shown = append(shown, next.Time().In(c.zone).Format(time.RFC3339))
		after = next
	}
	return shown
}

func TestCronFields(t *testing.T) {
	const from = "2026-01-01T00:00:00Z" // A Thursday.
	for _, c := range []struct{ text, want string }{
		{"* * * * *", "2026-01-01T00:01:00Z 2026-01-01T00:02:00Z"},
		{"* * * * * *", "2026-01-01T00:00:01Z 2026-01-01T00:00:02Z"},
		{"30 9 * * *", "2026-01-01T09:30:00Z 2026-01-02T09:30:00Z"},
		{"15 30 9 * * *", "2026-01-01T09:30:15Z 2026-01-02T09:30:15Z"},
		{"30 9 * * MON-FRI", "2026-01-01T09:30:00Z 2026-01-02T09:30:00Z 2026-01-05T09:30:00Z"},
		{"0 0 * * 7", "2026-01-04T00:00:00Z 2026-01-11T00:00:00Z"},
		{"0 0 * * 0", "2026-01-04T00:00:00Z 2026-01-11T00:00:00Z"},
		{"0 0 * * sun", "2026-01-04T00:00:00Z 2026-01-11T00:00:00Z"},
		{
			"0 0 * * FRI-MON",
			"2026-01-02T00:00:00Z 2026-01-03T00:00:00Z 2026-01-04T00:00:00Z 2026-01-05T00:00:00Z 2026-01-09T00:00:00Z",
		},
		{"0 0 * * */2", "2026-01-03T00:00:00Z 2026-01-04T00:00:00Z 2026-01-06T00:00:00Z"},
		{"0 0 13 * *", "2026-01-13T00:00:00Z 2026-02-13T00:00:00Z"},
		{"0 0 13 * FRI", "2026-01-02T00:00:00Z 2026-01-09T00:00:00Z 2026-01-13T00:00:00Z 2026-01-16T00:00:00Z"},
		{"0 0 ? * FRI", "2026-01-02T00:00:00Z 2026-01-09T00:00:00Z"},
		{"0 0 13 * ?", "2026-01-13T00:00:00Z 2026-02-13T00:00:00Z"},
		{"0 0 */10 * FRI", "2026-01-02T00:00:00Z 2026-01-09T00:00:00Z 2026-01-11T00:00:00Z"},
		{"0 0 31 * *", "2026-01-31T00:00:00Z 2026-03-31T00:00:00Z 2026-05-31T00:00:00Z"},
		{"0 0 29 2 *", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		{"0 0 29-31 2 *", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		{"0 0 30 2 MON", "2026-02-02T00:00:00Z 2026-02-09T00:00:00Z"},
		{"0 0 1 JAN,jul *", "2026-07-01T00:00:00Z 2027-01-01T00:00:00Z"},
		{"0 0 1 NOV-FEB *", "2026-02-01T00:00:00Z 2026-11-01T00:00:00Z 2026-12-01T00:00:00Z 2027-01-01T00:00:00Z"},
		{"0 0 1 NOV-FEB/2 *", "2026-11-01T00:00:00Z 2027-01-01T00:00:00Z"},
		{"0 22-2 * * *", "2026-01-01T01:00:00Z 2026-01-01T02:00:00Z 2026-01-01T22:00:00Z"},
		{"*/20 * * * *", "2026-01-01T00:20:00Z 2026-01-01T00:40:00Z 2026-01-01T01:00:00Z"},
		{"10/20 * * * *", "2026-01-01T00:10:00Z 2026-01-01T00:30:00Z 2026-01-01T00:50:00Z 2026-01-01T01:10:00Z"},
		{"5-8/3,40 0 * * *", "2026-01-01T00:05:00Z 2026-01-01T00:08:00Z 2026-01-01T00:40:00Z 2026-01-02T00:05:00Z"},
		{"59 59 23 31 12 *", "2026-12-31T23:59:59Z 2027-12-31T23:59:59Z"},
		{" \t0\t9 * *  * ", "2026-01-01T09:00:00Z"},
		{"@hourly", "2026-01-01T01:00:00Z 2026-01-01T02:00:00Z"},
		{"@daily", "2026-01-02T00:00:00Z"},
		{"@midnight", "2026-01-02T00:00:00Z"},
		{" @weekly ", "2026-01-04T00:00:00Z 2026-01-11T00:00:00Z"},
		{"@monthly", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"},
		{"@yearly", "2027-01-01T00:00:00Z"},
		{"@annually", "2027-01-01T00:00:00Z"},
	} {
		want := strings.Fields(c.want)
		got := follow(t, parse(t, c.text, ""), ms(t, from), len(want))
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, want %v", c.text, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, zone, says string }{
		{"", "", `"" has no fields; write five fields (minute hour day month weekday), like`},
		{"  ", "", "has no fields"},
		{"* * * *", "", "has 4 fields; write"},
		{"* * * * * * *", "", "has 7 fields; write"}, // No year.
		{"60 * * * *", "", "above maximum (59)"},
		{"* 24 * * *", "", "above maximum (23)"},
		{"* * 0 * *", "", "below minimum (1)"},
		{"* * 32 * *", "", "above maximum (31)"},
		{"* * * 0 *", "", "below minimum (1)"},
		{"* * * 13 *", "", "above maximum (12)"},
		{"* * * * 8", "", "above maximum (7)"},
		{"* * * * MOO", "", `"* * * * MOO" is not a cron (`},
		{"* * * * MONDAY", "", "names have three letters"},
		{"MON * * * *", "", `: "MON" is not a list`},
		{"* * JUL * *", "", `: "JUL" is not a list`},
		{"*/0 * * * *", "", "must be a positive number"},
		{"*/60 * * * *", "", "step (60) must be less than"},
		{"*-5 * * * *", "", `"*-5" is not a list`},
		{", * * * *", "", `"," is not a list`},
		{"1,,2 * * * *", "", `"1,,2" is not a list`},
		{"+5 * * * *", "", `"+5" is not a list`},
		{"-5 * * * *", "", `"-5" is not a list`},
		{"1-2-3 * * * *", "", "is not a list"},
		{"1/2/3 * * * *", "", "is not a list"},
		{"1/ * * * *", "", "is not a list"},
		{"005 * * * *", "", "is not a list"},
		{"* * L * *", "", "L, W, # and H are not supported"},
		{"* * 15W * *", "", "L, W, # and H are not supported"},
		{"* * * * FRI#3", "", "L, W, # and H are not supported"},
		{"H * * * *", "", "L, W, # and H are not supported"},
		{"0 0 * * FRI-MON/2", "", "steps over the end of a week; write the days one by one"},
		{"0 0 * * 6-2/2", "", "steps over the end of a week"},
		{"0 0 30 2 *", "", `"0 0 30 2 *" never comes, because none of its months has such a day; write a day`},
		{"0 0 31 2,4,6,9,11 ?", "", "never comes"},
		{"0 0 30,31 FEB *", "", "never comes"},
		{"@every 5m", "", "is an interval; write it as chronos-schedule-every"},
		{"@reboot", "", "unrecognized descriptor"},
		{"@Daily", "", "unrecognized descriptor"},
		{"@daily x", "", "has 2 fields"},
		{"TZ=UTC 0 9 * * *", "", "has a time zone in it; write that as chronos-schedule-tz"},
		{"CRON_TZ=UTC 0 9 * * *", "", "has a time zone in it"},
		{"0 9 * * *\n", "", "is not plain text"},
		{"0 9 * *\u00a0* *", "", "is not plain text"},
		{"0\x009 * * *", "", "is not plain text"},
		{strings.Repeat("1,", 500) + "1 * * * *", "", "has 1009 bytes"},
		{"* * * * *", "Europe/Atlantis", `time zone "Europe/Atlantis" is not known; write a name of the IANA`},
		{"* * * * *", "europe/berlin", "is not known"},
		{"* * * * *", "Europe", "is not known"},
		{"* * * * *", "Local", "is another zone on each machine"},
		{"* * * * *", "localtime", "is another zone on each machine"},
		{"* * * * *", "+02:00", "is an offset"},
		{"* * * * *", "UTC+02:00", "is an offset"},
		{"* * * * *", "-5", "is an offset"},
		{"* * * * *", " UTC", "is not a zone"},
		{"* * * * *", "../../etc/passwd", "is not a zone"},
		{"* * * * *", "/etc/localtime", "is not a zone"},
		{"* * * * *", "Europe//Berlin", "is not a zone"},
		{"* * * * *", "./Europe/Berlin", "is not a zone"},
		{"* * * * *", "posix/Europe/Berlin", "folder of one system's"},
		{"* * * * *", "right/Europe/Berlin", "folder of one system's"},
		{"* * * * *", "Europe/Berlin\n", "is not a zone"},
		{"* * * * *", strings.Repeat("A", 10_000), "is not a zone"},
	} {
		_, err := Parse(c.text, c.zone)
		e := (*Error)(nil)
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) || e.Zone != (c.zone != "") {
			t.Errorf("%.80q in %.80q: %v, want %q", c.text, c.zone, err, c.says)
			continue
		}
		checkSentence(t, e)
	}
}

// checkSentence wants a refusal to be bounded, printable, and to say what to write.
func checkSentence(t *testing.T, e *Error) {
	t.Helper()
	odd := func(r rune) bool { return r < ' ' || r >= 0x7f }
	if !strings.Contains(e.Reason, "; write ") || len(e.Reason) > 600 || strings.ContainsFunc(e.Reason, odd) {
		t.Errorf("a sentence of %d bytes: %q", len(e.Reason), e.Reason)
	}
}

func TestParseTakesZones(t *testing.T) {
	for name, want := range map[string]string{
		"":                               "2026-07-01T09:00:00Z",
		"UTC":                            "2026-07-01T09:00:00Z",
		"Etc/UTC":                        "2026-07-01T09:00:00Z",
		"GMT":                            "2026-07-01T09:00:00Z",
		"Etc/GMT-2":                      "2026-07-01T09:00:00+02:00",
		"EST5EDT":                        "2026-07-01T09:00:00-04:00",
		"Europe/Berlin":                  "2026-07-01T09:00:00+02:00",
		"Asia/Kathmandu":                 "2026-07-01T09:00:00+05:45",
		"America/Argentina/Buenos_Aires": "2026-07-01T09:00:00-03:00",
		"America/Port-au-Prince":         "2026-07-01T09:00:00-04:00",
	} {
		for range 2 { // From its file, and from the cache.
			c := parse(t, "0 9 1 7 *", name)
			if got := follow(t, c, ms(t, "2026-01-01T00:00:00Z"), 1); got[0] != want {
				t.Errorf("%q: %v, want %v", name, got, want)
			}
		}
	}
}

func TestLongestWait(t *testing.T) {
	c := parse(t, "0 0 29 2 *", "")
	got := follow(t, c, ms(t, "2096-02-29T00:00:00Z"), 2)
	if want := "2104-02-29T00:00:00Z 2108-02-29T00:00:00Z"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %v", got, want)
	}
	c = parse(t, "30 */12 29 2 *", "Europe/Berlin")
	got = follow(t, c, ms(t, "2096-02-29T12:00:00Z"), 2)
	if want := "2104-02-29T00:30:00+01:00 2104-02-29T12:30:00+01:00"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestNextAtTheEndsOfTime(t *testing.T) {
	const minMs, maxMs = -1 << 63, 1<<63 - 1
	for _, zone := range []string{"", "Pacific/Kiritimati", "America/Adak"} {
		for _, text := range []string{"* * * * * *", "0 0 0 * * *"} {
			c := parse(t, text, zone)
			if got, ok := c.Next(minMs); !ok || got < firstMs || got > firstMs+2*86_400_000 {
				t.Errorf("%q in %q: the first is %d, %v", text, zone, got, ok)
			}
			for _, after := range []UnixMs{maxMs, lastMs, lastMs - 999} {
				if got, ok := c.Next(after); ok {
					t.Errorf("%q in %q: %d after %d", text, zone, got, after)
				}
			}
			if got, ok := c.Next(lastMs - 2*86_400_000); !ok || got > lastMs {
				t.Errorf("%q in %q: the last is %d, %v", text, zone, got, ok)
			}
		}
	}
	if got, ok := (Cron{}).Next(0); ok {
		t.Errorf("the zero Cron: %d", got)
	}
}

func TestNextCountsTheSecondItselfAsPast(t *testing.T) {
	c := parse(t, "0 0 9 * * *", "")
	nine := ms(t, "2026-01-01T09:00:00Z")
	for after, want := range map[UnixMs]UnixMs{
		nine - 1: nine, nine: nine + 86_400_000, nine + 1: nine + 86_400_000, nine + 999: nine + 86_400_000,
	} {
		if got, _ := c.Next(after); got != want {
			t.Errorf("after %d: %d, want %d", after, got, want)
		}
	}
	old := ms(t, "1969-12-31T09:00:00Z")
	if got, _ := c.Next(old - 1); got != old {
		t.Errorf("a millisecond before: %d, want %d", got, old)
	}
	if got, _ := c.Next(old); got != old+86_400_000 {
		t.Errorf("at it: %d, want %d", got, old+86_400_000)
	}
}

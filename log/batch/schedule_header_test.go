package batch

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// controlOf parses the control headers of a record that has these headers.
func controlOf(t *testing.T, names ControlNames, hs ...Header) (Control, bool, error) {
	t.Helper()
	b := NewBuilder(BuilderOptions{}.NoProducer())
	if err := b.Append(RecordFields{Headers: hs}); err != nil {
		t.Fatal(err)
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := readAll(out, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, present, err := ParseControl(recs[0], names)
	sum, walkErr := names.Walk(out, 0)
	if walkErr != nil || (sum.Control == 1) != present {
		t.Errorf("%q: the walk finds %d, ParseControl %v", hs, sum.Control, present)
	}
	return c, present, err
}

func bigEndian(ms int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(ms)))
}

func TestScheduleTsAccepts(t *testing.T) {
	for v, want := range map[string]UnixMs{
		"1767225600000":                    1_767_225_600_000,
		"0001767225600000":                 1_767_225_600_000,
		"10000000000":                      minPlausibleMs,
		"999999999999999":                  maxPlausibleMs - 1,
		"946684800000":                     946_684_800_000, // The year 2000: due now.
		bigEndian(1_767_225_600_000):       1_767_225_600_000,
		bigEndian(minPlausibleMs):          minPlausibleMs,
		bigEndian(maxPlausibleMs - 1):      maxPlausibleMs - 1,
		"2026-01-01T00:00:00Z":             1_767_225_600_000,
		"2026-01-01T01:00:00+01:00":        1_767_225_600_000,
		"2025-12-31T18:30:00-05:30":        1_767_225_600_000,
		"2026-01-01T00:00:00-00:00":        1_767_225_600_000,
		"2026-01-01T23:59:00+23:59":        1_767_225_600_000,
		"2026-01-01T00:00:00.5Z":           1_767_225_600_500,
		"2026-01-01T00:00:00.001Z":         1_767_225_600_001,
		"2026-01-01T00:00:00.0010001Z":     1_767_225_600_002, // Rounded up: never early.
		"2026-01-01T00:00:00.999999999Z":   1_767_225_601_000,
		"2024-02-29T00:00:00Z":             1_709_164_800_000,
		"9999-12-31T23:59:59Z":             253_402_300_799_000,
		"1970-05-01T00:00:00Z":             10_368_000_000,
		"2026-01-01T00:00:00.000000+00:00": 1_767_225_600_000, // Python's isoformat.
	} {
		c, present, err := controlOf(t, ControlNames{}, Header{HeaderScheduleTs, []byte(v)})
		if err != nil || !present || !reflect.DeepEqual(c, Control{HasTs: true, Due: want}) {
			t.Errorf("%q: %+v, %v, %v; want %d", v, c, present, err, want)
		}
	}
}

func TestScheduleTsRefuses(t *testing.T) {
	for v, text := range map[string]string{
		"": "has no value; write milliseconds",
		"1700000000": `"1700000000" looks like Unix seconds; write milliseconds (1700000000000), ` +
			"RFC 3339 with a zone, or 8 bytes big-endian",
		"1000000000":                        "looks like Unix seconds",
		"9999999999":                        "seconds; write milliseconds (9999999999000)",
		"0":                                 "early 1970",
		"00000000000000000000000000":        "early 1970",
		"5":                                 "early 1970",
		"12345678":                          "early 1970", // 8 digits are text, not a binary time.
		"999999999":                         "early 1970",
		"1700000000000000":                  "Unix microseconds",
		"1000000000000000":                  "Unix microseconds",
		"1700000000000000000":               "Unix nanoseconds",
		"99999999999999999999999":           "too large",
		"-1":                                `"-1" is negative`,
		"-1767225600000":                    "is negative",
		"1767225600000.5":                   "has a fraction",
		" 1767225600000":                    "has spaces around it",
		"1767225600000\n":                   "has spaces around it",
		"1_767_225_600_000":                 "is not a time",
		"1.7e12":                            "is not a time",
		"0x19b76a5a800":                     "is not a time",
		"2026-01-01T00:00:00":               "has no time zone",
		"2026-01-01T00:00:00.123":           "has no time zone",
		"2026-01-01":                        "is a date without a time",
		"2026-01-01 00:00:00Z":              "has a T between",
		"2026-01-01 00:00:00":               "has a T between",
		"2026-01-01T00:00:00+0100":          "is not a time",
		"2026-01-01T00:00:00 Europe/Berlin": "is not a time",
		"2026-01-01T00:00:00+01:00[Europe/Berlin]": "is not a time",
		"2026-02-29T00:00:00Z":                     "is not a time",
		"2026-01-01T24:00:00Z":                     "is not a time",
		"2026-01-01T3:04:05Z":                      "is not a time",
		"2026-01-01T00:00:00,5Z":                   "is not a time",
		"2026-01-01T00:00:00+24:00":                "is not a time",
		"2026-01-01T00:00:00+01:60":                "is not a time",
		"2026-01-01T00:00:00+1:00":                 "is not a time",
		"2026-01-01t00:00:00z":                     "is not a time",
		"2026-01-01T00:00:60Z":                     "is not a time",
		"0001-01-01T00:00:00Z":                     "as if the time were not set",
		"1970-01-01T00:00:00Z":                     "as if the time were not set",
		"Thu, 01 Jan 2026 00:00:00 GMT":            "is not a time",
		"90s":                                      "is a duration, which belongs in chronos-s",
		"PT15M":                                    "is a duration",
		"tomorrow":                                 `"tomorrow" is not a time`,
		"now":                                      "is not a time",
		bigEndian(0):                               "8 bytes big-endian, read as 0, would be",
		bigEndian(-1):                              "read as -1, is negative",
		bigEndian(1_700_000_000):                   "read as 1700000000, looks like Unix seconds",
		bigEndian(1_700_000_000_000_000):           "Unix microseconds",
		bigEndian(1_700_000_000_000_000_000):       "Unix nanoseconds",
		"\x00\x00\x01\x9b":                         "is not a time",
		"\xff\xfe":                                 `"\xff\xfe" is not a time`,
		strings.Repeat("9", 10_000):                `"... is too large`,
		strings.Repeat("x", 10_000):                `"... is not a time`,
	} {
		refused(t, HeaderScheduleTs, v, text)
	}
}

// refused checks the refusal of a value: its kind, header and sentence, and that the
// sentence is bounded, printable and says what to write.
func refused(t *testing.T, name, v, text string) {
	t.Helper()
	_, present, err := controlOf(t, ControlNames{}, Header{name, []byte(v)})
	ce := (*ControlError)(nil)
	if !errors.As(err, &ce) || !present || ce.Header != name || !strings.Contains(ce.Reason, text) {
		t.Errorf("%.80q: %v, want %q", v, err, text)
		return
	}
	if !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(ce.Reason, "; write ") {
		t.Errorf("%.80q: %q does not say what to write", v, err)
	}
	if len(err.Error()) > 500 || !isPrintable([]byte(err.Error())) {
		t.Errorf("%.80q: a sentence of %d bytes: %q", v, len(err.Error()), err)
	}
}

func TestScheduleDelayAccepts(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"0":                         0,
		"1":                         time.Millisecond,
		"1500":                      1500 * time.Millisecond,
		"0001500":                   1500 * time.Millisecond,
		"86400000":                  24 * time.Hour,
		"12345678":                  12_345_678 * time.Millisecond, // 8 digits are text here too.
		"999999999999":              999_999_999_999 * time.Millisecond,
		"0s":                        0,
		"90s":                       90 * time.Second,
		"+90s":                      90 * time.Second,
		"1h30m":                     90 * time.Minute,
		"1.5h":                      90 * time.Minute,
		"250ms":                     250 * time.Millisecond,
		"1us":                       time.Millisecond, // Rounded up: never early.
		"1ns":                       time.Millisecond,
		"1000001ns":                 2 * time.Millisecond,
		"-0s":                       0,
		"PT15M":                     15 * time.Minute,
		"P1DT2H":                    26 * time.Hour,
		"P1D":                       24 * time.Hour,
		"P2W":                       14 * 24 * time.Hour,
		"PT1H2M3S":                  time.Hour + 2*time.Minute + 3*time.Second,
		"PT0S":                      0,
		"PT0.5S":                    500 * time.Millisecond,
		"PT0,5S":                    500 * time.Millisecond,
		"PT1.0000001S":              1001 * time.Millisecond,
		"pt15m":                     15 * time.Minute, // Java prints upper case and reads both.
		"PT90S":                     90 * time.Second,
		"PT2562047H":                2_562_047 * time.Hour,
		"P1DT0H0M0S":                24 * time.Hour,
		"PT1.12345678901234567890S": 1124 * time.Millisecond,
	} {
		c, present, err := controlOf(t, ControlNames{}, Header{HeaderScheduleDelay, []byte(v)})
		if err != nil || !present || !reflect.DeepEqual(c, Control{HasDelay: true, Delay: want}) {
			t.Errorf("%q: %+v, %v, %v; want %v", v, c, present, err, want)
		}
	}
}

func TestScheduleDelayRefuses(t *testing.T) {
	for v, text := range map[string]string{
		"":                         "has no value; write milliseconds (like 1500)",
		"-1":                       `"-1" is negative`,
		"-5s":                      "is negative",
		"-PT5S":                    "is negative",
		"1.5":                      "has a fraction and no unit",
		" 90s":                     "has spaces around it",
		"90s ":                     "has spaces around it",
		"90 s":                     "is not a duration",
		"90sec":                    "is not a duration",
		"5 minutes":                "is not a duration",
		"1d":                       "has days, which are written P1D or in hours",
		"30d":                      "P30D",
		"1w":                       "is not a duration",
		"1700000000000":            "a point in time, which belongs in chronos-s",
		"1000000000000":            "looks like a point in time",
		"9999999999999999999999":   "too long",
		"300000h1ns1h300y":         "is not a duration",
		"2562048h":                 "is not a duration",
		"2026-01-01T00:00:00Z":     "is a point in time, which belongs in chronos-s",
		"P":                        "is not an ISO 8601 duration",
		"PT":                       "is not an ISO 8601 duration",
		"P1DT":                     "is not an ISO 8601 duration",
		"P1M":                      "has years or months",
		"P1Y":                      "has years or months",
		"P1Y2DT3H":                 "has years or months",
		"PT5":                      "is not an ISO 8601 duration",
		"PT5M5H":                   "is not an ISO 8601 duration",
		"PT5M5M":                   "is not an ISO 8601 duration",
		"PT1.5H":                   "is not an ISO 8601 duration",
		"PT.5S":                    "is not an ISO 8601 duration",
		"PT5.S":                    "is not an ISO 8601 duration",
		"PT-5S":                    "is not an ISO 8601 duration",
		"PTS":                      "is not an ISO 8601 duration",
		"P5H":                      "is not an ISO 8601 duration",
		"P99999999999999D":         "is not an ISO 8601 duration",
		"PT9999999999999999999S":   "is not an ISO 8601 duration",
		"PT2562047H99999999999S":   "is not an ISO 8601 duration",
		"2562047h47m16.854775807s": "is too long", // Rounding up would overflow.
		bigEndian(1500):            "is not a duration",
		strings.Repeat("1h", 99):   `"... is not a duration`,
	} {
		refused(t, HeaderScheduleDelay, v, text)
	}
}

func TestScheduleHeadersRefuse(t *testing.T) {
	ts := Header{HeaderScheduleTs, []byte("1767225600000")}
	delay := Header{HeaderScheduleDelay, []byte("5s")}
	own := Header{"due-at", []byte("1767225600000")}
	header := func(name string) Header { return Header{name, []byte("1767225600000")} }
	for _, c := range []struct {
		hs     []Header
		header string
		text   string
	}{
		{[]Header{ts, ts}, HeaderScheduleTs, "twice"},
		{[]Header{delay, ts, delay}, HeaderScheduleTs, "comes with chronos-schedule-delay; write one of the two"},
		{[]Header{delay, delay}, HeaderScheduleDelay, "twice"},
		{[]Header{ts, delay}, HeaderScheduleDelay, "one of the two"},
		{[]Header{delay, ts}, HeaderScheduleTs, "one of the two"},
		{[]Header{own, ts}, HeaderScheduleTs, "twice"},
		{[]Header{own, delay}, HeaderScheduleDelay, "comes with due-at; write one of the two"},
		{[]Header{{HeaderScheduleTs, nil}}, HeaderScheduleTs, "no value"},
		{[]Header{{HeaderScheduleDelay, nil}}, HeaderScheduleDelay, "no value"},
		{
			[]Header{header("chronos-schedule-at")},
			"chronos-schedule-at",
			"not a known header; write chronos-schedule-ts",
		},
		{[]Header{header("chronos-schedule-")}, "chronos-schedule-", "not a known header"},
		{[]Header{header("chronos-schedule-TS")}, "chronos-schedule-TS", "not a known header"},
		{[]Header{header("chronos-schedule-\n")}, `"chronos-schedule-\n"`, "not a known header"},
	} {
		_, present, err := controlOf(t, ControlNames{Ts: "due-at"}, c.hs...)
		ce := (*ControlError)(nil)
		if !present || !errors.As(err, &ce) || ce.Header != c.header ||
			!strings.Contains(ce.Reason, c.text) {
			t.Errorf("%q: %v, want %s: %s", c.hs, err, c.header, c.text)
		}
	}
}

func TestPlainHeadersScheduleNothing(t *testing.T) {
	hs := []Header{
		{"", nil},
		{"c", []byte("x")},
		{"Chronos-Schedule-Ts", []byte("1767225600000")},
		{"chronos-schedule", []byte("x")},
		{HeaderScheduledFor, []byte("x")},
		{HeaderCreatedAt, nil},
		{HeaderPosition, []byte("1.2.3")},
		{"due-at", []byte("nonsense")},
	}
	c, present, err := controlOf(t, ControlNames{}, hs...)
	if present || err != nil || !reflect.DeepEqual(c, Control{}) {
		t.Errorf("%+v, %v, %v", c, present, err)
	}
}

func TestTopicsOwnHeaderIsATime(t *testing.T) {
	names := ControlNames{Ts: "due-at"}
	c, present, err := controlOf(t, names, Header{"due-at", []byte("1767225600000")})
	if err != nil || !present || !reflect.DeepEqual(c, Control{HasTs: true, Due: 1_767_225_600_000}) {
		t.Errorf("%+v, %v, %v", c, present, err)
	}
	_, _, err = controlOf(t, names, Header{"due-at", []byte("soon")})
	if ce := (*ControlError)(nil); !errors.As(err, &ce) || ce.Header != "due-at" {
		t.Errorf("a bad value: %v", err)
	}
}

func TestDueAt(t *testing.T) {
	for _, c := range []struct {
		c    Control
		want UnixMs
	}{
		{Control{HasTs: true, Due: 700}, 700},
		{Control{HasTs: true, Due: 9000}, 9000},
		{Control{HasDelay: true, Delay: 250 * time.Millisecond}, 1250},
		{Control{HasDelay: true}, 1000},
		{Control{}, 1000},
		{Control{Every: 250 * time.Millisecond}, 1250},
		{Control{Every: 250 * time.Millisecond, HasDelay: true}, 1000},
		{Control{Every: 250 * time.Millisecond, HasTs: true, Due: 7}, 7},
		{Control{HasDelay: true, Delay: math.MaxInt64}, 1000 + math.MaxInt64/1_000_000 + 1},
	} {
		if got := c.c.DueAt(1000); got != c.want {
			t.Errorf("%+v at 1000 is due at %d, want %d", c.c, got, c.want)
		}
	}
}

func TestParseControlAllocatesNothing(t *testing.T) {
	b := NewBuilder(BuilderOptions{})
	for _, h := range []Header{
		{HeaderScheduleTs, []byte("1767225600000")},
		{HeaderScheduleTs, []byte(bigEndian(1_767_225_600_000))},
		{HeaderScheduleTs, []byte("2026-01-01T00:00:00Z")},
		{HeaderScheduleDelay, []byte("1500")},
		{HeaderScheduleID, []byte("order-7")},
		{HeaderScheduleCancel, []byte("order-7")},
		{HeaderScheduleCron, []byte("30 9 * * MON-FRI")},
		{HeaderScheduleEvery, []byte("60000")},
		{HeaderMessageID, []byte("m-1")},
	} {
		if err := b.Append(RecordFields{Headers: []Header{{"trace", nil}, h}}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := readAll(out, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range recs {
		got := testing.AllocsPerRun(100, func() {
			if _, _, err := ParseControl(r, ControlNames{}); err != nil {
				t.Fatal(err)
			}
		})
		if got > 0 {
			t.Errorf("record %d: %v allocations", i, got)
		}
	}
}

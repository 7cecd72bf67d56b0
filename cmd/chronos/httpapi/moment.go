package httpapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/chronosdb/chronosdb/timer"
)

// The range of points in time that are taken. Below it a number is Unix seconds or nothing at all,
// above it a time has no RFC 3339 form.
const (
	momentMin = 10_000_000_000
	momentMax = 253_402_300_799_999 // the end of the year 9999
)

// textTime is how times are shown: RFC 3339 in UTC, to the millisecond.
const textTime = "2006-01-02T15:04:05.000Z"

// ParseMoment reads a point in time: Unix milliseconds in decimal, or RFC 3339 with a zone. A
// fraction of a millisecond rounds up, as nothing is ever early.
func ParseMoment(text string) (timer.UnixMs, error) {
	if text != "" && strings.Trim(text, "0123456789") == "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || ms > momentMax:
			return 0, invalidf("%.40q is too large for Unix milliseconds", text)
		case ms < momentMin:
			return 0, invalidf("%q is no plausible time in Unix milliseconds; seconds have ten digits, "+
				"milliseconds thirteen", text)
		}
		return timer.UnixMs(ms), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || strings.Contains(text, ",") {
		return 0, invalidf("%.40q is no time; write Unix milliseconds, such as 1767225600000, or "+
			"RFC 3339 with a zone, such as 2026-01-01T00:00:00Z", text)
	}
	ms := t.Add(time.Millisecond - time.Nanosecond).UnixMilli()
	if ms < momentMin || ms > momentMax {
		return 0, invalidf("%q is no plausible time", text)
	}
	return timer.UnixMs(ms), nil
}

// FormatMoment writes what ParseMoment reads; empty beyond the year 9999, which a record may be due
// in, but has no such text.
func FormatMoment(ms timer.UnixMs) string {
	if ms > momentMax {
		return ""
	}
	return ms.Time().Format(textTime)
}

// moment is a point in time in a body: a number of Unix milliseconds or a text.
type moment timer.UnixMs

// UnmarshalJSON takes both forms.
func (m *moment) UnmarshalJSON(data []byte) error {
	text := string(data)
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	ms, err := ParseMoment(text)
	*m = moment(ms)
	return err
}

package httpapi_test

import (
	"testing"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/timer"
)

func TestMoments(t *testing.T) {
	const never = -1
	for text, want := range map[string]timer.UnixMs{
		"1795539600000":                 1795539600000,
		"10000000000":                   10000000000,
		"9999999999":                    never, // seconds
		"253402300799999":               253402300799999,
		"253402300800000":               never,
		"99999999999999999999":          never,
		"-1795539600000":                never,
		"+1795539600000":                never,
		"2026-11-24T17:00:00Z":          1795539600000,
		"2026-11-24T18:00:00+01:00":     1795539600000,
		"2026-11-24T17:00:00.0000001Z":  1795539600001, // never early
		"2026-11-24T17:00:00.001Z":      1795539600001,
		"2026-11-24T17:00:00.0010001Z":  1795539600002,
		"2026-11-24T17:00:00":           never,
		"2026-11-24 17:00:00Z":          never,
		"2026-02-30T17:00:00Z":          never,
		"1970-01-01T00:00:00Z":          never,
		"9999-12-31T23:59:59.999Z":      253402300799999,
		"9999-12-31T23:59:59.9999Z":     never,
		"9999-12-31T23:59:59.999-01:00": never,
		"":                              never,
		"tomorrow":                      never,
	} {
		got, err := httpapi.ParseMoment(text)
		if (err != nil) != (want == never) || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if err != nil {
			continue
		}
		if again, err := httpapi.ParseMoment(httpapi.FormatMoment(got)); err != nil || again != got {
			t.Errorf("%q: %d is written %q, which is %d, %v", text, got, httpapi.FormatMoment(got), again, err)
		}
	}
}

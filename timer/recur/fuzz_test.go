package recur

import (
	"errors"
	"testing"
	"time"
)

// FuzzParse feeds texts and zones to Parse. A refusal must be a sentence; what is taken must have
// occurrences that rise, match what the clock shows, and never lie further apart than 8 years.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"* * * * *", "0 30 9 * * MON-FRI", "*/15 0-6,22-2 1,15 JAN-MAR/2 ?", "0 0 29 2 *", "0 0 30 2 *",
		"@hourly", "@every 1s", "TZ=UTC * * * * *", "5/20 */3 31 */5 FRI-MON", "1,,2 * * * *", "*-5 * * * *",
	} {
		f.Add(seed, "Europe/Berlin", int64(1_774_745_999_000))
	}
	f.Add("30 0 * * *", "America/Sao_Paulo", int64(1_541_300_399_999))
	f.Add("0 0 * * *", "../UTC", int64(-1))
	f.Add("0 0 * * *", "Pacific/Apia", int64(1<<63-1))
	f.Fuzz(func(t *testing.T, text, zone string, after int64) {
		c, err := Parse(text, zone)
		if err != nil {
			e := (*Error)(nil)
			if !errors.As(err, &e) {
				t.Fatalf("an error of another kind: %v", err)
			}
			checkSentence(t, e)
			return
		}
		at := UnixMs(after)
		for range 8 {
			next, ok := c.Next(at)
			if !ok {
				if at < lastMs-10*366*86_400_000 {
					t.Errorf("%q in %q: none after %d", text, zone, at)
				}
				return
			}
			if next <= at || next%1000 != 0 {
				t.Fatalf("%q in %q: %d after %d", text, zone, next, at)
			}
			if at > firstMs && next-at > 8*366*86_400_000 {
				t.Errorf("%q in %q: %d after %d is too far", text, zone, next, at)
			}
			shown := next.Time().In(c.zone)
			if _, isStart := spanStart(shown); c.rhythm && !isStart && c.hours>>shown.Hour()&1 == 0 {
				t.Errorf("%q in %q: %v", text, zone, shown)
			}
			at = next
		}
	})
}

// spanStart returns when a zone's offset began to be what it is, and whether that is now.
func spanStart(at time.Time) (start time.Time, isNow bool) {
	start, _ = at.ZoneBounds()
	return start, start.Equal(at)
}

package recur

import (
	"math"
	"testing"
	"time"
)

func TestEvery(t *testing.T) {
	const s = Every(time.Second)
	for _, c := range []struct {
		every     Every
		prev, now UnixMs
		want      UnixMs
		ok        bool
	}{
		{s, 5000, 5000, 6000, true},
		{s, 5000, 0, 6000, true}, // The clock stepped back.
		{s, 5000, 5003, 6000, true},
		{s, 5000, 5999, 6000, true},
		{s, 5000, 6000, 7000, true},
		{s, 5000, 86_405_001, 86_406_000, true},
		{s, -1500, -1400, -500, true},
		{Every(90 * time.Minute), 7, 5_400_006, 5_400_007, true},
		{Every(90 * time.Minute), 7, 5_400_007, 10_800_007, true},
		{Every(1_999_999), 0, 0, 1, true}, // A fraction of a millisecond does not count.
		{Every(math.MaxInt64), 0, 0, 9_223_372_036_854, true},
		{s, lastMs - 1000, 0, lastMs, true},
		{s, lastMs - 999, 0, 0, false},
		{s, 0, lastMs - 999, 0, false},
		{s, 0, math.MaxInt64, 0, false},
		{s, math.MinInt64, 0, 0, false},
		{0, 5000, 5000, 0, false},
		{Every(999_999), 5000, 5000, 0, false},
		{-s, 5000, 5000, 0, false},
	} {
		got, ok := c.every.NextAfterDelivery(c.prev, c.now)
		if got != c.want || ok != c.ok {
			t.Errorf("every %v, %d delivered at %d: %d, %v; want %d, %v",
				time.Duration(c.every), c.prev, c.now, got, ok, c.want, c.ok)
		}
		if next, ok := c.every.Next(c.prev); ok && next != c.prev+UnixMs(time.Duration(c.every).Milliseconds()) {
			t.Errorf("every %v after %d: %d", time.Duration(c.every), c.prev, next)
		}
	}
}

func TestCronAfterAnOutage(t *testing.T) {
	c := parse(t, "0 * * * *", "Europe/Berlin")
	one, day := ms(t, "2026-03-28T13:00:00Z"), UnixMs(86_400_000)
	for _, at := range []struct{ now, want UnixMs }{
		{one, one + 3_600_000},
		{one + 2, one + 3_600_000},
		{one - day, one + 3_600_000}, // The clock stepped back: nothing comes twice.
		{one + 3_600_000, one + 7_200_000},
		{one + day + 5*60_000, one + day + 3_600_000},
	} {
		if got, ok := c.NextAfterDelivery(one, at.now); !ok || got != at.want {
			t.Errorf("delivered at %d: %d, %v; want %d", at.now, got, ok, at.want)
		}
	}
}

package recur

import "testing"

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct{ name, text, zone string }{
		{"minutes", "* * * * *", "Europe/Berlin"},
		{"daily", "30 9 * * *", "Europe/Berlin"},
		{"daily-utc", "30 9 * * *", ""},
		{"monthly", "0 0 31 * *", "America/New_York"},
		{"leap", "0 0 29 2 *", "Europe/Berlin"},
		{"leap-rhythm", "30 */12 29 2 *", "Europe/Berlin"},
	} {
		b.Run(c.name, func(b *testing.B) {
			cron := parse(b, c.text, c.zone)
			start := ms(b, "2026-03-28T00:00:00Z")
			at := start
			b.ReportAllocs()
			for b.Loop() {
				next, ok := cron.Next(at)
				if !ok || next > start+400*366*86_400_000 {
					next = start
				}
				at = next
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("*/15 9-17 * * MON-FRI", "Europe/Berlin"); err != nil {
			b.Fatal(err)
		}
	}
}

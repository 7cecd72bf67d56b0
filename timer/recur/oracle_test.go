package recur

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The oracle knows nothing of bit sets and spans. It looks at each minute (or second) of some days,
// asks package time what the clock shows, and applies the rules word by word.

var oracleSeed = flag.Uint64("recur.seed", 0, "the seed of TestNextAgainstTheOracle")

// field is one field of a random cron: its text and what it means.
type field struct {
	text string
	any  bool // any is "*" or "?"
	wild bool // wild is any, or "*/n"
	has  map[int]bool
}

// randomField makes a field of values from low to high.
func randomField(rng *rand.Rand, low, high int) field {
	f := field{has: make(map[int]bool)}
	add := func(from, to, step int) {
		for v := from; v <= to; v += step {
			f.has[v] = true
		}
	}
	size := high - low + 1
	switch rng.IntN(5) {
	case 0:
		return everyValue(low, high)
	case 1:
		step := 1 + rng.IntN(size-1)
		f.text, f.any, f.wild = fmt.Sprintf("*/%d", step), step == 1, true
		add(low, high, step)
	default:
		var items []string
		for range 1 + rng.IntN(3) {
			from := low + rng.IntN(size)
			to := from + rng.IntN(high-from+1)
			switch rng.IntN(3) {
			case 0:
				items = append(items, fmt.Sprint(from))
				add(from, from, 1)
			case 1:
				items = append(items, fmt.Sprintf("%d-%d", from, to))
				add(from, to, 1)
			case 2:
				step := 1 + rng.IntN(max(1, to-from))
				items = append(items, fmt.Sprintf("%d-%d/%d", from, to, step))
				add(from, to, step)
			}
		}
		f.text = strings.Join(items, ",")
	}
	return f
}

// everyValue makes the field "*".
func everyValue(low, high int) field {
	f := field{text: "*", any: true, wild: true, has: make(map[int]bool)}
	for v := low; v <= high; v++ {
		f.has[v] = true
	}
	return f
}

// randomCron is a cron whose days come often, so that a few days have some.
type randomCron struct {
	text                                      string
	second, minute, hour, day, month, weekday field
}

func newRandomCron(rng *rand.Rand, seconds bool) randomCron {
	c := randomCron{
		second: field{has: map[int]bool{0: true}},
		minute: randomField(rng, 0, 59), hour: randomField(rng, 0, 23),
		day: randomField(rng, 1, 31), month: everyValue(1, 12), weekday: randomField(rng, 0, 6),
	}
	if rng.IntN(2) == 0 {
		c.hour = field{text: "0-3,22,23", has: map[int]bool{0: true, 1: true, 2: true, 3: true, 22: true, 23: true}}
	}
	if rng.IntN(4) > 0 {
		c.day = everyValue(1, 31)
	}
	if rng.IntN(4) > 0 {
		c.weekday = everyValue(0, 6)
	}
	fields := []string{c.minute.text, c.hour.text, c.day.text, c.month.text, c.weekday.text}
	if seconds {
		c.second = randomField(rng, 0, 59)
		fields = slices.Insert(fields, 0, c.second.text)
	}
	c.text = strings.Join(fields, " ")
	return c
}

// matches says whether what a clock shows matches.
func (c *randomCron) matches(shown time.Time) bool {
	byDay, byWeekday := c.day.has[shown.Day()], c.weekday.has[int(shown.Weekday())]
	today := byDay && byWeekday
	if !c.day.any && !c.weekday.any {
		today = byDay || byWeekday
	}
	return today && c.month.has[int(shown.Month())] && c.hour.has[shown.Hour()] &&
		c.minute.has[shown.Minute()] && c.second.has[shown.Second()]
}

// naive returns the occurrences in [from, to), which has to begin and end far from any change of
// the clock, looking at each step.
func (c *randomCron) naive(zone *time.Location, from, to time.Time, step time.Duration) (out []UnixMs) {
	if c.hour.wild {
		for at := from; at.Before(to); at = at.Add(step) {
			if c.matches(at.In(zone)) {
				out = append(out, UnixMs(at.UnixMilli()))
			}
		}
		return out
	}
	onWall := func(at time.Time) time.Time { // As a time in UTC, so that walls can be compared.
		_, offset := at.In(zone).Zone()
		return at.Add(time.Duration(offset) * time.Second).UTC()
	}
	firstShown := make(map[time.Time]time.Time)
	type gap struct{ from, to, end time.Time } // [from, to) is skipped at the instant end
	var gaps []gap
	for at := from; at.Before(to); at = at.Add(step) {
		shown, before := onWall(at), onWall(at.Add(-step))
		if _, seen := firstShown[shown]; !seen {
			firstShown[shown] = at
		}
		if expected := before.Add(step); shown.After(expected) {
			gaps = append(gaps, gap{expected, shown, at})
		}
	}
	for w := onWall(from); w.Before(onWall(to)); w = w.Add(step) {
		if !c.matches(w) {
			continue
		}
		if at, ok := firstShown[w]; ok {
			out = append(out, UnixMs(at.UnixMilli()))
			continue
		}
		for _, g := range gaps {
			if !w.Before(g.from) && w.Before(g.to) {
				out = append(out, UnixMs(g.end.UnixMilli()))
			}
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return slices.Compact(out)
}

var oracleZones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/St_Johns",
	"America/Sao_Paulo", "America/Santiago", "America/Havana", "America/Caracas", "America/Adak",
	"America/Scoresbysund", "Australia/Lord_Howe", "Australia/Adelaide", "Africa/Cairo", "Africa/Casablanca",
	"Asia/Tehran", "Asia/Kathmandu", "Asia/Gaza", "Asia/Pyongyang", "Pacific/Apia", "Pacific/Chatham",
	"Pacific/Kwajalein", "Pacific/Norfolk", "Antarctica/Troll", "Etc/GMT+12",
}

// randomWindow returns an instant near a change of a zone's clock if it finds one, and else any.
func randomWindow(rng *rand.Rand, zone *time.Location) time.Time {
	at := time.Date(1975+rng.IntN(80), time.Month(1+rng.IntN(12)), 1+rng.IntN(28), rng.IntN(24), 0, 0, 0, time.UTC)
	if _, end := at.In(zone).ZoneBounds(); rng.IntN(8) > 0 && !end.IsZero() && end.Year() < 2100 {
		return end.UTC().Truncate(time.Hour) // Some ends are that of a table, not a change.
	}
	return at
}

// farFromChanges moves an instant in steps until no clock has changed for the time of a step
// before.
func farFromChanges(zone *time.Location, at time.Time, step time.Duration) time.Time {
	offset := func(at time.Time) int {
		_, offset := at.In(zone).Zone()
		return offset
	}
	for offset(at) != offset(at.Add(-step.Abs())) {
		at = at.Add(step)
	}
	return at
}

func TestNextAgainstTheOracle(t *testing.T) {
	seed := cmp.Or(*oracleSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	rounds, found := 200, 0
	if testing.Short() {
		rounds = 60
	}
	for round := range rounds {
		name := oracleZones[rng.IntN(len(oracleZones))]
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		step, half := time.Minute, 4*24*time.Hour
		if round%10 == 0 {
			step, half = time.Second, 5*time.Hour
		}
		cron := newRandomCron(rng, step == time.Second)
		middle := randomWindow(rng, zone)
		from := farFromChanges(zone, middle.Add(-half), -half/2)
		to := farFromChanges(zone, middle.Add(half), half/2)
		want := cron.naive(zone, from, to, step)
		found += len(want)
		c := parse(t, cron.text, name)
		checkRun(t, c, want, UnixMs(from.UnixMilli()), UnixMs(to.UnixMilli()))
		for range 20 { // From instants that are no occurrences, too.
			after := UnixMs(from.UnixMilli()) + UnixMs(rng.Int64N(to.UnixMilli()-from.UnixMilli()))
			i, at := slices.BinarySearch(want, after)
			if at {
				i++
			}
			if got, ok := c.Next(after); i < len(want) && (!ok || got != want[i]) {
				t.Errorf("after %v: %v, want %v", after.Time(), got.Time(), want[i].Time())
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d: %q in %s around %v", seed, round, cron.text, name, middle)
		}
	}
	if found < 100*rounds {
		t.Errorf("only %d occurrences in %d rounds: the test looks at nothing", found, rounds)
	}
}

// checkRun follows a cron from one instant to another.
func checkRun(t *testing.T, c Cron, want []UnixMs, from, to UnixMs) {
	t.Helper()
	after := from - 1
	for _, w := range want {
		got, ok := c.Next(after)
		if !ok || got != w {
			t.Errorf("after %v: %v, %v; want %v", after.Time(), got.Time(), ok, w.Time())
			return
		}
		after = got
	}
	if got, ok := c.Next(after); ok && got < to {
		t.Errorf("after %v: %v, want none before %v", after.Time(), got.Time(), to.Time())
	}
}

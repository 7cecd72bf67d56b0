package recur

import (
	"strings"
	"time"

	cron "github.com/netresearch/go-cron"
)

// Cron is a cron in a time zone. The zero value has no occurrence.
type Cron struct {
	// The values that match, each as the bit of its number. Sunday is bit 0.
	seconds, minutes uint64
	hours            uint32
	days             uint32
	months           uint16
	weekdays         uint8

	anyDay, anyWeekday bool // the day of the month or of the week is "*"
	// rhythm says that the hours are a wildcard, so that an occurrence is whenever the clock shows
	// a time that matches; else each local time comes once for each date.
	rhythm bool
	zone   *time.Location
}

// grammar reads fields into bit sets. Its schedule is not used: it would skip times and show them
// twice where a clock changes.
var grammar = cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom |
	cron.Month | cron.Dow | cron.Descriptor)

// star is the bit by which the parser marks a field that is "*".
const star = 1 << 63

// Parse reads a cron and the name of its zone; no name is UTC. The error is an *Error.
func Parse(text, zone string) (Cron, error) {
	fields, mistake := splitText(text)
	if mistake != "" {
		return Cron{}, &Error{Reason: quoted(text) + mistake}
	}
	parsed, err := grammar.Parse(strings.Join(fields, " "))
	if err != nil {
		return Cron{}, &Error{Reason: quoted(text) + " is not a cron (" + shown(err) + ")" + wantCron}
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok { // splitText has refused what is none.
		return Cron{}, &Error{Reason: quoted(text) + " is not a cron" + wantCron}
	}
	c := Cron{
		seconds:    spec.Second &^ star,
		minutes:    spec.Minute &^ star,
		hours:      uint32(spec.Hour &^ star),
		days:       uint32(spec.Dom &^ star),
		months:     uint16(spec.Month &^ star),
		weekdays:   uint8(spec.Dow &^ star),
		anyDay:     spec.Dom&star != 0,
		anyWeekday: spec.Dow&star != 0,
		rhythm:     spec.Hour&star != 0,
	}
	if len(fields) >= minFields {
		c.rhythm = isWildcard(fields[len(fields)-hourFromEnd]) // The parser forgets it for "*/2".
	}
	if mistake := c.neverComes(); mistake != "" {
		return Cron{}, &Error{Reason: quoted(text) + mistake}
	}
	c.zone, err = zoneOf(zone)
	if err != nil {
		return Cron{}, err
	}
	return c, nil
}

// neverComes says why no date matches: all of them would have to be a day that none of the cron's
// months has. Everything else comes within 8 years, the longest time without a 29 February.
func (c *Cron) neverComes() string {
	if !c.anyWeekday && !c.anyDay {
		return "" // Each week has a day that matches.
	}
	longest := uint32(0)
	for month := 1; month <= 12; month++ {
		if c.months>>month&1 != 0 {
			longest |= uint32(1)<<(daysIn[month-1]+1) - 2
		}
	}
	if c.days&longest != 0 {
		return ""
	}
	return " never comes, because none of its months has such a day; write a day that one has"
}

// daysIn are the lengths of the months of a leap year.
var daysIn = [12]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

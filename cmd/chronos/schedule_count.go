package main

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
)

// counts prints how much is pending in each partition, and in all.
func (p *schedulePrinter) counts(c httpapi.Counts) error {
	if p.json {
		return p.object(c)
	}
	rows := [][]string{{"TOPIC", "PARTITION", "PENDING", "NEXT DUE", "IN", "DELIVERIES"}}
	for _, one := range c.Partitions {
		row := []string{
			one.Topic, strconv.Itoa(int(one.Partition)), strconv.FormatInt(one.Pending, 10), "", "", "",
		}
		if one.Pending > 0 {
			row[3], row[4] = moment(one.NextDueMs), p.distance(one.NextDueMs)
		}
		if one.Paused {
			row[5] = "paused"
		}
		rows = append(rows, row)
	}
	if c.More {
		rows = append(rows, []string{"…"})
	}
	return p.table(append(rows, []string{"all", "", strconv.FormatInt(c.Pending, 10)}))
}

// histogram prints how much is due how soon.
func (p *schedulePrinter) histogram(h httpapi.Histogram) error {
	if p.json {
		return p.object(h)
	}
	rows := [][]string{{"DUE WITHIN", "PENDING"}}
	for _, b := range h.Buckets {
		within := "later"
		switch {
		case b.WithinMs == nil:
		case *b.WithinMs == 0:
			within = overdue
		default:
			within = shortDuration(time.Duration(*b.WithinMs) * time.Millisecond)
		}
		rows = append(rows, []string{within, strconv.FormatInt(b.Pending, 10)})
	}
	return p.table(rows)
}

// safeLines shows a text with what a terminal would obey made visible.
func safeLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

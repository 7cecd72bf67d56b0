package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// cellRunesMax bounds what a table shows of one key or id.
const cellRunesMax = 32

// schedulePrinter prints answers: tables for a person, or one JSON object a line.
type schedulePrinter struct {
	out  io.Writer
	json bool
	now  clock.UnixMs
}

// object prints one JSON object.
func (p *schedulePrinter) object(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// sentence prints an answer as JSON, or as a sentence for a person.
func (p *schedulePrinter) sentence(value any, format string, args ...any) error {
	if p.json {
		return p.object(value)
	}
	_, err := fmt.Fprintf(p.out, format+"\n", args...)
	return err
}

// table prints rows in columns of equal width.
func (p *schedulePrinter) table(rows [][]string) error {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(p.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// overdue is what stands for how far away a time is when that has passed.
const overdue = "overdue"

// distance says how far away a time is, coarser the farther.
func (p *schedulePrinter) distance(at clock.UnixMs) string {
	d := at.Sub(p.now)
	switch {
	case d < 0:
		return overdue
	case d < time.Second:
		return d.String()
	case d < 24*time.Hour:
		return shortDuration(d.Truncate(time.Second))
	default:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
}

// cell shows bytes of a client in a table: briefly.
func cell(text, base64 *string) string { return shortened(visible(text, base64)) }

// visible shows bytes of a client so that they do nothing to a terminal.
func visible(text, base64 *string) string {
	switch {
	case base64 != nil:
		return "base64:" + *base64
	case text == nil:
		return ""
	case *text == "" || strings.ContainsFunc(*text, oddRune):
		return strconv.Quote(*text)
	default:
		return *text
	}
}

// oddRune tells what cannot stand in a table as it is.
func oddRune(r rune) bool { return !unicode.IsGraphic(r) || r == '"' }

func shortened(text string) string {
	runes := []rune(text)
	if len(runes) <= cellRunesMax {
		return text
	}
	return string(runes[:cellRunesMax-1]) + "…"
}

// recurs says in one cell when a record comes again.
func recurs(r *httpapi.Recurrence) string {
	if r == nil {
		return ""
	}
	text := "every " + shortDuration(time.Duration(r.EveryMs)*time.Millisecond)
	if r.Cron != "" {
		text = strings.TrimSpace(visible(&r.Cron, nil) + " " + r.Tz)
	}
	if r.Count > 0 {
		text += fmt.Sprintf(", %d times", r.Count)
	}
	if r.UntilMs > 0 {
		text += ", until " + moment(r.UntilMs)
	}
	return text
}

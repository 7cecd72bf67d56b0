package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints aligned rows under a title.
type table struct {
	title string
	rows  [][]string
	notes []string // printed below it
}

func newTable(title string, columns ...string) *table {
	return &table{title: title, rows: [][]string{columns}}
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// note adds a sentence below the table.
func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// print writes a table, as Markdown if that was asked for.
func (b *bench) print(t *table) {
	if b.markdown {
		t.printMarkdown(b.out)
		return
	}
	t.printPlain(b.out)
}

func (t *table) printMarkdown(out io.Writer) {
	fmt.Fprintf(out, "\n**%s**\n\n", t.title)
	for i, row := range t.rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	for _, note := range t.notes {
		fmt.Fprintf(out, "\n%s\n", note)
	}
}

func (t *table) printPlain(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", t.title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // writes to a terminal or a file; a lost table is seen
	for _, note := range t.notes {
		fmt.Fprintf(out, "  %s\n", note)
	}
}

// floor is a figure that must not be fallen below, as design.md section 7 or an issue states it.
type floor struct {
	what string
	got  string
	met  bool
}

func (b *bench) addFloor(met bool, what, format string, args ...any) {
	b.floors = append(b.floors, floor{what: what, got: fmt.Sprintf(format, args...), met: met})
}

func (b *bench) printFloors() {
	if len(b.floors) == 0 {
		return
	}
	t := newTable("Floors", "floor", "measured", "")
	for _, f := range b.floors {
		verdict := "met"
		if !f.met {
			verdict = "MISSED"
		}
		t.add(f.what, f.got, verdict)
	}
	b.print(t)
}

// Cells.

func count(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.0f k", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

// bytesOf names a size as people do.
func bytesOf(n int) string {
	if n >= 1024 && n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d B", n)
}

func partitionCount(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return fmt.Sprintf("%d partitions", n)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func megabytes(bytes float64) string { return fmt.Sprintf("%.0f MB", bytes/1e6) }

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func micros(d time.Duration, per float64) string {
	if per == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f us", float64(d.Nanoseconds())/1e3/per)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1e3) }

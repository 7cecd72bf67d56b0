package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// dumpField is one figure of a line.
type dumpField struct {
	name  string
	value any // a number, a string, a bool, json.RawMessage or dumpPairs
}

// dumpPairs are a record's headers. Their names are the client's: they hold anything, and one may
// stand twice.
type dumpPairs []dumpField

// dumpLine is one thing that a dump shows: in text a line of its kind and name=value, in JSON an
// object with the kind under "kind".
type dumpLine struct {
	kind   string
	depth  int // how far a line of text is indented
	fields []dumpField
}

// kv is a field.
func kv(name string, value any) dumpField { return dumpField{name, value} }

// dumpWriter prints lines in one of the two formats.
type dumpWriter struct {
	out  io.Writer
	json bool
}

func (w *dumpWriter) line(l dumpLine) error {
	var text []byte
	if w.json {
		text = appendObject(nil, append([]dumpField{kv("kind", l.kind)}, l.fields...))
	} else {
		text = append(text, strings.Repeat("  ", l.depth)+l.kind...)
		for _, field := range l.fields {
			text = appendText(text, field)
		}
	}
	if _, err := w.out.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("%w: %w", errDumpWrite, err)
	}
	return nil
}

// errDumpWrite is wrapped by what the output refuses, which is no damage of a file.
var errDumpWrite = errors.New("cannot print")

// finding prints what is wrong somewhere.
func (w *dumpWriter) finding(found log.Finding) error {
	return w.line(dumpLine{kind: found.Grade.String(), fields: []dumpField{
		kv("file", found.File), kv("byte", found.Position), kv("what", found.Err.Error()),
	}})
}

// appendObject appends the fields as a JSON object in their order.
func appendObject(p []byte, fields []dumpField) []byte {
	p = append(p, '{')
	for i, field := range fields {
		if i > 0 {
			p = append(p, ',')
		}
		p = append(appendJSON(p, field.name), ':')
		if pairs, ok := field.value.(dumpPairs); ok {
			p = appendPairs(p, pairs)
		} else {
			p = appendJSON(p, field.value)
		}
	}
	return append(p, '}')
}

// appendPairs appends the pairs as a JSON array of objects with key and value.
func appendPairs(p []byte, pairs dumpPairs) []byte {
	p = append(p, '[')
	for i, pair := range pairs {
		if i > 0 {
			p = append(p, ',')
		}
		p = appendObject(p, []dumpField{kv("key", pair.name), kv("value", pair.value)})
	}
	return append(p, ']')
}

func appendJSON(p []byte, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil { // a value that JSON cannot hold is shown all the same
		text, _ = json.Marshal(fmt.Sprint(value))
	}
	return append(p, text...)
}

// appendText appends " name=value". A true is its name alone, a false nothing.
func appendText(p []byte, field dumpField) []byte {
	switch value := field.value.(type) {
	case bool:
		if value {
			p = append(append(p, ' '), field.name...)
		}
		return p
	case string:
		return fmt.Appendf(p, " %s=%s", field.name, quoteIfNeeded(value))
	case nil:
		return fmt.Appendf(p, " %s=null", field.name)
	case json.RawMessage:
		return fmt.Appendf(p, " %s=%s", field.name, value)
	case dumpPairs:
		p = fmt.Appendf(p, " %s={", field.name)
		inner := []byte(nil)
		for _, one := range value {
			inner = appendText(inner, kv(quoteIfNeeded(one.name), one.value))
		}
		return append(append(p, strings.TrimPrefix(string(inner), " ")...), '}')
	default:
		return fmt.Appendf(p, " %s=%v", field.name, value)
	}
}

// quoteIfNeeded quotes what could not be told from the fields around it.
func quoteIfNeeded(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`"={}`, r)
	})
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// moment is a time in milliseconds as text; one that was not set is "-".
func moment(ms clock.UnixMs) string {
	if ms < 0 {
		return "-"
	}
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05.000Z")
}

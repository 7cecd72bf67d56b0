package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestDumpOfHeaders: a client chooses their names, so they must not look like other lines or
// fields, and none may hide another one of its name.
func TestDumpOfHeaders(t *testing.T) {
	l := dumpLine{kind: "record", fields: []dumpField{kv("offset", 7), kv("headers", dumpPairs{
		kv("a", "1"), kv("a", "2"), kv("x=1} \ndamage file", nil), kv("", "empty"),
	})}}
	for asJSON, want := range map[bool]string{
		true: `{"kind":"record","offset":7,"headers":[{"key":"a","value":"1"},{"key":"a","value":"2"},` +
			`{"key":"x=1} \ndamage file","value":null},{"key":"","value":"empty"}]}` + "\n",
		false: `record offset=7 headers={a=1 a=2 "x=1} \ndamage file"=null ""=empty}` + "\n",
	} {
		var out bytes.Buffer
		if err := (&dumpWriter{out: &out, json: asJSON}).line(l); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want || asJSON && !json.Valid(out.Bytes()) {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

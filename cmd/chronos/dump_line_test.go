package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
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

// TestDumpOfADeleteHorizon: compaction keeps it in the place of the first record's time.
func TestDumpOfADeleteHorizon(t *testing.T) {
	builder := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: 1000}.NoProducer())
	if err := builder.Append(batch.RecordFields{TimestampMs: 1000, Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	b, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := batch.NewReader(b, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var thinner batch.Thinner
	dated, err := thinner.Append(nil, r, []bool{true}, 5000)
	if err != nil {
		t.Fatal(err)
	}
	for want, b := range map[string]batch.Batch{
		" first_time=1970-01-01T00:00:01.000Z max_time=1970-01-01T00:00:01.000Z":     b,
		" delete_horizon=1970-01-01T00:00:05.000Z max_time=1970-01-01T00:00:01.000Z": dated,
	} {
		var out bytes.Buffer
		d := dumper{out: &dumpWriter{out: &out}}
		if err := d.batch(log.BatchAt{Batch: b}, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %swant %s", out.String(), want)
		}
	}
}

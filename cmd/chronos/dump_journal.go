package main

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
)

// journal dumps the commit records of a journal, of all its files or of one.
func (d *dumper) journal(dir, only string) error {
	if err := d.header("journal", dir); err != nil {
		return err
	}
	n := 0
	err := journal.Inspect(d.fs, dir, func(r journal.Record) error {
		if only != "" && r.File != only {
			return nil
		}
		if err := d.limited(&n); err != nil {
			return err
		}
		return d.journalRecord(r)
	})
	return d.journalDamage(err)
}

// journalDamage prints what ended the reading of a journal, if that is damage.
func (d *dumper) journalDamage(err error) error {
	var corrupt *journal.CorruptError
	if errors.As(err, &corrupt) {
		return d.finding(log.Finding{
			Grade: log.GradeDamage, File: corrupt.File, Position: corrupt.Position, Err: corrupt.Err,
		})
	}
	if errors.Is(err, errDumpLimit) {
		return nil
	}
	return err
}

func (d *dumper) journalRecord(r journal.Record) error {
	err := d.out.line(dumpLine{kind: "commit", depth: 1, fields: []dumpField{
		kv("file", r.File), kv("byte", r.Position), kv("bytes", r.Bytes),
		kv("generation", r.Generation), kv("sequence", r.Sequence), kv("entries", len(r.Entries)),
	}})
	for _, e := range r.Entries {
		if err != nil {
			return err
		}
		err = d.journalEntry(r.File, r.Position, r.Sequence, e)
	}
	return err
}

// aside dumps what was put aside of the journal in a log's folder.
func (d *dumper) aside(path string) error {
	if err := d.header("unreplayed", path); err != nil {
		return err
	}
	n := 0
	_, err := journal.ReplayKept(d.fs, path, 0, func(s journal.Sequence, e journal.Entry) error {
		if err := d.limited(&n); err != nil {
			return err
		}
		return d.journalEntry(path, 0, s, e)
	})
	return d.journalDamage(err)
}

// journalEntry dumps an entry that lies at or behind a byte of a file.
func (d *dumper) journalEntry(file string, at int64, s journal.Sequence, e journal.Entry) error {
	err := d.out.line(dumpLine{kind: "commit-entry", depth: 2, fields: []dumpField{
		kv("sequence", s), kv("way", journalWay(e.Kind)), kv("log", e.Log), kv("segment", e.Segment),
		kv("position", e.Position), kv("first", e.First), kv("end", e.End),
		kv("bytes", e.Length), kv("digest", fmt.Sprintf("%08x", e.Digest)),
	}})
	if err == nil && d.o.records {
		err = d.journalBatches(log.BatchAt{File: file, Position: at}, e)
	}
	return err
}

// journalWay says how the bytes of an entry came to the disk.
func journalWay(k journal.Kind) string {
	switch k {
	case journal.Inline:
		return "inline"
	case journal.Ref:
		return "direct"
	default:
		return fmt.Sprintf("Kind(%d)", k)
	}
}

// journalBatches dumps the batches that an entry holds.
func (d *dumper) journalBatches(at log.BatchAt, e journal.Entry) error {
	var rest []byte
	for _, piece := range e.Payload {
		rest = append(rest, piece...)
	}
	for len(rest) > 0 {
		b, after, err := batch.Next(rest)
		if err == nil {
			err = batch.CheckStored(b)
		}
		if err != nil {
			return d.finding(log.Finding{
				Grade: log.GradeDamage, File: at.File, Position: at.Position, Err: err,
			})
		}
		at.Batch = b
		if err := d.batch(at, false); err != nil {
			return err
		}
		rest = after
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// producers dumps a producer snapshot.
func (d *dumper) producers(path string) error {
	s, err := replication.InspectProducers(d.fs, path)
	if err != nil {
		return d.damaged(path, err)
	}
	err = d.header("producers", path, kv("log_end", s.LogEnd), kv("staging_end", s.StagingEnd),
		kv("last_delivery", moment(s.LastDeliveryMs)), kv("count", len(s.Producers)))
	n := 0
	for _, p := range s.Producers {
		if err != nil {
			return err
		}
		if err = d.limited(&n); err == nil {
			err = d.producer(p)
		}
	}
	return err
}

func (d *dumper) producer(p replication.InspectedProducer) error {
	err := d.out.line(dumpLine{kind: "producer", depth: 1, fields: []dumpField{
		kv("id", p.ID), kv("epoch", p.Epoch), kv("active", moment(p.ActiveMs)),
	}})
	for _, b := range p.Batches {
		if err != nil {
			return err
		}
		where := "partition"
		if b.Staged {
			where = "staging"
		}
		err = d.out.line(dumpLine{kind: "producer-batch", depth: 2, fields: []dumpField{
			kv("first_sequence", b.First), kv("last_sequence", b.Last), kv("log", where),
			kv("base", b.Base), kv("end", b.End), kv("appended", moment(b.AppendMs)),
		}})
	}
	return err
}

// compaction dumps how far a log is compacted.
func (d *dumper) compaction(path string) error {
	note, err := log.InspectCompaction(d.fs, path)
	if errors.Is(err, log.ErrCorrupt) {
		return d.finding(log.Finding{Grade: log.GradeDerived, File: path, Err: err})
	}
	if err != nil {
		return d.damaged(path, err)
	}
	return d.header("compaction", path, kv("gaps_below", note.GapsBelow),
		kv("clean_to", note.CleanTo))
}

// snapshot dumps a metadata snapshot.
func (d *dumper) snapshot(path string) error {
	text, applied, err := metadata.InspectSnapshot(d.fs, path)
	if err != nil {
		return d.damaged(path, err)
	}
	return d.header("metadata-snapshot", path, kv("applied", applied),
		kv("state", json.RawMessage(text)))
}

// commands dumps the commands in a batch of a metadata log.
func (d *dumper) commands(b log.BatchAt) error {
	return metadata.InspectCommands(b.Batch, func(o batch.Offset, text []byte) error {
		return d.out.line(dumpLine{kind: "command", depth: 2, fields: []dumpField{
			kv("offset", o), kv("change", json.RawMessage(text)),
		}})
	})
}

// verify checks the files against each other. Of a single file, its folder is read and what
// concerns the file is printed.
func (d *dumper) verify(path string, folder bool) error {
	dir := path
	if !folder {
		dir = d.fs.PathDir(path)
	}
	var failed error
	report := func(found log.Finding) {
		if failed == nil && (folder || found.File == path) {
			failed = d.finding(found)
		}
	}
	err := d.verifyFolder(dir, report)
	if err == nil {
		err = failed
	}
	return err
}

// verifyFolder reads a folder by what it is.
func (d *dumper) verifyFolder(dir string, report func(log.Finding)) error {
	switch {
	case d.exists(dir, "FORMAT"):
		_, err := replication.Verify(context.Background(), replication.VerifyOptions{
			FS: d.fs, DataDir: dir, OnFinding: report,
		})
		return err
	case d.exists(dir, replication.ProducersName), d.exists(dir, replication.StagingName):
		_, err := replication.VerifyPartition(dir, replication.PartitionVerifyOptions{
			FS: d.fs, OnFinding: report,
		})
		return err
	case d.exists(dir, log.NoteName):
		_, err := log.Verify(dir, log.VerifyOptions{FS: d.fs, OnFinding: report})
		return err
	case d.exists(dir, metadata.LogName):
		return d.verifyFolder(d.fs.PathJoin(dir, metadata.LogName), report)
	default:
		return fmt.Errorf("%s has no %s: there is nothing to check its files against", dir, log.NoteName)
	}
}

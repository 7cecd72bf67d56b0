package main

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

// dumpInflateMax bounds what one batch may inflate to when its records are printed.
const dumpInflateMax = 256 << 20

// segment dumps the batches of a segment file.
func (d *dumper) segment(path string) error {
	dir := d.fs.PathDir(path)
	commands := d.fs.PathBase(dir) == metadata.LogName &&
		d.fs.PathBase(d.fs.PathDir(dir)) == "metadata"
	flushed, noted := d.flushedEnd(dir)
	if err := d.header("segment", path); err != nil {
		return err
	}
	n := 0
	sum, err := log.InspectSegment(path, log.SegmentInspection{
		FS: d.fs,
		OnBatch: func(b log.BatchAt) error {
			if int64(b.Batch.LastOffset()) < d.o.from {
				return nil
			}
			if err := d.limited(&n); err != nil {
				return err
			}
			return d.batch(b, commands)
		},
		OnDamage: func(s log.SegmentDamage) error {
			found := s.Finding(log.GradeDamage)
			if noted && s.Offset >= flushed {
				found = s.Finding(log.GradeRemark)
			}
			return d.finding(found)
		},
	})
	if err != nil {
		return err
	}
	return d.out.line(dumpLine{kind: "segment-end", depth: 1, fields: []dumpField{
		kv("byte", sum.EndPos), kv("next_offset", sum.End), kv("file_bytes", sum.Bytes),
		kv("batches", sum.Batches), kv("records", sum.Records), kv("max_time", moment(sum.MaxTime)),
		kv("zeros_behind", sum.ZeroTail),
	}})
}

// flushedEnd is the one in a folder's note: what is broken behind it was never acknowledged.
func (d *dumper) flushedEnd(dir string) (end batch.Offset, known bool) {
	slots, err := log.InspectNote(d.fs, d.fs.PathJoin(dir, log.NoteName))
	if err != nil {
		return 0, false
	}
	for _, s := range slots {
		if s.Newest {
			return s.FlushedEnd, true
		}
	}
	return 0, false
}

// batch dumps one batch: its header, and what the server itself has put into it.
func (d *dumper) batch(b log.BatchAt, commands bool) error {
	h := b.Batch
	first := kv("first_time", moment(h.BaseTimestamp()))
	if at, ok := h.DeleteHorizon(); ok { // which compaction has put where that time was
		first = kv("delete_horizon", moment(at))
	}
	line := dumpLine{kind: "batch", depth: 1, fields: []dumpField{
		kv("byte", b.Position), kv("base", h.BaseOffset()), kv("last", h.LastOffset()),
		kv("records", h.Count()), kv("bytes", len(h)), kv("epoch", h.LeaderEpoch()),
		kv("crc", fmt.Sprintf("%08x", h.CRC())), kv("codec", h.Codec().String()),
		first, kv("max_time", moment(h.MaxTimestamp())),
	}}
	if h.ProducerID() >= 0 {
		line.fields = append(line.fields, kv("producer", h.ProducerID()),
			kv("producer_epoch", h.ProducerEpoch()), kv("first_sequence", h.BaseSequence()),
			kv("last_sequence", h.LastSequence()))
	}
	line.fields = append(line.fields, kv("log_append_time", h.TimestampType() == batch.LogAppendTime),
		kv("transactional", h.IsTransactional()), kv("control", h.IsControl()),
		kv("delivered", h.IsMarked()), kv("staged", h.Kind() == batch.KindStaged),
		kv("settlement", h.Kind() == batch.KindSettlement),
		kv("command", h.Kind() == batch.KindCommand))
	if err := d.out.line(line); err != nil {
		return err
	}
	var err error
	switch {
	case h.Kind() == batch.KindStaged:
		err = timer.InspectStaged(h, d.staged)
	case h.Kind() == batch.KindSettlement:
		err = d.settlement(h)
	case h.Kind() == batch.KindCommand:
		err = d.steering(h)
	case commands:
		err = d.commands(b)
	case d.o.records:
		err = d.recordsOf(h)
	}
	if err != nil && !errors.Is(err, errDumpWrite) {
		return d.finding(log.Finding{
			Grade: log.GradeDamage, File: b.File, Position: b.Position, Err: err,
		})
	}
	return err
}

func (d *dumper) recordsOf(b batch.Batch) error {
	r, err := batch.NewReader(b, dumpInflateMax)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		fields := append([]dumpField{
			kv("offset", b.BaseOffset()+batch.Offset(rec.OffsetDelta)), kv("time", moment(b.Timestamp(rec))),
		}, d.content(rec, rec.Headers.Count)...)
		if err := d.out.line(dumpLine{kind: "record", depth: 2, fields: fields}); err != nil {
			return err
		}
	}
}

// staged dumps a staged record with what was decided about it.
func (d *dumper) staged(r timer.StagedRecord) error {
	dec := r.Decision
	fields := []dumpField{
		kv("offset", r.Position.Offset), kv("position", r.Position.String()),
		kv("action", dec.Action.String()), kv("due", moment(dec.Due)), kv("due_ms", dec.Due),
		kv("appended", moment(dec.Appended)), kv("time", moment(dec.Timestamp)),
		kv("codec", dec.Codec.String()), kv("flags", dec.Flags.String()),
	}
	fields = append(fields, d.terms(dec)...)
	if d.o.records {
		fields = append(fields, d.content(r.Record, r.Record.Headers.Count-1)...)
	}
	return d.out.line(dumpLine{kind: "staged", depth: 2, fields: fields})
}

// terms shows what most records do not have.
func (d *dumper) terms(dec timer.Decision) (fields []dumpField) {
	t, err := dec.Terms()
	if err != nil {
		return []dumpField{kv("terms", err.Error())}
	}
	if len(t.ID) > 0 {
		fields = append(fields, kv("id", d.text(t.ID)))
	}
	if len(t.Cancel) > 0 {
		fields = append(fields, kv("cancel", d.text(t.Cancel)))
	}
	if t.HasExpire() {
		fields = append(fields, kv("expire", moment(t.Expire)))
	}
	r := t.Recur
	switch {
	case r.Cron != "":
		fields = append(fields, kv("cron", r.Cron), kv("tz", r.Tz))
	case r.Every > 0:
		fields = append(fields, kv("every", r.Every.String()))
	}
	if r.Count > 0 {
		fields = append(fields, kv("count", r.Count))
	}
	return fields
}

// steering dumps what the leader decided about staged records later on.
func (d *dumper) steering(b batch.Batch) error {
	commands, err := timer.InspectCommands(b)
	if err != nil {
		return err
	}
	for i := range commands {
		c := &commands[i]
		fields := []dumpField{
			kv("offset", b.BaseOffset()), kv("verb", c.Verb.String()),
			kv("position", c.Key.Position.String()), kv("due", moment(c.Key.Due)), kv("due_ms", c.Key.Due),
		}
		if len(c.ID) > 0 {
			fields = append(fields, kv("id", d.text(c.ID)))
		}
		if c.Verb.HasDue() {
			fields = append(fields, kv("next", moment(c.Due)), kv("next_ms", c.Due))
		}
		if err := d.out.line(dumpLine{kind: "command", depth: 2, fields: fields}); err != nil {
			return err
		}
	}
	return nil
}

// settlement dumps what became of staged records.
func (d *dumper) settlement(b batch.Batch) error {
	settledTo, ranges, err := timer.InspectSettlement(b)
	if err != nil {
		return err
	}
	err = d.out.line(dumpLine{kind: "settlement", depth: 2, fields: []dumpField{
		kv("offset", b.BaseOffset()), kv("settled_to", settledTo), kv("ranges", len(ranges)),
	}})
	for _, r := range ranges {
		if err != nil {
			return err
		}
		err = d.out.line(dumpLine{kind: "settled", depth: 3, fields: []dumpField{
			kv("epoch", r.Epoch), kv("first", r.First), kv("last", r.Last), kv("occurrence", r.Occurrence),
			kv("fate", r.Fate.String()),
		}})
	}
	return err
}

// content is a record's key, value and first headers.
func (d *dumper) content(rec batch.Record, headers int) []dumpField {
	fields := []dumpField{kv("key", d.text(rec.Key)), kv("value", d.text(rec.Value))}
	var shown dumpPairs
	err := rec.EachHeader(func(key, value []byte) bool {
		if len(shown) == headers {
			return false
		}
		shown = append(shown, kv(string(key), d.text(value)))
		return true
	})
	if err != nil {
		shown = append(shown, kv("broken", err.Error()))
	}
	if len(shown) > 0 {
		fields = append(fields, kv("headers", shown))
	}
	return fields
}

// text is the beginning of a key or value: as it is if it is text, else in hexadecimal digits.
func (d *dumper) text(p []byte) any {
	if p == nil {
		return nil
	}
	cut := p[:min(len(p), max(d.o.valueBytes, 0))]
	more := ""
	if len(cut) < len(p) {
		more = fmt.Sprintf("... %d bytes", len(p))
	}
	// A character that the limit has cut is no reason to show digits.
	whole := cut
	for i := 0; i < utf8.UTFMax && len(cut) < len(p) && !utf8.Valid(whole) && len(whole) > 0; i++ {
		whole = whole[:len(whole)-1]
	}
	if utf8.Valid(whole) {
		return string(whole) + more
	}
	return fmt.Sprintf("0x%x%s", cut, more)
}

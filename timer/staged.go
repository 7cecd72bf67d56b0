package timer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/recur"
)

// StagePlan is what Stage needs to know beside the batch.
type StagePlan struct {
	Now          UnixMs        // the leader's append time
	MaxDelay     time.Duration // the topic's limit on due minus Now; 0 means no limit
	InflateLimit int           // most bytes that the records may inflate to
	// LogAppendTime makes Now the timestamp of the records without control headers, as
	// message.timestamp.type=LogAppendTime asks for. The others get the time of their delivery.
	LogAppendTime bool
	// Names are the topic's control headers.
	Names batch.ControlNames
	// WantNames asks for StageInfo.Names.
	WantNames bool
}

// StageInfo is what was decided about a whole batch.
type StageInfo struct {
	Count  int // records
	DueNow int // records that were due at Now
	// Cancels are the records that are never shown.
	Cancels int
	MaxDue  UnixMs // latest due time
	// IDs are the hashes of the ids that the records take or cancel: for Schedule.Fence.
	IDs []uint64
	// Names are the ids that the records take, each once, if they are wanted.
	Names map[string]struct{}
}

// Stage appends to dst the staged batch that src becomes: the same records, not compressed, each
// with the decision about it as its last header. Producer, sequence, timestamps and count are kept.
// It returns the appended part, or an error with which nothing may be written: a *batch.RecordError
// names the record that is refused and says what to send instead. src must have passed
// batch.CheckFromClient.
func Stage(dst []byte, src batch.Batch, p StagePlan) (batch.Batch, StageInfo, error) {
	var r batch.Reader
	if err := r.Reset(src, p.InflateLimit); err != nil {
		return nil, StageInfo{}, err
	}
	defer r.Close()
	return StageFrom(dst, src, &r, p)
}

// StageFrom is Stage for a caller that has src open in r already, at its first record: a compressed
// batch is then inflated only once for the walk that found the control headers and for staging.
func StageFrom(
	dst []byte, src batch.Batch, r *batch.Reader, p StagePlan,
) (batch.Batch, StageInfo, error) {
	start := len(dst)
	dst = slices.Grow(dst, len(src)+src.Count()*(decisionHeaderBytes+2))
	dst = beginBatch(dst)
	info := StageInfo{MaxDue: minKey.Due}
	for {
		rec, ok, err := r.Next()
		if err != nil {
			return nil, StageInfo{}, err
		}
		if !ok {
			break
		}
		d, err := decide(rec, src, &p)
		if err != nil {
			return nil, StageInfo{}, &batch.RecordError{Index: info.Count, Err: err}
		}
		if int(rec.OffsetDelta) != info.Count {
			return nil, StageInfo{}, &batch.RecordError{Index: info.Count, Err: fmt.Errorf(
				"%w: its offset delta is %d", batch.ErrInvalid, rec.OffsetDelta)}
		}
		dst = appendStaged(dst, rec, &d)
		info.Count++
		info.MaxDue = max(info.MaxDue, d.Due)
		if d.id != nil {
			info.IDs = append(info.IDs, HashID(d.id))
		}
		info.name(&d, &p)
		if d.Flags&FlagDueNow != 0 {
			info.DueNow++
		}
	}
	if info.Count == 0 || info.Count != src.Count() {
		return nil, StageInfo{}, fmt.Errorf("%w: the batch has %d records, its header says %d",
			batch.ErrInvalid, info.Count, src.Count())
	}
	if len(dst)-start > batch.MaxBatchBytes {
		return nil, StageInfo{}, fmt.Errorf("%w: %d bytes as a staged batch", batch.ErrTooLarge,
			len(dst)-start)
	}
	return stagedFrame(src, info.Count).seal(dst[start:]), info, nil
}

// name notes whether a record is shown, and under which id it waits.
func (i *StageInfo) name(d *Decision, p *StagePlan) {
	switch {
	case d.Action == ActionCancel:
		i.Cancels++
	case d.id != nil && p.WantNames:
		if i.Names == nil {
			i.Names = map[string]struct{}{}
		}
		i.Names[string(d.id)] = struct{}{}
	}
}

// stagedFrame is the header of the staged batch of src.
func stagedFrame(src batch.Batch, count int) frame {
	return frame{
		attributes:    batch.KindStaged.Attributes(),
		count:         count,
		baseTimestamp: src.BaseTimestamp(),
		maxTimestamp:  src.MaxTimestamp(),
		producer:      src.ProducerID(),
		epoch:         src.ProducerEpoch(),
		sequence:      src.BaseSequence(),
	}
}

// decide makes the decision about one record of src.
func decide(rec batch.Record, src batch.Batch, p *StagePlan) (Decision, error) {
	d := Decision{
		Action:    ActionDeliver,
		Codec:     src.Codec(),
		Appended:  p.Now,
		Due:       p.Now,
		Timestamp: src.Timestamp(rec),
	}
	control, present, err := batch.ParseControl(rec, p.Names)
	if err != nil {
		return d, err
	}
	if control.MessageID != nil {
		return d, refuse(batch.HeaderMessageID, "is not supported by this version; leave it out")
	}
	switch {
	case present:
		d.Flags |= FlagControl
	case p.LogAppendTime:
		d.Timestamp = p.Now
	}
	if control.Cancel != nil {
		d.Action = ActionCancel
		return d, d.setTerms(termsFrom(&control))
	}
	if err := control.Check(p.Now); err != nil {
		return d, err
	}
	terms := termsFrom(&control)
	if p.Names.Ts != "" && control.HasTs {
		terms.TimeHeader = []byte(p.Names.Ts)
	}
	if d.Due, err = firstDue(&control, &terms.Recur, p.Now); err != nil {
		return d, err
	}
	if p.MaxDelay > 0 && d.Due.Sub(p.Now) > p.MaxDelay {
		return d, tooFar(control, d.Due, p)
	}
	if d.Due <= p.Now {
		d.Flags |= FlagDueNow
	}
	return d, d.setTerms(terms)
}

// firstDue returns when a record is due for the first time.
func firstDue(c *batch.Control, r *Recurrence, now UnixMs) (UnixMs, error) {
	if r.Cron == "" {
		return c.DueAt(now), nil
	}
	cron, err := recur.Parse(r.Cron, r.Tz)
	var mistake *recur.Error
	if errors.As(err, &mistake) {
		header := batch.HeaderScheduleCron
		if mistake.Zone {
			header = batch.HeaderScheduleTz
		}
		return 0, refuse(header, mistake.Reason)
	}
	if err != nil {
		return 0, err
	}
	due, ok := cron.Next(now)
	if !ok {
		return 0, refuse(batch.HeaderScheduleCron, "has no time after now; write one that has")
	}
	if c.HasUntil && c.Until < due {
		return 0, refuse(batch.HeaderScheduleUntil, fmt.Sprintf("%d is before the first time of the"+
			" cron, %d; write a later one, or leave it out", c.Until, due))
	}
	return due, nil
}

// refuse says why a control header is not taken.
func refuse(header, reason string) error {
	return &batch.ControlError{Header: header, Reason: reason}
}

// tooFar is the refusal of a due time beyond the topic's limit.
func tooFar(c batch.Control, due UnixMs, p *StagePlan) error {
	header := batch.HeaderScheduleTs
	switch {
	case c.HasTs:
	case c.HasDelay:
		header = batch.HeaderScheduleDelay
	case c.Every > 0:
		header = batch.HeaderScheduleEvery
	default:
		header = batch.HeaderScheduleCron
	}
	return &batch.ControlError{Header: header, Reason: fmt.Sprintf(
		"asks for %d, which is %d ms from now (%d); the topic's limit is"+
			" chronos.schedule.max.delay.ms=%d: write a time within it",
		due, due.Sub(p.Now).Milliseconds(), p.Now, p.MaxDelay.Milliseconds())}
}

// appendStaged appends rec with its decision. The record is encoded anew from its fields, so that
// its length and numbers have their shortest form whatever the client chose.
func appendStaged(dst []byte, rec batch.Record, d *Decision) []byte {
	count := int64(rec.Headers.Count) + 1
	n := 1 + varintBytes(rec.TimestampDelta) + varintBytes(int64(rec.OffsetDelta)) +
		bytesBytes(rec.Key) + bytesBytes(rec.Value) +
		varintBytes(count) + len(rec.Headers.Bytes) + d.headerBytes()
	dst = appendVarint(dst, int64(n))
	body := len(dst)
	dst = append(dst, byte(rec.Attributes))
	dst = appendVarint(dst, rec.TimestampDelta)
	dst = appendVarint(dst, int64(rec.OffsetDelta))
	dst = appendBytes(dst, rec.Key)
	dst = appendBytes(dst, rec.Value)
	dst = appendVarint(dst, count)
	dst = append(dst, rec.Headers.Bytes...)
	return d.append(dst, body)
}

// stagedWalk reads the decisions of a staged batch whose CRC was checked.
type stagedWalk struct {
	b     batch.Batch
	spans batch.Spans
	base  Offset
	epoch batch.LeaderEpoch
}

// walkStaged starts a walk.
func walkStaged(b batch.Batch) stagedWalk {
	return stagedWalk{b: b, spans: b.Spans(), base: b.BaseOffset(), epoch: b.LeaderEpoch()}
}

// next returns the entry of the next record; ok is false behind the last.
func (w *stagedWalk) next() (e Entry, d Decision, ok bool, err error) {
	span, more := w.spans.Next()
	if !more {
		if err := w.spans.Err(); err != nil {
			return e, d, false, fmt.Errorf("staged batch at offset %d: %w", w.base, err)
		}
		return e, d, false, nil
	}
	d, err = decisionOf(w.b[span.Pos:span.End()])
	if err != nil {
		return e, d, false, fmt.Errorf("staging offset %d: %w", w.base+Offset(span.Index), err)
	}
	e = Entry{
		Key: Key{Due: d.deliverFrom(), Position: Position{
			Epoch: w.epoch, Offset: w.base + Offset(span.Index),
		}},
		Delta:  int32(span.Index),
		At:     int32(span.Pos),
		Length: int32(span.Len),
	}
	if d.Flags&FlagDueNow != 0 {
		e.Flags |= EntryDueNow
	}
	if len(d.terms) > 0 {
		e.Flags |= EntryTerms
		if has := d.terms[0]; has&termID != 0 {
			e.Flags |= EntryNamed
		}
		if has := d.terms[0]; has&(termCron|termEvery) != 0 {
			e.Flags |= EntryRecurs
		}
	}
	return e, d, true, nil
}

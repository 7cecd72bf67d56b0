package batch

import (
	"encoding/binary"
	"fmt"
)

// DeleteHorizon returns the time from which compaction may remove the tombstones of the batch, or
// the marker that it is (KIP-534). ok is false while compaction has not set one.
func (b Batch) DeleteHorizon() (t UnixMs, ok bool) {
	if b.Attributes()&attrDeleteHorizon == 0 {
		return NoTimestamp, false
	}
	return b.BaseTimestamp(), true
}

// Thinner builds what compaction leaves of a batch. Its memory is kept from batch to batch, unless
// a large one needed more.
type Thinner struct {
	records []byte // the records that stay, inflated
}

// Append appends to dst the batch that r is open on with only the records that keep names, by
// their index in the batch: at least one. Offsets, sequences, producer, leader epoch, codec and
// attribute bits stay, so the batch still ends where it did. The base timestamp becomes the delete
// horizon, unless that is NoTimestamp, else the first record's time; the greatest timestamp is that
// of the records that stay. So does Kafka (MemoryRecords.buildRetainedRecordsInto).
//
// The record in which r stands is lost: Append rewinds it.
func (t *Thinner) Append(dst []byte, r *Reader, keep []bool, horizon UnixMs) ([]byte, error) {
	b := r.b
	base, greatest, count := horizon, NoTimestamp, 0
	t.records = t.records[:0]
	r.Rewind()
	for {
		rec, ok, err := r.Next()
		if err != nil {
			return dst, err
		}
		if !ok {
			break
		}
		if !keep[r.Index()] {
			continue
		}
		at := b.Timestamp(rec)
		if count == 0 && horizon == NoTimestamp {
			base = at
		}
		t.records = appendMoved(t.records, r.Raw(), int64(at-base))
		greatest = max(greatest, at)
		count++
	}
	if count == 0 {
		return dst, invalid("no record stays")
	}
	if b.TimestampType() == LogAppendTime {
		greatest = b.MaxTimestamp()
	}
	start := len(dst)
	thinned, err := Compress(append(dst, b[:HeaderBytes]...), b.Codec(), t.records)
	if err != nil {
		return dst, err
	}
	out := Batch(thinned[start:])
	if len(out) > MaxBatchBytes {
		return dst, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(out))
	}
	attributes := b.Attributes() &^ attrDeleteHorizon
	if horizon != NoTimestamp {
		attributes |= attrDeleteHorizon
	}
	out.putThinned(attributes, base, greatest, count)
	if cap(t.records) > maxPooledBytes {
		t.records = nil
	}
	return thinned, nil
}

// AppendEmpty appends to dst what is left of a batch when all its records go and only its last
// sequence, epoch or offset is still needed: a header without records.
func AppendEmpty(dst []byte, b Batch) []byte {
	start := len(dst)
	dst = append(dst, b[:HeaderBytes]...)
	attributes := b.Attributes() &^ (attrCodecMask | attrDeleteHorizon)
	Batch(dst[start:]).putThinned(attributes, NoTimestamp, b.MaxTimestamp(), 0)
	return dst
}

// putThinned completes a header whose other fields are those of the original.
func (b Batch) putThinned(attributes int16, base, greatest UnixMs, count int) {
	b.putLength(len(b))
	b.SetAttributes(attributes)
	binary.BigEndian.PutUint64(b[posBaseTimestamp:], uint64(base))
	b.SetMaxTimestamp(greatest)
	binary.BigEndian.PutUint32(b[posCount:], uint32(count))
	b.SealCRC()
}

// appendMoved appends a sound record, given with its length, with another timestamp delta.
func appendMoved(dst, raw []byte, delta int64) []byte {
	_, body := varint(raw, 0)
	_, rest := varlong(raw, body+1)
	dst = appendVarint(dst, int32(1+varlongLen(delta)+len(raw)-rest))
	dst = append(dst, raw[body])
	dst = appendVarlong(dst, delta)
	return append(dst, raw[rest:]...)
}

package batch

import (
	"encoding/binary"
	"math"
)

// HeaderBytes is the size of a batch header, and so of the smallest batch.
const HeaderBytes = 61

// MaxBatchBytes is the largest batch that the length field can hold.
const MaxBatchBytes = math.MaxInt32

// The byte positions of the header's fields.
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57

	// lengthPrefixBytes is what the length field does not count.
	lengthPrefixBytes = 12

	magicV2 = 2
)

// Batch is one whole record batch. Its methods need at least the HeaderBytes of its
// header: Next, CheckFromClient and CheckStored make sure of that. The setters write
// in place; those that touch bytes under the CRC say so.
type Batch []byte

// BaseOffset returns the offset of the first record.
func (b Batch) BaseOffset() Offset {
	return Offset(binary.BigEndian.Uint64(b[posBaseOffset:]))
}

// SetBaseOffset stamps the offset of the first record. It lies outside the CRC.
func (b Batch) SetBaseOffset(o Offset) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(o))
}

// Length returns the total bytes of the batch as its length field says. It is
// negative or below HeaderBytes in a broken batch.
func (b Batch) Length() int {
	return lengthPrefixBytes + int(int32(binary.BigEndian.Uint32(b[posLength:])))
}

// LeaderEpoch returns the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() LeaderEpoch {
	return LeaderEpoch(binary.BigEndian.Uint32(b[posLeaderEpoch:]))
}

// SetLeaderEpoch stamps the epoch of the leader. It lies outside the CRC.
func (b Batch) SetLeaderEpoch(e LeaderEpoch) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(e))
}

// Magic returns the format version, which is 2 in all batches of this package.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// Attributes returns all attribute bits.
func (b Batch) Attributes() int16 {
	return int16(binary.BigEndian.Uint16(b[posAttributes:]))
}

// SetAttributes replaces all attribute bits. They lie under the CRC: call SealCRC.
func (b Batch) SetAttributes(a int16) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(a))
}

// Codec returns how the records are compressed. Values above Zstd are broken.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attrCodecMask) }

// TimestampType says whose timestamps the batch carries.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional says whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }

// IsControl says whether the batch is a transaction marker.
func (b Batch) IsControl() bool { return b.Attributes()&attrControl != 0 }

// IsMarked says whether the batch is a delivery of the scheduler (AttrMark).
func (b Batch) IsMarked() bool { return b.Attributes()&AttrMark != 0 }

// Kind returns what a batch of a staging log is.
func (b Batch) Kind() Kind { return KindOf(b.Attributes()) }

// LastOffsetDelta returns the last record's offset minus the base offset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:]))
}

// LastOffset returns the offset of the last record.
func (b Batch) LastOffset() Offset { return b.BaseOffset() + Offset(b.LastOffsetDelta()) }

// BaseTimestamp returns the time that the records' timestamp deltas count from.
func (b Batch) BaseTimestamp() UnixMs {
	return UnixMs(binary.BigEndian.Uint64(b[posBaseTimestamp:]))
}

// MaxTimestamp returns the greatest timestamp of the records, as the writer of the
// batch says; ControlSummary has the true one.
func (b Batch) MaxTimestamp() UnixMs {
	return UnixMs(binary.BigEndian.Uint64(b[posMaxTimestamp:]))
}

// SetMaxTimestamp corrects the greatest timestamp. It lies under the CRC: call
// SealCRC.
func (b Batch) SetMaxTimestamp(t UnixMs) {
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(t))
}

// SetLogAppendTime makes now the timestamp of every record, as
// message.timestamp.type=LogAppendTime asks for, and computes the CRC again.
func (b Batch) SetLogAppendTime(now UnixMs) {
	b.SetAttributes(b.Attributes() | attrLogAppendTime)
	b.SetMaxTimestamp(now)
	b.SealCRC()
}

// ProducerID returns the idempotent producer, or NoProducerID.
func (b Batch) ProducerID() ProducerID {
	return ProducerID(binary.BigEndian.Uint64(b[posProducerID:]))
}

// ProducerEpoch returns the producer's epoch, or NoProducerEpoch.
func (b Batch) ProducerEpoch() ProducerEpoch {
	return ProducerEpoch(binary.BigEndian.Uint16(b[posProducerEpoch:]))
}

// BaseSequence returns the first record's sequence, or NoSequence.
func (b Batch) BaseSequence() Sequence {
	return Sequence(binary.BigEndian.Uint32(b[posBaseSequence:]))
}

// LastSequence returns the last record's sequence, which wraps from 2^31-1 to 0, or
// NoSequence when the batch has none.
func (b Batch) LastSequence() Sequence {
	first := b.BaseSequence()
	if first < 0 {
		return NoSequence
	}
	return first.Add(b.LastOffsetDelta())
}

// Count returns the number of records, as the header says.
func (b Batch) Count() int {
	return int(int32(binary.BigEndian.Uint32(b[posCount:])))
}

// Records returns the bytes behind the header: the records, compressed by Codec.
func (b Batch) Records() []byte { return b[HeaderBytes:] }

// Timestamp returns the time of a record of this batch: the batch's own under
// LogAppendTime, else the one its producer gave.
func (b Batch) Timestamp(r Record) UnixMs {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + UnixMs(r.TimestampDelta)
}

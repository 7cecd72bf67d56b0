package batch

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// BuilderOptions are the header fields of a batch that is built. The zero value makes
// a batch of producer id 0: set NoProducerID, NoProducerEpoch and NoSequence (see
// NoProducer) for a batch that belongs to none.
type BuilderOptions struct {
	Codec         Codec         // Codec compresses the records.
	Attributes    int16         // Attributes are the bits besides the codec's, such as AttrMark.
	BaseOffset    Offset        // BaseOffset is 0 unless the batch is built for a place in a log.
	LeaderEpoch   LeaderEpoch   // LeaderEpoch is stamped at append anyway.
	BaseTimestamp UnixMs        // BaseTimestamp is what the records' deltas count from.
	ProducerID    ProducerID    // ProducerID may be NoProducerID.
	ProducerEpoch ProducerEpoch // ProducerEpoch may be NoProducerEpoch.
	BaseSequence  Sequence      // BaseSequence may be NoSequence.
}

// NoProducer returns o for a batch that belongs to no idempotent producer.
func (o BuilderOptions) NoProducer() BuilderOptions {
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = NoProducerID, NoProducerEpoch, NoSequence
	return o
}

// RecordFields are a record to be appended to a Builder. All slices are copied.
type RecordFields struct {
	// Attributes is kept as it is; Kafka defines no bits.
	Attributes int8
	// TimestampMs is the record's absolute time.
	TimestampMs UnixMs
	// Key and Value are nil for null.
	Key, Value []byte
	// RawHeaders are headers taken over from another record, without decoding when
	// Drop is nil.
	RawHeaders RawHeaders
	// Drop says which of the RawHeaders to leave out, by name; nil keeps all. A
	// function that captures nothing costs no allocation.
	Drop func(name []byte) bool
	// Headers come behind the RawHeaders. The last one's value ends the record, so a
	// value of fixed size can be found from the record's end.
	Headers []Header
}

// Builder makes one batch, record by record. Its memory is kept over Reset, so a
// Builder that is used again allocates only while it grows.
type Builder struct {
	o       BuilderOptions
	buf     []byte // buf is the batch so far, uncompressed: room for a header, then records.
	kept    []byte // kept holds the headers that Drop leaves of one record.
	count   int
	maxTime UnixMs
}

// NewBuilder returns an empty Builder.
func NewBuilder(o BuilderOptions) *Builder {
	b := new(Builder)
	b.Reset(o)
	return b
}

// Reset empties the Builder for another batch and keeps its memory.
func (b *Builder) Reset(o BuilderOptions) {
	if b.buf == nil {
		b.buf = make([]byte, HeaderBytes, 1024)
	}
	b.o, b.buf, b.count, b.maxTime = o, b.buf[:HeaderBytes], 0, NoTimestamp
}

// Len returns the bytes of the batch so far, uncompressed and with its header. Around
// an Append it frames the record's bytes in the batch, if that is not compressed.
func (b *Builder) Len() int { return len(b.buf) }

// Count returns the number of records so far.
func (b *Builder) Count() int { return b.count }

// Append adds a record. After an error (ErrTooLarge when the batch would pass
// MaxBatchBytes, ErrInvalid when RawHeaders are broken) the Builder is as before.
func (b *Builder) Append(f RecordFields) error {
	raw, err := b.keep(f)
	if err != nil {
		return err
	}
	delta := int64(f.TimestampMs - b.o.BaseTimestamp)
	headers := raw.Count + len(f.Headers)
	size := 1 + varlongLen(delta) + varlongLen(int64(b.count)) + bytesLen(f.Key) +
		bytesLen(f.Value) + varlongLen(int64(headers)) + len(raw.Bytes)
	for i := range f.Headers {
		h := &f.Headers[i]
		size += varlongLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	if size > MaxBatchBytes-maxVarintBytes-len(b.buf) {
		return fmt.Errorf("%w: %d bytes after %d, the format ends at %d",
			ErrTooLarge, size, len(b.buf), MaxBatchBytes)
	}
	p := slices.Grow(b.buf, size+maxVarintBytes)
	p = appendVarint(p, int32(size))
	p = append(p, byte(f.Attributes))
	p = appendVarlong(p, delta)
	p = appendVarint(p, int32(b.count))
	p = appendBytes(p, f.Key)
	p = appendBytes(p, f.Value)
	p = appendVarint(p, int32(headers))
	p = append(p, raw.Bytes...)
	for i := range f.Headers {
		h := &f.Headers[i]
		p = appendVarint(p, int32(len(h.Key)))
		p = append(p, h.Key...)
		p = appendBytes(p, h.Value)
	}
	if b.count == 0 || f.TimestampMs > b.maxTime {
		b.maxTime = f.TimestampMs
	}
	b.buf, b.count = p, b.count+1
	return nil
}

// keep returns the raw headers without those that Drop names, in scratch space.
func (b *Builder) keep(f RecordFields) (RawHeaders, error) {
	h := f.RawHeaders
	if f.Drop == nil || h.Count == 0 {
		return h, nil
	}
	kept := RawHeaders{Bytes: b.kept[:0]}
	at := 0
	for i := range h.Count {
		key, _, next := headerAt(h.Bytes, at)
		if next < 0 {
			return RawHeaders{}, invalid("header %d of %d is broken", i, h.Count)
		}
		if !f.Drop(key) {
			kept.Bytes = append(kept.Bytes, h.Bytes[at:next]...)
			kept.Count++
		}
		at = next
	}
	b.kept = kept.Bytes
	return kept, nil
}

// Build appends the finished batch to dst and returns the part that is the batch. The
// Builder stays as it is, so that more records can follow. A batch without records is
// an ErrInvalid: clients loop on empty batches.
func (b *Builder) Build(dst []byte) (Batch, error) {
	if b.count == 0 {
		return nil, invalid("a batch needs a record")
	}
	start := len(dst)
	if b.o.Codec == None {
		dst = append(dst, b.buf...)
	} else {
		dst = append(dst, b.buf[:HeaderBytes]...)
		var err error
		if dst, err = Compress(dst, b.o.Codec, b.buf[HeaderBytes:]); err != nil {
			return nil, err
		}
	}
	out := Batch(dst[start:len(dst):len(dst)])
	if len(out) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(out))
	}
	b.putHeader(out)
	return out, nil
}

// putHeader writes all fields of the header of a batch whose records are in place.
func (b *Builder) putHeader(out Batch) {
	o := b.o
	out.SetBaseOffset(o.BaseOffset)
	out.putLength(len(out))
	out.SetLeaderEpoch(o.LeaderEpoch)
	out[posMagic] = magicV2
	out.SetAttributes(o.Attributes&^attrCodecMask | int16(o.Codec))
	binary.BigEndian.PutUint32(out[posLastOffsetDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(out[posBaseTimestamp:], uint64(o.BaseTimestamp))
	out.SetMaxTimestamp(b.maxTime)
	binary.BigEndian.PutUint64(out[posProducerID:], uint64(o.ProducerID))
	binary.BigEndian.PutUint16(out[posProducerEpoch:], uint16(o.ProducerEpoch))
	binary.BigEndian.PutUint32(out[posBaseSequence:], uint32(o.BaseSequence))
	binary.BigEndian.PutUint32(out[posCount:], uint32(b.count))
	out.SealCRC()
}

// bytesLen returns what appendBytes appends.
func bytesLen(p []byte) int {
	if p == nil {
		return 1
	}
	return varlongLen(int64(len(p))) + len(p)
}

// appendBytes appends p behind its length, or a length of -1 for nil.
func appendBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1)
	}
	dst = appendVarint(dst, int32(len(p)))
	return append(dst, p...)
}

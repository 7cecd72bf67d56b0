package batch

import (
	"encoding/binary"
	"fmt"
)

// Next splits the first batch off p, where batches lie back to back. It looks at the
// length field only. ErrShort means that p ends inside the batch (or is empty),
// ErrCorrupt that the length can be of no batch.
func Next(p []byte) (b Batch, rest []byte, err error) {
	if len(p) < lengthPrefixBytes {
		return nil, p, fmt.Errorf("%w: %d bytes do not hold a length", ErrShort, len(p))
	}
	n := Batch(p).Length()
	if n < HeaderBytes {
		return nil, p, fmt.Errorf("%w: length %d is below the %d bytes of a header",
			ErrCorrupt, n, HeaderBytes)
	}
	if n > len(p) {
		return nil, p, fmt.Errorf("%w: length is %d, there are %d bytes", ErrShort, n, len(p))
	}
	return Batch(p[:n:n]), p[n:], nil
}

// CheckFromClient judges the header, length and CRC of a batch that a client sends,
// which must be the only one in b. maxBytes is the topic's max.message.bytes; 0 means
// no limit. The records inside are the business of WalkControl.
//
// Errors: ErrCorrupt, ErrMagic, ErrTooLarge, ErrInvalid, ErrTimestampType,
// ErrTransactional. The size is judged before the CRC, because hashing what will be
// refused anyway is a gift to the sender.
func CheckFromClient(b Batch, maxBytes int) error {
	if err := checkFrame(b); err != nil {
		return err
	}
	if maxBytes > 0 && len(b) > maxBytes {
		return fmt.Errorf("%w: %d bytes, the topic's max.message.bytes is %d",
			ErrTooLarge, len(b), maxBytes)
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if err := checkClientAttributes(b.Attributes()); err != nil {
		return err
	}
	if o := b.BaseOffset(); o != 0 {
		return invalid("base offset is %d; a producer writes 0", o)
	}
	n, last := b.Count(), b.LastOffsetDelta()
	if n <= 0 {
		return invalid("record count is %d", n)
	}
	if int64(last)+1 != int64(n) {
		return invalid("last offset delta is %d with %d records", last, n)
	}
	return checkProducer(b)
}

// CheckStored judges a batch as read back from a log: structure and CRC. It allows
// what only a broker writes: offsets, our own attribute bits, control batches, offset
// gaps and empty batches that compaction leaves.
//
// Errors: ErrShort, ErrCorrupt, ErrMagic. Everything is the disk's fault here, so a
// broken count is ErrCorrupt as well.
func CheckStored(b Batch) error {
	if len(b) < HeaderBytes {
		return fmt.Errorf("%w: %d bytes do not hold a header", ErrShort, len(b))
	}
	n := b.Length()
	if n > len(b) {
		return fmt.Errorf("%w: length is %d, there are %d bytes", ErrShort, n, len(b))
	}
	if n != len(b) {
		return fmt.Errorf("%w: length is %d, there are %d bytes", ErrCorrupt, n, len(b))
	}
	if m := b.Magic(); m != magicV2 {
		return fmt.Errorf("%w: magic is %d", ErrMagic, m)
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	count, last := b.Count(), b.LastOffsetDelta()
	if count < 0 || last < 0 || int64(count) > int64(last)+1 {
		return fmt.Errorf("%w: %d records with last offset delta %d", ErrCorrupt, count, last)
	}
	if o := b.BaseOffset(); o < 0 || o+Offset(last) < o {
		return fmt.Errorf("%w: base offset is %d", ErrCorrupt, o)
	}
	if c := b.Codec(); c > Zstd {
		return fmt.Errorf("%w: codec is %d", ErrCorrupt, c)
	}
	return nil
}

// checkFrame makes sure that b is one whole v2 batch. The magic comes first: it sits
// at the same byte in every format, and an old one may be shorter than a v2 header.
func checkFrame(b Batch) error {
	if len(b) > posMagic && b.Magic() != magicV2 {
		return fmt.Errorf("%w: magic is %d; a produce request of version 3 and up sends 2",
			ErrMagic, b.Magic())
	}
	if len(b) < HeaderBytes {
		return fmt.Errorf("%w: %d bytes do not hold the %d of a header",
			ErrCorrupt, len(b), HeaderBytes)
	}
	n := b.Length()
	if n < HeaderBytes || n > len(b) {
		return fmt.Errorf("%w: length is %d, there are %d bytes", ErrCorrupt, n, len(b))
	}
	if n == len(b) {
		return nil
	}
	if second := b[n:]; len(second) >= HeaderBytes && second.Magic() == magicV2 {
		return invalid("more than one batch for one partition; a producer sends one")
	}
	return fmt.Errorf("%w: %d bytes follow the batch", ErrCorrupt, len(b)-n)
}

// checkClientAttributes refuses every bit that is not a client's to set. The unused
// ones matter most: AttrMark and Kind are believed wherever they are found.
func checkClientAttributes(a int16) error {
	if bad := a &^ attrClientMask; bad != 0 {
		if bad&attrControl != 0 {
			return invalid("the control bit is set; only a broker writes markers")
		}
		return invalid("attribute bits %#04x are not a producer's to set", uint16(bad))
	}
	if c := Codec(a & attrCodecMask); c > Zstd {
		return invalid("codec is %d; the known ones are 0 to %d", c, Zstd)
	}
	if a&attrLogAppendTime != 0 {
		return fmt.Errorf("%w: send CreateTime", ErrTimestampType)
	}
	if a&attrTransactional != 0 {
		return ErrTransactional
	}
	return nil
}

// checkProducer refuses an idempotent batch without the numbers that make it one.
func checkProducer(b Batch) error {
	id, epoch, seq := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	if id < 0 {
		return nil // Not idempotent: Kafka does not look at the other two.
	}
	if seq < 0 {
		return invalid("base sequence is %d with producer id %d", seq, id)
	}
	if epoch < 0 {
		return invalid("producer epoch is %d with producer id %d", epoch, id)
	}
	return nil
}

// putLength writes the length field for a batch of n bytes in total.
func (b Batch) putLength(n int) {
	binary.BigEndian.PutUint32(b[posLength:], uint32(n-lengthPrefixBytes))
}

package oracle

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Inflate turns the records of a compressed batch into plain ones; codec is the number in the
// batch's attributes.
type Inflate func(codec int8, p []byte) ([]byte, error)

const (
	headBytes  = 61      // of a batch, up to its records
	lengthAt   = 8       // where the length is, which counts what follows it
	crcAt      = 17      // where the CRC is
	crcFrom    = 21      // what the CRC covers
	attrMark   = 1 << 14 // a batch that the server delivered
	attrStamp  = 1 << 3  // timestamps are the server's
	inflateMax = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// inflateGzip is Inflate with nothing but the standard library.
func inflateGzip(codec int8, p []byte) ([]byte, error) {
	if codec != 1 {
		return nil, fmt.Errorf("%w: codec %d, and no Inflate was given for it", ErrBadBatch, codec)
	}
	r, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, inflateMax))
}

// shownBatch is a decoded batch.
type shownBatch struct {
	base    int64
	epoch   int32
	marked  bool
	records []shownRecord
}

// shownRecord is a record as a consumer reads it.
type shownRecord struct {
	offset      int64
	timestampMs int64
	key, value  []byte
	headers     []Header
}

// nextBatch decodes the batch at the start of p.
func nextBatch(p []byte, inflate Inflate) (b shownBatch, rest []byte, err error) {
	if len(p) < headBytes {
		return b, nil, fmt.Errorf("%w: %d bytes", ErrBadBatch, len(p))
	}
	n := int(int32(binary.BigEndian.Uint32(p[lengthAt:]))) + lengthAt + 4
	if n < headBytes || n > len(p) {
		return b, nil, fmt.Errorf("%w: it says %d bytes, there are %d", ErrBadBatch, n, len(p))
	}
	whole := p[:n]
	var k kmsg.RecordBatch
	if err := k.ReadFrom(whole); err != nil {
		return b, nil, fmt.Errorf("%w: %w", ErrBadBatch, err)
	}
	told := binary.BigEndian.Uint32(whole[crcAt:])
	if crc32.Checksum(whole[crcFrom:], castagnoli) != told {
		return b, nil, fmt.Errorf("%w: the CRC at offset %d is wrong", ErrBadBatch, k.FirstOffset)
	}
	if k.Magic != 2 || k.Attributes&attrStamp != 0 {
		return b, nil, fmt.Errorf("%w: magic %d, attributes %#x at offset %d", ErrBadBatch, k.Magic,
			k.Attributes, k.FirstOffset)
	}
	records := k.Records
	if codec := int8(k.Attributes & 7); codec != 0 {
		if records, err = inflate(codec, records); err != nil {
			return b, nil, fmt.Errorf("%w: offset %d, codec %d: %w", ErrBadBatch, k.FirstOffset, codec, err)
		}
	}
	b = shownBatch{
		base: k.FirstOffset, epoch: k.PartitionLeaderEpoch, marked: k.Attributes&attrMark != 0,
	}
	b.records, err = decodeRecords(k, records)
	return b, p[n:], err
}

// decodeRecords decodes the records of a batch and checks them against its header.
func decodeRecords(k kmsg.RecordBatch, p []byte) ([]shownRecord, error) {
	out := make([]shownRecord, 0, max(0, min(int(k.NumRecords), len(p))))
	latest := int64(-1)
	for len(p) > 0 {
		n, width := binary.Varint(p)
		if width <= 0 || n < 0 || n > int64(len(p)-width) {
			return nil, fmt.Errorf("%w: record %d at offset %d is cut short", ErrBadBatch, len(out),
				k.FirstOffset)
		}
		size := width + int(n)
		var r kmsg.Record
		if err := r.ReadFrom(p[:size]); err != nil {
			return nil, fmt.Errorf("%w: record %d at offset %d: %w", ErrBadBatch, len(out),
				k.FirstOffset, err)
		}
		if int(r.OffsetDelta) != len(out) {
			return nil, fmt.Errorf("%w: record %d at offset %d has delta %d", ErrNotDense, len(out),
				k.FirstOffset, r.OffsetDelta)
		}
		s := shownRecord{
			offset: k.FirstOffset + int64(r.OffsetDelta), timestampMs: k.FirstTimestamp + r.TimestampDelta64,
			key: r.Key, value: r.Value,
		}
		for _, h := range r.Headers {
			s.headers = append(s.headers, Header{h.Key, h.Value})
		}
		latest = max(latest, s.timestampMs)
		out = append(out, s)
		p = p[size:]
	}
	if len(out) == 0 || len(out) != int(k.NumRecords) || len(out) != int(k.LastOffsetDelta)+1 {
		return nil, fmt.Errorf("%w: %d records at offset %d, the header says %d and last delta %d",
			ErrBadBatch, len(out), k.FirstOffset, k.NumRecords, k.LastOffsetDelta)
	}
	if latest != k.MaxTimestamp {
		return nil, fmt.Errorf("%w: the latest timestamp at offset %d is %d, the header says %d",
			ErrBadBatch, k.FirstOffset, latest, k.MaxTimestamp)
	}
	return out, nil
}

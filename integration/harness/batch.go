package harness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Byte positions in a v2 batch, and the bits of its attributes that tests look at.
const (
	batchHeaderBytes = 61
	batchLengthAt    = 8
	batchCRCAt       = 17
	batchCRCFrom     = 21

	CodecBits = int16(0x7)     // which codec the records are compressed with
	MarkBit   = int16(1 << 14) // set by the server alone, on what it delivered
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a v2 record batch that a test builds by hand: every field goes to the wire as it is.
type Batch struct {
	ProducerID int64 // -1: none
	Epoch      int16
	Sequence   int32
	Attributes int16 // or-ed with the codec's bits
	Codec      kgo.CompressionCodecType
	Timestamp  int64 // Unix ms, of every record
	Records    []kmsg.Record
}

// PlainBatch returns a batch without a producer id.
func PlainBatch(nowMs int64, records ...kmsg.Record) Batch {
	return Batch{ProducerID: -1, Epoch: -1, Sequence: -1, Timestamp: nowMs, Records: records}
}

// Record returns a record with a value and headers given as name, value, name, value.
func Record(value string, headers ...string) kmsg.Record {
	r := kmsg.Record{Value: []byte(value)}
	for i := 0; i+1 < len(headers); i += 2 {
		h := kmsg.Header{Key: headers[i], Value: []byte(headers[i+1])}
		r.Headers = append(r.Headers, h)
	}
	return r
}

// Encode returns the batch's bytes, with its length, counts and checksum set.
func (b Batch) Encode() ([]byte, error) {
	var records []byte
	for i, r := range b.Records {
		r.OffsetDelta = int32(i)
		records = appendRecord(records, r)
	}
	payload, err := compress(b.Codec, records)
	if err != nil {
		return nil, err
	}
	kb := kmsg.RecordBatch{
		Length:               int32(batchHeaderBytes - batchLengthAt - 4 + len(payload)),
		PartitionLeaderEpoch: -1,
		Magic:                2,
		Attributes:           b.Attributes | int16(b.Codec),
		LastOffsetDelta:      int32(len(b.Records) - 1),
		FirstTimestamp:       b.Timestamp,
		MaxTimestamp:         b.Timestamp,
		ProducerID:           b.ProducerID,
		ProducerEpoch:        b.Epoch,
		FirstSequence:        b.Sequence,
		NumRecords:           int32(len(b.Records)),
		Records:              payload,
	}
	raw := kb.AppendTo(nil)
	Seal(raw)
	return raw, nil
}

// Seal writes the checksum of an encoded batch, after a test changed some of its bytes.
func Seal(raw []byte) {
	sum := crc32.Checksum(raw[batchCRCFrom:], castagnoli)
	binary.BigEndian.PutUint32(raw[batchCRCAt:], sum)
}

// appendRecord encodes one record: its length counts what follows it, so the body comes first.
func appendRecord(dst []byte, r kmsg.Record) []byte {
	r.Length = 0
	body := r.AppendTo(nil)[1:] // a zero length takes one byte
	r.Length = int32(len(body))
	return r.AppendTo(dst)
}

func compress(codec kgo.CompressionCodecType, src []byte) ([]byte, error) {
	var c kgo.CompressionCodec
	switch codec {
	case kgo.CodecNone:
		return src, nil
	case kgo.CodecGzip:
		c = kgo.GzipCompression()
	case kgo.CodecSnappy:
		c = kgo.SnappyCompression()
	case kgo.CodecLz4:
		c = kgo.Lz4Compression()
	case kgo.CodecZstd:
		c = kgo.ZstdCompression()
	default:
		return nil, fmt.Errorf("codec %d is not Kafka's", codec)
	}
	comp, err := kgo.DefaultCompressor(c)
	if err != nil {
		return nil, fmt.Errorf("make a compressor for codec %d: %w", codec, err)
	}
	out, used := comp.Compress(&bytes.Buffer{}, src)
	if used != codec {
		return nil, fmt.Errorf("compressed with codec %d, want %d", used, codec)
	}
	return bytes.Clone(out), nil
}

// SplitBatches cuts the records of one fetched partition into batches and checks the checksum of
// each. A cut last batch is left out, as clients do.
func SplitBatches(raw []byte) ([]kmsg.RecordBatch, error) {
	var batches []kmsg.RecordBatch
	for len(raw) >= batchHeaderBytes {
		n := batchLengthAt + 4 + int(int32(binary.BigEndian.Uint32(raw[batchLengthAt:])))
		if n < batchHeaderBytes {
			return nil, fmt.Errorf("batch %d is %d bytes long", len(batches), n)
		}
		if n > len(raw) {
			break
		}
		sum := crc32.Checksum(raw[batchCRCFrom:n], castagnoli)
		if sum != binary.BigEndian.Uint32(raw[batchCRCAt:]) {
			return nil, fmt.Errorf("batch %d has a wrong checksum", len(batches))
		}
		var b kmsg.RecordBatch
		if err := b.ReadFrom(raw[:n]); err != nil {
			return nil, fmt.Errorf("decode batch %d: %w", len(batches), err)
		}
		batches = append(batches, b)
		raw = raw[n:]
	}
	return batches, nil
}

// Records inflates and decodes the records of a stored batch.
func Records(b kmsg.RecordBatch) ([]kmsg.Record, error) {
	codec := kgo.CompressionCodecType(b.Attributes & CodecBits)
	raw, err := kgo.DefaultDecompressor().Decompress(b.Records, codec)
	if err != nil {
		return nil, fmt.Errorf("inflate the batch at %d: %w", b.FirstOffset, err)
	}
	records := make([]kmsg.Record, 0, b.NumRecords)
	for len(raw) > 0 {
		n, used := binary.Varint(raw)
		if used <= 0 || n < 0 || int(n) > len(raw)-used {
			return nil, errors.New("a record's length does not fit its batch")
		}
		var r kmsg.Record
		if err := r.ReadFrom(raw[:used+int(n)]); err != nil {
			return nil, fmt.Errorf("decode record %d of the batch at %d: %w",
				len(records), b.FirstOffset, err)
		}
		records = append(records, r)
		raw = raw[used+int(n):]
	}
	if len(records) != int(b.NumRecords) {
		return nil, fmt.Errorf("the batch at %d holds %d records, says %d",
			b.FirstOffset, len(records), b.NumRecords)
	}
	return records, nil
}

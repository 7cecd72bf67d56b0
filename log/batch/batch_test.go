package batch

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaRecord is a record for makeKafka, in kmsg's terms.
type kafkaRecord struct {
	key, value []byte
	ts         int64 // ts is the delta from the base timestamp.
	headers    []kmsg.Header
}

// makeKafka builds a batch with franz-go's generated code alone, so that our reading
// and writing are held against someone else's. change may alter the header before it
// is encoded.
func makeKafka(rs []kafkaRecord, change func(*kmsg.RecordBatch)) Batch {
	rb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(rs) - 1),
		FirstTimestamp: 1_767_225_600_000, MaxTimestamp: 1_767_225_600_000,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(rs)),
	}
	for i, r := range rs {
		rb.MaxTimestamp = max(rb.MaxTimestamp, rb.FirstTimestamp+r.ts)
		rb.Records = appendKafkaRecord(rb.Records, r, int32(i))
	}
	if change != nil {
		change(&rb)
	}
	rb.Length = int32(HeaderBytes - lengthPrefixBytes + len(rb.Records))
	b := Batch(rb.AppendTo(nil))
	b.SealCRC()
	return b
}

func appendKafkaRecord(dst []byte, r kafkaRecord, delta int32) []byte {
	k := kmsg.Record{
		TimestampDelta64: r.ts, OffsetDelta: delta, Key: r.key, Value: r.value, Headers: r.headers,
	}
	body := k.AppendTo(nil) // With Length 0, which is one byte.
	k.Length = int32(len(body) - 1)
	return k.AppendTo(dst)
}

// twoRecords is a plain batch for tests that break it.
func twoRecords() []kafkaRecord {
	return []kafkaRecord{
		{key: []byte("k0"), value: []byte("v0"), ts: 0},
		{value: []byte("v1"), ts: 7, headers: []kmsg.Header{
			{Key: "h", Value: []byte("x")}, {Key: "n"},
		}},
	}
}

func TestAccessorsReadWhatKmsgWrites(t *testing.T) {
	b := makeKafka(twoRecords(), func(rb *kmsg.RecordBatch) {
		rb.FirstOffset, rb.PartitionLeaderEpoch = 1<<40, 77
		rb.Attributes = int16(Zstd) | attrLogAppendTime | attrTransactional | attrControl |
			AttrMark | KindSettlement.Attributes()
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = 1<<41, 12, maxSequence
	})
	type fields struct {
		Base, Last                   Offset
		Length                       int
		LeaderEpoch                  LeaderEpoch
		Magic                        int8
		Codec                        Codec
		Type                         TimestampType
		Transactional, Control, Mark bool
		Kind                         Kind
		Delta                        int32
		BaseTs, MaxTs                UnixMs
		ID                           ProducerID
		Epoch                        ProducerEpoch
		First, LastSeq               Sequence
		Count                        int
	}
	got := fields{
		b.BaseOffset(), b.LastOffset(), b.Length(), b.LeaderEpoch(), b.Magic(), b.Codec(),
		b.TimestampType(), b.IsTransactional(), b.IsControl(), b.IsMarked(), b.Kind(),
		b.LastOffsetDelta(), b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(),
		b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.Count(),
	}
	want := fields{
		1 << 40, 1<<40 + 1, len(b), 77, 2, Zstd, LogAppendTime, true, true, true, KindSettlement,
		1, 1_767_225_600_000, 1_767_225_600_007, 1 << 41, 12, maxSequence, 0, 2,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSettersStampWhatKmsgReads(t *testing.T) {
	b := makeKafka(twoRecords(), nil)
	b.SetBaseOffset(99)
	b.SetLeaderEpoch(5)
	if err := b.CheckCRC(); err != nil {
		t.Errorf("stamping offset and epoch must not touch the CRC: %v", err)
	}
	b.SetLogAppendTime(1_800_000_000_000)
	if err := b.CheckCRC(); err != nil {
		t.Errorf("SetLogAppendTime must seal the CRC: %v", err)
	}
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if rb.FirstOffset != 99 || rb.PartitionLeaderEpoch != 5 || rb.Attributes != 8 ||
		rb.MaxTimestamp != 1_800_000_000_000 {
		t.Errorf("kmsg reads %+v", rb)
	}
	if got := b.Timestamp(Record{TimestampDelta: 3}); got != 1_800_000_000_000 {
		t.Errorf("Timestamp under LogAppendTime is %d", got)
	}
}

func TestSequenceWraps(t *testing.T) {
	for _, c := range []struct {
		first Sequence
		n     int32
		want  Sequence
	}{
		{0, 0, 0},
		{5, 3, 8},
		{maxSequence, 0, maxSequence},
		{maxSequence, 1, 0},
		{maxSequence - 1, 3, 1},
		{maxSequence, maxSequence, maxSequence - 1},
	} {
		if got := c.first.Add(c.n); got != c.want {
			t.Errorf("%d.Add(%d) = %d, want %d", c.first, c.n, got, c.want)
		}
	}
	if got := makeKafka(twoRecords(), nil).LastSequence(); got != NoSequence {
		t.Errorf("LastSequence without a producer is %d", got)
	}
}

func TestNextSplitsBackToBackBatches(t *testing.T) {
	a, b := makeKafka(twoRecords(), nil), makeKafka(twoRecords()[:1], nil)
	p := append(bytes.Clone(a), b...)
	first, rest, err := Next(p)
	if err != nil || !bytes.Equal(first, a) {
		t.Fatalf("first batch: %v", err)
	}
	second, rest, err := Next(rest)
	if err != nil || !bytes.Equal(second, b) || len(rest) != 0 {
		t.Fatalf("second batch: %v, %d bytes left", err, len(rest))
	}
	for n := range a {
		if _, rest, err := Next(a[:n]); !errors.Is(err, ErrShort) || len(rest) != n {
			t.Errorf("Next of %d bytes: %v", n, err)
		}
	}
	for _, n := range []int32{-1 << 31, -13, -12, 0, HeaderBytes - lengthPrefixBytes - 1} {
		bad := bytes.Clone(a)
		Batch(bad).putLength(int(n) + lengthPrefixBytes)
		if _, _, err := Next(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Next with length %d: %v", n, err)
		}
	}
}

func TestKindRoundTrip(t *testing.T) {
	for _, k := range []Kind{KindNone, KindStaged, KindSettlement, KindCommand} {
		if got := KindOf(k.Attributes() | AttrMark | int16(Zstd)); got != k {
			t.Errorf("KindOf(%d) = %d", k, got)
		}
	}
}

func TestParseCodec(t *testing.T) {
	for _, c := range []Codec{None, Gzip, Snappy, Lz4, Zstd} {
		if got, err := ParseCodec(c.String()); err != nil || got != c {
			t.Errorf("ParseCodec(%q) = %v, %v", c.String(), got, err)
		}
	}
	if c, err := ParseCodec("uncompressed"); err != nil || c != None {
		t.Errorf("uncompressed: %v, %v", c, err)
	}
	for _, name := range []string{"", "producer", "GZIP", "zstd "} {
		if _, err := ParseCodec(name); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseCodec(%q): %v", name, err)
		}
	}
}

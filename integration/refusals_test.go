package integration

import (
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// yearMs is a year of 365 days.
const yearMs = 365 * 24 * 3600 * 1000

// TestControlHeaderRefusals sends a batch whose middle record has a bad control header: the
// answer is INVALID_RECORD, names that record, and says in a sentence what is wrong.
func TestControlHeaderRefusals(t *testing.T) {
	t.Parallel()
	late := strconv.FormatInt(time.Now().UnixMilli()+11*yearMs, 10)
	soon := strconv.FormatInt(time.Now().UnixMilli()+60_000, 10)
	for _, test := range []struct {
		name    string
		headers []string
		says    string // a word of the sentence
	}{
		{"no time", []string{headerTs, "soon"}, headerTs},
		{"empty", []string{headerTs, ""}, headerTs},
		{"seconds by mistake", []string{headerTs, "1893456000"}, headerTs},
		{"no zone", []string{headerTs, "2030-01-01T00:00:00"}, headerTs},
		{"no such day", []string{headerTs, "2030-02-30T00:00:00Z"}, headerTs},
		{"eight digits", []string{headerTs, "20300101"}, headerTs},
		{"number and rest", []string{headerTs, soon + "x"}, headerTs},
		{"too far", []string{headerTs, late}, "chronos.schedule.max.delay.ms"},
		{"delay too far", []string{headerDelay, "100000h"}, "chronos.schedule.max.delay.ms"},
		{"overflowing", []string{headerTs, "99999999999999999999"}, headerTs},
		{"negative delay", []string{headerDelay, "-5s"}, headerDelay},
		{"no delay", []string{headerDelay, "later"}, headerDelay},
		{"unknown unit", []string{headerDelay, "5 parsecs"}, headerDelay},
		{"both", []string{headerTs, soon, headerDelay, "5s"}, headerDelay},
		{"twice", []string{headerTs, soon, headerTs, soon}, headerTs},
		{"unknown control header", []string{"chronos-schedule-when", soon}, "chronos-schedule-when"},
		{"empty id", []string{"chronos-schedule-id", ""}, "chronos-schedule-id"},
		{
			"id too long",
			[]string{"chronos-schedule-id", strings.Repeat("i", 256)},
			"chronos-schedule-id",
		},
		{"no cron", []string{"chronos-schedule-cron", "whenever"}, "chronos-schedule-cron"},
		{
			"cron that never comes",
			[]string{"chronos-schedule-cron", "0 0 30 2 *"},
			"chronos-schedule-cron",
		},
		{
			"unknown zone",
			[]string{"chronos-schedule-cron", "* * * * *", "chronos-schedule-tz", "Mars/Olympus"},
			"chronos-schedule-tz",
		},
		{
			"cron and a time",
			[]string{headerTs, soon, "chronos-schedule-cron", "* * * * *"},
			"chronos-schedule-cron",
		},
		{
			"cancel and a time",
			[]string{"chronos-schedule-cancel", "a", headerDelay, "5s"},
			"chronos-schedule-cancel",
		},
		{
			"expired before it is due",
			[]string{headerDelay, "5m", "chronos-schedule-expire-ts", soon},
			"chronos-schedule-expire-ts",
		},
		{"message id, not supported", []string{"chronos-message-id", "a"}, "chronos-message-id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := sharedAddr(t)
			topic := createTopic(t, addr, 1)
			c := dial(t, addr)
			p := produceRaw(t, c, topic, encode(t, harness.PlainBatch(time.Now().UnixMilli(),
				harness.Record("good"),
				harness.Record("bad", test.headers...),
				harness.Record("good later", headerDelay, "0"),
			)))
			checkRecordError(t, p, 1, test.says)
			if hw := highWatermark(t, c, topic); hw != 0 {
				t.Errorf("the high watermark is %d: a refused batch left something", hw)
			}
		})
	}
}

// checkRecordError wants INVALID_RECORD with one sentence about one record.
func checkRecordError(
	t *testing.T, p kmsg.ProduceResponseTopicPartition, index int32, says string,
) {
	t.Helper()
	if p.ErrorCode != kerr.InvalidRecord.Code {
		t.Fatalf("code %v, want %v; message %s", kerr.ErrorForCode(p.ErrorCode),
			kerr.InvalidRecord, text(p.ErrorMessage))
	}
	if p.BaseOffset != -1 {
		t.Errorf("base offset %d of a refused batch, want -1", p.BaseOffset)
	}
	if len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != index {
		t.Fatalf("record errors %s, want one for record %d", recordErrors(p), index)
	}
	sentence := p.ErrorRecords[0].ErrorMessage
	if sentence == nil || !strings.Contains(*sentence, says) || !strings.Contains(*sentence, " ") {
		t.Errorf("record error %s, want a sentence with %q", text(sentence), says)
	}
	t.Logf("refused: %s", text(sentence))
}

// rawRefusal is a batch that a broken or hostile client could send, and the code it gets.
type rawRefusal struct {
	name  string
	batch harness.Batch
	spoil func(raw []byte) []byte // after encoding; nil: nothing more
	want  *kerr.Error
}

func rawRefusals(nowMs int64) []rawRefusal {
	plain := harness.PlainBatch(nowMs, harness.Record("a"), harness.Record("b"))
	with := func(change func(*harness.Batch)) harness.Batch {
		b := plain
		change(&b)
		return b
	}
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(raw []byte) []byte {
			binary.BigEndian.PutUint32(raw[at:], v)
			harness.Seal(raw)
			return raw
		}
	}
	return []rawRefusal{
		{"wrong checksum", plain, func(raw []byte) []byte {
			raw[len(raw)-1] ^= 1
			return raw
		}, kerr.CorruptMessage},
		{
			"shorter than a header", plain, func(raw []byte) []byte { return raw[:60] },
			kerr.CorruptMessage,
		},
		{"magic 1", plain, func(raw []byte) []byte {
			raw[16] = 1
			return raw
		}, kerr.InvalidRecord},
		{
			"two batches", plain, func(raw []byte) []byte { return append(raw, raw...) },
			kerr.InvalidRecord,
		},
		{"base offset 5", plain, func(raw []byte) []byte {
			raw[7] = 5
			return raw
		}, kerr.InvalidRecord},
		{"count above the records", plain, put32(57, 3), kerr.InvalidRecord},
		{"count of zero", plain, put32(57, 0), kerr.InvalidRecord},
		{"last offset delta above the count", plain, put32(23, 5), kerr.InvalidRecord},
		{"producer id without a sequence", with(func(b *harness.Batch) {
			b.ProducerID, b.Epoch, b.Sequence = 77, 0, -1
		}), nil, kerr.InvalidRecord},
		{
			"control batch", with(func(b *harness.Batch) { b.Attributes = 1 << 5 }), nil,
			kerr.InvalidRecord,
		},
		{
			"the server's mark", with(func(b *harness.Batch) { b.Attributes = harness.MarkBit }), nil,
			kerr.InvalidRecord,
		},
		{
			"delete horizon", with(func(b *harness.Batch) { b.Attributes = 1 << 6 }), nil,
			kerr.InvalidRecord,
		},
		{
			"unused bit 8", with(func(b *harness.Batch) { b.Attributes = 1 << 8 }), nil,
			kerr.InvalidRecord,
		},
		{
			"log append time", with(func(b *harness.Batch) { b.Attributes = 1 << 3 }), nil,
			kerr.InvalidTimestamp,
		},
		{
			"tomorrow", with(func(b *harness.Batch) { b.Timestamp += 24 * 3600 * 1000 }), nil,
			kerr.InvalidTimestamp,
		},
	}
}

// TestBatchRefusals sends batches that no client should: each gets Kafka's code, nothing is
// written, and the connection stays open for the next one.
func TestBatchRefusals(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	c := dial(t, addr)
	for _, test := range rawRefusals(time.Now().UnixMilli()) {
		raw := encode(t, test.batch)
		if test.spoil != nil {
			raw = test.spoil(raw)
		}
		p := produceRaw(t, c, topic, raw)
		if p.ErrorCode != test.want.Code {
			t.Errorf("%s: code %v, want %v; message %s", test.name,
				kerr.ErrorForCode(p.ErrorCode), test.want, text(p.ErrorMessage))
		}
	}
	if hw := highWatermark(t, c, topic); hw != 0 {
		t.Errorf("the high watermark is %d: a refused batch left something", hw)
	}
	if at := mustProduceRaw(t, c, topic, encode(t, harness.PlainBatch(time.Now().UnixMilli(),
		harness.Record("good")))); at != 0 {
		t.Errorf("the first good batch is at %d, want 0", at)
	}
}

// TestRequestRefusals sends requests whose batch is good and whose frame is not.
func TestRequestRefusals(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	c := dial(t, addr)
	good := harness.PlainBatch(time.Now().UnixMilli(), harness.Record("a"))
	zstd := good
	zstd.Codec = kgo.CodecZstd
	for _, test := range []struct {
		name   string
		change func(*kmsg.ProduceRequest)
		want   *kerr.Error
	}{
		{"acks 2", func(r *kmsg.ProduceRequest) { r.Acks = 2 }, kerr.InvalidRequiredAcks},
		{
			"unknown topic", func(r *kmsg.ProduceRequest) { r.Topics[0].Topic = "no-such" },
			kerr.UnknownTopicOrPartition,
		},
		{
			"unknown partition", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Partition = 9 },
			kerr.UnknownTopicOrPartition,
		},
		{
			"no records", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Records = nil },
			kerr.InvalidRecord,
		},
		{"zstd before version 7", func(r *kmsg.ProduceRequest) {
			r.SetVersion(6)
			r.Topics[0].Partitions[0].Records = encode(t, zstd)
		}, kerr.UnsupportedCompressionType},
	} {
		req := produceRequest(topic, encode(t, good))
		test.change(req)
		if p := produceDo(t, c, req); p.ErrorCode != test.want.Code {
			t.Errorf("%s: code %v, want %v", test.name, kerr.ErrorForCode(p.ErrorCode), test.want)
		}
	}
	if hw := highWatermark(t, c, topic); hw != 0 {
		t.Errorf("the high watermark is %d: a refused batch left something", hw)
	}
}

// TestSequenceRefusals walks one producer's window: a gap, an old epoch, a duplicate.
func TestSequenceRefusals(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	c := dial(t, addr)
	id, epoch := initProducer(t, c)
	send := func(epoch int16, seq int32) kmsg.ProduceResponseTopicPartition {
		return produceRaw(t, c, topic, encode(t, harness.Batch{
			ProducerID: id, Epoch: epoch, Sequence: seq, Timestamp: time.Now().UnixMilli(),
			Records: []kmsg.Record{harness.Record(strconv.Itoa(int(seq)))},
		}))
	}
	for _, step := range []struct {
		name   string
		epoch  int16
		seq    int32
		want   int16
		offset int64
	}{
		{"first", epoch, 0, 0, 0},
		{"second", epoch, 1, 0, 1},
		{"second again", epoch, 1, 0, 1},
		{"first again", epoch, 0, 0, 0},
		{"a gap", epoch, 5, kerr.OutOfOrderSequenceNumber.Code, -1},
		{
			"a new epoch that does not begin at 0", epoch + 1, 7,
			kerr.OutOfOrderSequenceNumber.Code, -1,
		},
		{"a new epoch", epoch + 1, 0, 0, 2},
		{"the old epoch", epoch, 2, kerr.InvalidProducerEpoch.Code, -1},
	} {
		p := send(step.epoch, step.seq)
		if p.ErrorCode != step.want || p.BaseOffset != step.offset {
			t.Fatalf("%s: %v at offset %d, want %v at %d", step.name,
				kerr.ErrorForCode(p.ErrorCode), p.BaseOffset, kerr.ErrorForCode(step.want), step.offset)
		}
	}
}

package api_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
)

func produce(version int16, id [16]byte, raw []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = version, -1, 30_000
	r.Topics = []kmsg.ProduceRequestTopic{{
		Topic: "t", TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: raw}},
	}}
	return r
}

// damaged is a good batch with one change.
func damaged(t *testing.T, change func(b batch.Batch) []byte) []byte {
	t.Helper()
	return change(batch.Batch(records(t, 2, 10, batch.None)))
}

func TestProduceRefusals(t *testing.T) {
	attribute := func(bit int) []byte {
		return damaged(t, func(b batch.Batch) []byte {
			b.SetAttributes(1 << bit)
			b.SealCRC()
			return b
		})
	}
	two := func(b batch.Batch) []byte { return append(append([]byte{}, b...), b...) }
	for _, c := range []struct {
		name    string
		version int16
		raw     []byte
		want    *kerr.Error
	}{
		{"nothing", 9, nil, kerr.InvalidRecord},
		{"empty", 9, []byte{}, kerr.InvalidRecord},
		{"a few bytes", 9, []byte("abc"), kerr.CorruptMessage},
		{"two batches", 9, damaged(t, two), kerr.InvalidRecord},
		{"magic 1", 9, damaged(t, func(b batch.Batch) []byte { b[16] = 1; return b }), kerr.InvalidRecord},
		{"crc", 9, damaged(t, func(b batch.Batch) []byte { b[70] ^= 1; return b }), kerr.CorruptMessage},
		{"cut", 9, damaged(t, func(b batch.Batch) []byte { return b[:len(b)-1] }), kerr.CorruptMessage},
		{"control", 9, attribute(5), kerr.InvalidRecord},
		{"mark", 9, attribute(14), kerr.InvalidRecord},
		{"log append time", 9, attribute(3), kerr.InvalidTimestamp},
		{"transactional", 9, attribute(4), kerr.TransactionalIDAuthorizationFailed},
		{"too large", 9, records(t, 1, 1<<20, batch.None), kerr.MessageTooLarge},
		{"zstd too early", 6, records(t, 9, 100, batch.Zstd), kerr.UnsupportedCompressionType},
		{"zstd", 7, records(t, 9, 100, batch.Zstd), nil},
	} {
		b := newBench(t)
		b.topic("t", 1)
		p := b.do(produce(c.version, [16]byte{}, c.raw)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if got := kerr.ErrorForCode(p.ErrorCode); !errors.Is(got, asError(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if c.want == nil {
			continue
		}
		if p.BaseOffset != -1 || p.LogAppendTime != -1 || p.LogStartOffset > 0 {
			t.Errorf("%s: an error with offsets: %+v", c.name, p)
		}
		if c.version >= 8 && (p.ErrorMessage == nil || *p.ErrorMessage == "") {
			t.Errorf("%s: no sentence", c.name)
		}
	}
}

func asError(e *kerr.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func TestProduceToWrongPlaces(t *testing.T) {
	type request = kmsg.ProduceRequest
	b := newBench(t)
	id := b.topic("t", 1)
	if _, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "__consumer_offsets", Partitions: 1, Internal: true,
	}, false); err != nil {
		t.Fatal(err)
	}
	raw := records(t, 1, 10, batch.None)
	code := func(version int16, change func(r *request)) int16 {
		t.Helper()
		r := produce(version, id, raw)
		change(r)
		out := b.do(r).(*kmsg.ProduceResponse)
		if out.Topics[0].TopicID != r.Topics[0].TopicID && version >= 13 {
			t.Errorf("v%d: answered for topic %x", version, out.Topics[0].TopicID)
		}
		return out.Topics[0].Partitions[0].ErrorCode
	}
	for _, c := range []struct {
		name    string
		version int16
		change  func(r *request)
		want    *kerr.Error
	}{
		{"topic", 12, func(r *request) { r.Topics[0].Topic = "no" }, kerr.UnknownTopicOrPartition},
		{"topic id", 13, func(r *request) { r.Topics[0].TopicID[3]++ }, kerr.UnknownTopicID},
		{"partition", 13, func(r *request) { r.Topics[0].Partitions[0].Partition = 1 }, kerr.UnknownTopicOrPartition},
		{"negative", 7, func(r *request) { r.Topics[0].Partitions[0].Partition = -1 }, kerr.UnknownTopicOrPartition},
		{"internal", 7, func(r *request) { r.Topics[0].Topic = "__consumer_offsets" }, kerr.InvalidTopicException},
		{"acks 2", 7, func(r *request) { r.Acks = 2 }, kerr.InvalidRequiredAcks},
		{"acks -2", 7, func(r *request) { r.Acks = -2 }, kerr.InvalidRequiredAcks},
		{"transactional", 7, func(r *request) { r.TransactionID = new(string) }, kerr.TransactionalIDAuthorizationFailed},
	} {
		if got := code(c.version, c.change); got != c.want.Code {
			t.Errorf("%s: code %d, want %v", c.name, got, c.want)
		}
	}
	part := b.replicas.Of("t", 0)
	for _, c := range []struct {
		err  error
		want *kerr.Error
	}{
		{replication.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
		{replication.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
		{replication.ErrInvalidTimestamp, kerr.InvalidTimestamp},
		{replication.ErrStorage, kerr.KafkaStorageError},
		{replication.ErrClosed, kerr.NotLeaderForPartition},
		{errors.New("boom"), kerr.UnknownServerError},
	} {
		part.Refuse(fmt.Errorf("wrapped: %w", c.err))
		if got := code(13, func(*kmsg.ProduceRequest) {}); got != c.want.Code {
			t.Errorf("%v: code %d, want %v", c.err, got, c.want)
		}
	}
	part.Refuse(nil)
	part.Offline(errors.New("bad bytes"))
	if got := code(13, func(*kmsg.ProduceRequest) {}); got != kerr.KafkaStorageError.Code {
		t.Errorf("offline: code %d", got)
	}
}

// TestProduceNamesTheLeader: from version 10 on, who is asked in vain says whom to ask, at once or
// when a batch that was taken is given up.
func TestProduceNamesTheLeader(t *testing.T) {
	for _, taken := range []bool{false, true} {
		b := newBench(t)
		b.replicas.Auto = false
		id := b.topic("t", 1)
		part := b.replicas.Of("t", 0)
		if !taken {
			part.Refuse(replication.ErrClosed)
		}
		r := produce(13, id, records(t, 1, 10, batch.None))
		answer, err := b.start(r)
		if err != nil {
			t.Fatal(err)
		}
		part.Abandon(replication.ErrClosed)
		out := b.finish(r, answer).(*kmsg.ProduceResponse)
		p := out.Topics[0].Partitions[0]
		if p.ErrorCode != kerr.NotLeaderForPartition.Code || p.BaseOffset != -1 {
			t.Errorf("taken %v: answered %+v", taken, p)
		}
		if p.CurrentLeader.LeaderID != apitest.Node || p.CurrentLeader.LeaderEpoch != 3 {
			t.Errorf("taken %v: leader is %+v", taken, p.CurrentLeader)
		}
		if len(out.Brokers) != 1 || out.Brokers[0].Host != "broker.test" || out.Brokers[0].Port != 9092 {
			t.Errorf("taken %v: nodes are %+v", taken, out.Brokers)
		}
	}
}

// TestProduceNamesTheRecord: a refused record has its index and a sentence from version 8 on.
func TestProduceNamesTheRecord(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	refusal := &batch.RecordError{Index: 4, Err: &batch.ControlError{
		Header: "chronos-schedule-ts", Reason: "write 13 digits",
	}}
	b.replicas.Of("t", 0).Refuse(fmt.Errorf("partition t-0: %w", refusal))
	for version := int16(3); version <= 12; version++ {
		p := b.do(produce(version, [16]byte{}, records(t, 5, 10, batch.None))).(*kmsg.ProduceResponse).
			Topics[0].Partitions[0]
		if p.ErrorCode != kerr.InvalidRecord.Code {
			t.Errorf("v%d: code %d", version, p.ErrorCode)
		}
		if version < 8 {
			continue
		}
		if len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 4 ||
			!strings.Contains(*p.ErrorRecords[0].ErrorMessage, "write 13 digits") {
			t.Errorf("v%d: record errors are %+v", version, p.ErrorRecords)
		}
		if !strings.Contains(*p.ErrorMessage, "record 4") {
			t.Errorf("v%d: message is %q", version, *p.ErrorMessage)
		}
	}
}

// TestProduceOffsets: what the partition answers reaches the client, a staged batch's -1, too.
func TestProduceOffsets(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	part := b.replicas.Of("t", 0)
	for want := int64(0); want < 9; want += 3 {
		p := b.do(produce(13, id, records(t, 3, 10, batch.Lz4))).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != want || p.LogAppendTime != -1 || p.LogStartOffset != 0 {
			t.Errorf("want offset %d: %+v", want, p)
		}
	}
	if part.HighWatermark() != 9 {
		t.Errorf("high watermark %d", part.HighWatermark())
	}
}

// TestProduceAcks0 gets no answer, and an error closes the connection.
func TestProduceAcks0(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	r := produce(13, id, records(t, 1, 10, batch.None))
	r.Acks = 0
	answer, err := b.start(r)
	if err != nil || !answer.Silent() {
		t.Fatalf("acks 0: silent %v, %v", answer.Silent(), err)
	}
	if hw := b.replicas.Of("t", 0).HighWatermark(); hw != 1 {
		t.Errorf("high watermark %d: the batch was not appended", hw)
	}
	r.Topics[0].Partitions[0].Partition = 5
	if answer, err = b.start(r); !errors.Is(err, api.ErrRefused) || !answer.Silent() {
		t.Errorf("acks 0 with an error: %v", err)
	}
}

// TestProduceWaitsForTheDisk parks an answer until the batch is durable, and no longer than asked.
func TestProduceWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.replicas.Auto = false
		id := b.topic("t", 1)
		r := produce(13, id, records(t, 1, 10, batch.None))
		first, err := b.start(r)
		if err != nil || first.Ready() {
			t.Fatalf("ready %v, %v", first.Ready(), err)
		}
		done := b.parked(first)
		synctest.Wait()
		still(t, done)
		b.replicas.Of("t", 0).Commit()
		<-done

		second, err := b.start(r)
		if err != nil {
			t.Fatal(err)
		}
		out := b.finish(r, second).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if out.ErrorCode != kerr.RequestTimedOut.Code || out.BaseOffset != -1 {
			t.Errorf("after the timeout: %+v", out)
		}
	})
}

// TestProduceShape refuses requests whose decoded form would be much larger than they are.
func TestProduceShape(t *testing.T) {
	b := newBench(t)
	many := kmsg.NewPtrProduceRequest()
	many.Version = 12
	many.Topics = make([]kmsg.ProduceRequestTopic, 1<<20)
	if _, err := b.start(many); !errors.Is(err, api.ErrMalformed) {
		t.Errorf("a million topics in three megabytes: %v", err)
	}
	// What honest clients send at its most extreme: the smallest batches on very many partitions,
	// or topics.
	honest := produce(12, [16]byte{}, records(t, 1, 0, batch.None))
	one := honest.Topics[0].Partitions[0]
	honest.Topics[0].Partitions = slices.Repeat([]kmsg.ProduceRequestTopicPartition{one}, 10_000)
	if _, err := b.start(honest); err != nil {
		t.Errorf("ten thousand partitions: %v", err)
	}
	honest = produce(12, [16]byte{}, records(t, 1, 0, batch.None))
	honest.Topics = slices.Repeat(honest.Topics, 10_000)
	if _, err := b.start(honest); err != nil {
		t.Errorf("ten thousand topics: %v", err)
	}
	claim := []byte{0, 0, 0, 13, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x07}
	if _, err := b.service.Start(t.Context(), b.session, claim); !errors.Is(err, api.ErrMalformed) {
		t.Errorf("two thousand million topics claimed: %v", err)
	}
}

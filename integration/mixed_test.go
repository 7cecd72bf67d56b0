package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// fence is a delay that a test schedules after something that must not be delivered: what waited
// before the fence would be read before it.
const fence = "300"

// TestMixedBatches writes batches that hold records for now, for the past and for later, in every
// codec: what is due is in the log with the answer, in the order of the batch, for a time in the past
// is due now; the rest follows in due order, and only what had control headers carries a due time.
func TestMixedBatches(t *testing.T) {
	t.Parallel()
	for _, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			t.Parallel()
			addr := sharedAddr(t)
			topic := createTopic(t, addr, 1)
			c := dial(t, addr)
			id, epoch := initProducer(t, c)
			sentMs := time.Now().UnixMilli() - 1000
			dueMs := time.Now().Add(ahead).UnixMilli()
			at := func(ms int64) string { return strconv.FormatInt(dueMs+ms, 10) }
			offset := mustProduceRaw(t, c, topic, encode(t, harness.Batch{
				ProducerID: id, Epoch: epoch, Timestamp: sentMs, Codec: codec.code,
				Records: []kmsg.Record{
					harness.Record("plain 0", "mine", "kept"),
					harness.Record("later 2", headerTs, at(20)),
					harness.Record("past 1", headerTs, "1600000000000", "mine", "kept"),
					harness.Record("later 1", headerTs, at(10), "mine", "kept"),
					harness.Record("plain 2"),
					harness.Record("later 3", headerTs, at(30)),
					harness.Record(compressible),
				},
			}))
			if offset != -1 {
				t.Errorf("base offset %d of a staged batch, want -1", offset)
			}
			hw := highWatermark(t, c, topic)
			if time.Now().UnixMilli() < dueMs && hw != 4 {
				t.Errorf("the high watermark is %d at the answer, want the 4 records for now", hw)
			}
			all := storedRecords(t, addr, topic, 7)
			checkMixed(t, all, sentMs)
		})
	}
}

func checkMixed(t *testing.T, all []stored, sentMs int64) {
	t.Helper()
	var values []string
	for _, r := range all {
		values = append(values, string(r.Value))
		if !r.marked {
			t.Errorf("%.20q was delivered from the staging log without the mark", r.Value)
		}
		if n := len(r.headers(headerPosition)); n != 1 {
			t.Errorf("%.20q has %d position headers, want 1", r.Value, n)
		}
		scheduled := strings.HasPrefix(string(r.Value), "later") ||
			strings.HasPrefix(string(r.Value), "past")
		if got := len(r.headers(headerScheduledFor)) == 1; got != scheduled {
			t.Errorf("%.20q has a due time: %v, want %v", r.Value, got, scheduled)
		}
		if n := len(r.headers(headerTs)); n != 0 {
			t.Errorf("%.20q still has its control header", r.Value)
		}
		if !scheduled && r.timestampMs != sentMs {
			t.Errorf("%.20q is stamped %d, want the producer's %d", r.Value, r.timestampMs, sentMs)
		}
	}
	want := []string{"plain 0", "past 1", "plain 2", compressible, "later 1", "later 2", "later 3"}
	if !slices.Equal(values, want) {
		t.Errorf("read %.200q, want %.200q", values, want)
	}
	for _, i := range []int{0, 1, 4} { // plain 0, past 1, later 1
		if got := all[i].headers("mine"); len(got) != 1 || got[0] != "kept" {
			t.Errorf("%.20q lost its own header: %q", all[i].Value, got)
		}
	}
}

// TestRetryAfterDelivery repeats a staged batch, with its sequence, once its records have been
// delivered: it is a duplicate, answered as the first time, and delivered no second time.
func TestRetryAfterDelivery(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	c := dial(t, addr)
	id, epoch := initProducer(t, c)
	batch := func(seq int32, records ...kmsg.Record) []byte {
		return encode(t, harness.Batch{
			ProducerID: id, Epoch: epoch, Sequence: seq, Timestamp: time.Now().UnixMilli(),
			Records: records,
		})
	}
	staged := batch(0, harness.Record("once", headerDelay, fence), harness.Record("now"))
	for range 2 {
		if at := mustProduceRaw(t, c, topic, slices.Clone(staged)); at != -1 {
			t.Fatalf("a staged batch is answered with offset %d, want -1", at)
		}
	}
	storedRecords(t, addr, topic, 2)
	if at := mustProduceRaw(t, c, topic, slices.Clone(staged)); at != -1 {
		t.Fatalf("the retry after the delivery is answered with offset %d, want -1", at)
	}
	mustProduceRaw(t, c, topic, batch(2, harness.Record("fence", headerDelay, fence)))
	var values []string
	for _, r := range storedRecords(t, addr, topic, 3) {
		values = append(values, string(r.Value))
	}
	if want := []string{"now", "once", "fence"}; !slices.Equal(values, want) {
		t.Errorf("read %q, want %q", values, want)
	}
}

// TestForgedPositions sends server-made headers as a client: on a plain record they are plain
// headers, on a scheduled one they are replaced, and a pending record whose position is forged is
// still delivered, also through a kill and a rebuild from the logs.
func TestForgedPositions(t *testing.T) {
	t.Parallel()
	const guesses = 20
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), 1)
	c := dial(t, s.Addr())
	nowMs := time.Now().UnixMilli()
	produced := mustProduceRaw(t, c, topic, encode(t, harness.PlainBatch(nowMs,
		harness.Record("pending", headerDelay, "3s",
			headerPosition, "9.9.9", headerScheduledFor, "1", headerCreatedAt, "2"),
	)))
	if produced != -1 {
		t.Fatalf("a scheduled record with forged headers is at %d, want -1", produced)
	}
	var forged []kmsg.Record
	for i := range guesses {
		position := fmt.Sprintf("%d.%d.0", i%5, i/5)
		forged = append(forged, harness.Record("forged "+position,
			headerPosition, position, headerScheduledFor, "1", headerCreatedAt, "2"))
	}
	if at := mustProduceRaw(t, c, topic, encode(t, harness.PlainBatch(nowMs, forged...))); at != 0 {
		t.Fatalf("server-made headers alone stage nothing, yet the offset is %d, want 0", at)
	}
	s.Restart()
	all := storedRecords(t, s.Addr(), topic, guesses+1)
	for i, r := range all[:guesses] {
		want := fmt.Sprintf("%d.%d.0", i%5, i/5)
		if got := r.headers(headerPosition); len(got) != 1 || got[0] != want || r.marked {
			t.Errorf("forged record %d has positions %q, marked %v; want it untouched", i, got, r.marked)
		}
	}
	last := all[guesses]
	if string(last.Value) != "pending" || !last.marked {
		t.Fatalf("the last record is %q, marked %v; want the pending one", last.Value, last.marked)
	}
	for _, name := range []string{headerPosition, headerScheduledFor, headerCreatedAt} {
		if got := last.headers(name); len(got) != 1 || len(got[0]) < 3 || got[0] == "9.9.9" {
			t.Errorf("the delivered record has %s %q, want the server's own", name, got)
		}
	}
}

// TestMirror copies delivered records, headers and all, to a second topic, as mirrors do: there
// they are plain records, and nothing is scheduled again.
func TestMirror(t *testing.T) {
	t.Parallel()
	const count = 10
	addr := sharedAddr(t)
	source, target := topicName(t), topicName(t)+"-copy"
	createNamedTopic(t, addr, source, 1)
	createNamedTopic(t, addr, target, 1)
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{
			Topic: source, Value: []byte(strconv.Itoa(i)),
			Headers: []kgo.RecordHeader{{Key: headerDelay, Value: []byte(strconv.Itoa(100 + i))}},
		})
	}
	cl := newClient(t, addr)
	produceSync(t, cl, records...)
	delivered := consume(t, addr, source, count)
	for i, r := range delivered {
		same := &kgo.Record{Topic: target, Value: r.Value, Headers: r.Headers}
		produceSync(t, cl, same)
		if same.Offset != int64(i) {
			t.Fatalf("copy %d is at offset %d: it was staged again", i, same.Offset)
		}
	}
	for i, r := range consume(t, addr, target, count) {
		if got := header(t, r.Record, headerPosition); got != header(t, delivered[i].Record,
			headerPosition) {
			t.Errorf("copy %d has position %s, want the copied one", i, got)
		}
	}
}

// TestNamesInsideContent puts the names of control headers where they mean nothing.
func TestNamesInsideContent(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	c := dial(t, addr)
	withKey := harness.Record("v")
	withKey.Key = []byte(headerTs)
	for i, r := range []kmsg.Record{
		harness.Record(headerTs),
		harness.Record(headerDelay + "=5s"),
		withKey,
		harness.Record("v", "mine", headerDelay),
		harness.Record("v", "x-"+headerTs, "1893456000000"),
		harness.Record("v", "Chronos-Schedule-Ts", "1893456000000"),
		harness.Record("v", "chronos-scheduled", "1893456000000"),
		harness.Record("v", "chronos-", "1893456000000"),
	} {
		raw := encode(t, harness.PlainBatch(time.Now().UnixMilli(), r))
		if at := mustProduceRaw(t, c, topic, raw); at != int64(i) {
			t.Errorf("record %d is at offset %d, want %d: nothing in it is a control header", i, at, i)
		}
	}
	for _, r := range storedRecords(t, addr, topic, 8) {
		if r.marked || len(r.headers(headerPosition)) != 0 {
			t.Errorf("the record at %d went through the staging log", r.offset)
		}
	}
}

// TestExactlyMaxMessageBytes writes batches of the largest size allowed and of one byte more,
// plain and scheduled. The scheduled one grows by its added headers and is delivered all the same.
func TestExactlyMaxMessageBytes(t *testing.T) {
	t.Parallel()
	const limit = 4096
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1, "max.message.bytes", strconv.Itoa(limit))
	c := dial(t, addr)
	sized := func(size int, headers ...string) []byte {
		value := strings.Repeat("x", size)
		for {
			raw := encode(t, harness.PlainBatch(time.Now().UnixMilli(),
				harness.Record(value, headers...)))
			if len(raw) <= size {
				return raw
			}
			value = value[:len(value)-(len(raw)-size)]
		}
	}
	for _, headers := range [][]string{nil, {headerDelay, fence}} {
		over := sized(limit+1, headers...)
		if len(over) != limit+1 {
			t.Fatalf("made a batch of %d bytes, want %d", len(over), limit+1)
		}
		if p := produceRaw(t, c, topic, over); p.ErrorCode != kerr.MessageTooLarge.Code {
			t.Errorf("a byte too many, headers %q: %v, want %v", headers,
				kerr.ErrorForCode(p.ErrorCode), kerr.MessageTooLarge)
		}
		exact := sized(limit, headers...)
		if len(exact) != limit {
			t.Fatalf("made a batch of %d bytes, want %d", len(exact), limit)
		}
		mustProduceRaw(t, c, topic, exact)
	}
	all := storedRecords(t, addr, topic, 2)
	if len(all[1].headers(headerScheduledFor)) != 1 || len(all[1].Value) < limit-200 {
		t.Errorf("the scheduled record came back with %d bytes and headers %v",
			len(all[1].Value), all[1].Headers)
	}
}

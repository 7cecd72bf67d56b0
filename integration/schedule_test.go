package integration

import (
	"encoding/binary"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ahead is how far the schedule tests look: longer than a slow machine takes to produce and to
// look at the empty partition.
const ahead = 2 * time.Second

var positionForm = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

// scheduleForms are the ways to say when, each with the latest and earliest due time that it may
// mean when it was sent between two instants.
var scheduleForms = []struct {
	name   string
	header func(due time.Time) kgo.RecordHeader
	delay  time.Duration // 0: the header names the due time itself
}{
	{"ts in ms", tsHeader(func(due time.Time) []byte {
		return strconv.AppendInt(nil, due.UnixMilli(), 10)
	}), 0},
	{"ts in RFC 3339", tsHeader(func(due time.Time) []byte {
		return due.UTC().AppendFormat(nil, time.RFC3339Nano)
	}), 0},
	{"ts in RFC 3339 with a zone", tsHeader(func(due time.Time) []byte {
		zone := time.FixedZone("east", int(5*time.Hour/time.Second))
		return due.In(zone).AppendFormat(nil, "2006-01-02T15:04:05.000Z07:00")
	}), 0},
	{"ts in 8 bytes", tsHeader(func(due time.Time) []byte {
		return binary.BigEndian.AppendUint64(nil, uint64(due.UnixMilli()))
	}), 0},
	{"delay in ms", delayHeader("1500"), 1500 * time.Millisecond},
	{"delay in seconds", delayHeader("2s"), 2 * time.Second},
	{"delay of two units", delayHeader("1s500ms"), 1500 * time.Millisecond},
	{"delay in ISO 8601", delayHeader("PT2S"), 2 * time.Second},
}

func tsHeader(value func(time.Time) []byte) func(time.Time) kgo.RecordHeader {
	return func(due time.Time) kgo.RecordHeader {
		return kgo.RecordHeader{Key: headerTs, Value: value(due)}
	}
}

func delayHeader(value string) func(time.Time) kgo.RecordHeader {
	return func(time.Time) kgo.RecordHeader {
		return kgo.RecordHeader{Key: headerDelay, Value: []byte(value)}
	}
}

// TestKgoSchedules writes a record for later in every form and reads it when it is due.
func TestKgoSchedules(t *testing.T) {
	t.Parallel()
	for _, form := range scheduleForms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			addr := sharedAddr(t)
			topic := createTopic(t, addr, 1)
			cl := newClient(t, addr, kgo.DefaultProduceTopic(topic))
			sent := &kgo.Record{
				Key: []byte("key"), Value: []byte("value"),
				Timestamp: time.UnixMilli(1_600_000_000_123),
				Headers:   []kgo.RecordHeader{{Key: "mine", Value: []byte("kept")}},
			}
			before := time.Now()
			dueMin := time.UnixMilli(before.Add(ahead).UnixMilli())
			sent.Headers = append(sent.Headers, form.header(dueMin))
			produceSync(t, cl, sent)
			dueMax := dueMin
			if form.delay != 0 {
				dueMin = time.UnixMilli(before.Add(form.delay).UnixMilli())
				dueMax = time.Now().Add(form.delay)
			}
			t.Logf("kgo reports offset %d for a scheduled record", sent.Offset)
			if sent.Offset != -1 {
				t.Errorf("kgo reports offset %d, want -1", sent.Offset)
			}
			if hw := highWatermark(t, dial(t, addr), topic); time.Now().Before(dueMin) && hw != 0 {
				t.Errorf("the high watermark is %d before the record is due", hw)
			}
			got := consume(t, addr, topic, 1)[0]
			checkDelivered(t, got, sent)
			due := time.UnixMilli(headerMs(t, got.Record, headerScheduledFor))
			if due.Before(dueMin) || due.After(dueMax) {
				t.Errorf("due %v, want %v to %v", due, dueMin, dueMax)
			}
		})
	}
}

// checkDelivered checks everything that design and README promise of a delivered record.
func checkDelivered(t *testing.T, got arrival, sent *kgo.Record) {
	t.Helper()
	if string(got.Key) != string(sent.Key) || string(got.Value) != string(sent.Value) {
		t.Errorf("delivered %q = %q, want %q = %q", got.Key, got.Value, sent.Key, sent.Value)
	}
	for _, h := range got.Headers {
		if h.Key == headerTs || h.Key == headerDelay {
			t.Errorf("the delivered record still carries %s", h.Key)
		}
	}
	for _, h := range sent.Headers {
		if h.Key == headerTs || h.Key == headerDelay {
			continue
		}
		if value := header(t, got.Record, h.Key); value != string(h.Value) {
			t.Errorf("header %s is %q, want %q", h.Key, value, h.Value)
		}
	}
	due := headerMs(t, got.Record, headerScheduledFor)
	if got.Timestamp.UnixMilli() < due {
		t.Errorf("stamped %d, due %d: early", got.Timestamp.UnixMilli(), due)
	}
	if got.at.UnixMilli() < due {
		t.Errorf("arrived %d, due %d: early", got.at.UnixMilli(), due)
	}
	if created := headerMs(t, got.Record, headerCreatedAt); created != sent.Timestamp.UnixMilli() {
		t.Errorf("created at %d, want %d", created, sent.Timestamp.UnixMilli())
	}
	if position := header(t, got.Record, headerPosition); !positionForm.MatchString(position) {
		t.Errorf("position %q, want epoch.offset.occurrence", position)
	}
	t.Logf("delivered %d ms after it was due", got.at.UnixMilli()-due)
}

// TestPastIsDueNow writes records whose time has passed: they are in the log when the answer is.
func TestPastIsDueNow(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic))
	for i, h := range []kgo.RecordHeader{
		{Key: headerTs, Value: []byte("1600000000000")},
		{Key: headerTs, Value: []byte("2001-02-03T04:05:06Z")},
		{Key: headerDelay, Value: []byte("0")},
		{Key: headerDelay, Value: []byte("0s")},
	} {
		produceSync(t, cl, &kgo.Record{Value: []byte("now"), Headers: []kgo.RecordHeader{h}})
		if hw := highWatermark(t, dial(t, addr), topic); hw != int64(i+1) {
			t.Fatalf("the high watermark is %d after %s=%s was acknowledged, want %d",
				hw, h.Key, h.Value, i+1)
		}
	}
}

// TestDueOrder writes due times in reverse: they are read in due order, with dense offsets.
func TestDueOrder(t *testing.T) {
	t.Parallel()
	const count = 200
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic))
	base := time.Now().Add(2 * ahead).UnixMilli()
	records := make([]*kgo.Record, count)
	for i := range records {
		due := strconv.FormatInt(base+int64(count-i), 10)
		records[i] = &kgo.Record{
			Value:   []byte(due),
			Headers: []kgo.RecordHeader{{Key: headerTs, Value: []byte(due)}},
		}
	}
	produceSync(t, cl, records...)
	if now := time.Now().UnixMilli(); now >= base {
		t.Fatalf("invalid run: the machine took until %d ms after the first due time", now-base)
	}
	positions := map[string]bool{}
	for i, r := range consume(t, addr, topic, count) {
		want := strconv.FormatInt(base+int64(i)+1, 10)
		if string(r.Value) != want || header(t, r.Record, headerScheduledFor) != want {
			t.Fatalf("record %d is due %s, want %s", i, r.Value, want)
		}
		if r.Offset != int64(i) || r.at.UnixMilli() < base+int64(i)+1 {
			t.Fatalf("record %d at offset %d arrived %d", i, r.Offset, r.at.UnixMilli())
		}
		positions[header(t, r.Record, headerPosition)] = true
	}
	if len(positions) != count {
		t.Errorf("%d different positions for %d records", len(positions), count)
	}
}

package batch

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/invariant"
)

func controlHeader(name string) []kmsg.Header {
	return []kmsg.Header{
		{Key: "a", Value: []byte("1")}, {Key: name, Value: []byte("2")}, {Key: "z"},
	}
}

func TestWalkControlFindsHeaders(t *testing.T) {
	for _, c := range []struct {
		name string
		want bool
	}{
		{HeaderScheduleTs, true},
		{HeaderScheduleDelay, true},
		{HeaderScheduleCancel, true},
		{"chronos-schedule-", true},
		{"chronos-schedule-nonsense", true},
		{HeaderMessageID, true},
		{"chronos-message-idx", false},
		{"chronos-message-i", false},
		{"chronos-schedule", false},
		{"Chronos-Schedule-Ts", false},
		{"xchronos-schedule-ts", false},
		{HeaderScheduledFor, false},
		{HeaderCreatedAt, false},
		{HeaderPosition, false},
		{"c", false},
		{"", false},
		{"due-at", false},
	} {
		rs := append(twoRecords(),
			kafkaRecord{ts: -3, headers: controlHeader(c.name)}, kafkaRecord{})
		for _, codec := range []Codec{None, Gzip, Snappy, Lz4, Zstd} {
			b, err := Recompress(makeKafka(rs, nil), codec, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			got, err := WalkControl(b, 1<<20)
			if err != nil {
				t.Fatalf("%q in %s: %v", c.name, codec, err)
			}
			want := ControlSummary{
				Records: 4, Bytes: got.Bytes, FirstControl: -1, NullKeys: 3, FirstNullKey: 1,
				MinTimestamp: 1_767_225_599_997, MaxTimestamp: 1_767_225_600_007,
			}
			if c.want {
				want.Control, want.FirstControl = 1, 2
			}
			if got != want {
				t.Errorf("%q in %s:\ngot  %+v\nwant %+v", c.name, codec, got, want)
			}
		}
	}
}

func TestWalkUsesTheTopicsOwnHeader(t *testing.T) {
	rs := []kafkaRecord{{}, {headers: controlHeader("due-at")}}
	b := makeKafka(rs, nil)
	for _, c := range []struct {
		names ControlNames
		want  int
	}{
		{ControlNames{}, 0},
		{ControlNames{Ts: "due-at"}, 1},
		{ControlNames{Ts: "due-a"}, 0},
		{ControlNames{Ts: "c"}, 0},
	} {
		if got, err := c.names.Walk(b, 0); err != nil || got.Control != c.want {
			t.Errorf("%+v: %d control records, %v; want %d", c.names, got.Control, err, c.want)
		}
	}
}

func TestAValueThatContainsAHeadersNameIsNoHeader(t *testing.T) {
	inner := appendKafkaRecord(nil, kafkaRecord{headers: controlHeader(HeaderScheduleTs)}, 0)
	rs := []kafkaRecord{{
		key: inner, value: inner,
		headers: []kmsg.Header{
			{Key: "c", Value: inner}, {Key: "c" + HeaderScheduleTs, Value: inner},
		},
	}}
	if got, err := WalkControl(makeKafka(rs, nil), 0); err != nil || got.Control != 0 {
		t.Errorf("%d control records, %v", got.Control, err)
	}
}

// brokenRecords are the record sections that a walk must refuse, with the index of the
// record at fault (-1: no record is) and what the error says.
func brokenRecords() []struct {
	name    string
	count   int
	records []byte
	index   int
	text    string
} {
	ok := func(delta int32) []byte {
		return appendKafkaRecord(nil, kafkaRecord{key: []byte("k"), value: []byte("v")}, delta)
	}
	cat := func(ps ...[]byte) []byte { return bytes.Join(ps, nil) }
	rec := func(body ...byte) []byte { return append(appendVarint(nil, int32(len(body))), body...) }
	return []struct {
		name    string
		count   int
		records []byte
		index   int
		text    string
	}{
		{"one record less", 3, cat(ok(0), ok(1)), 2, "length"},
		{"one record more", 1, cat(ok(0), ok(1)), -1, "follow"},
		{"a byte behind", 2, cat(ok(0), ok(1), []byte{0}), -1, "1 bytes follow"},
		{"no records at all", 1, nil, 0, "length"},
		{"offset delta repeated", 2, cat(ok(0), ok(0)), 1, "offset delta is 0, not 1"},
		{"offset delta skipped", 2, cat(ok(0), ok(2)), 1, "offset delta is 2, not 1"},
		{"offset delta from 1", 1, ok(1), 0, "offset delta is 1, not 0"},
		{"offset delta negative", 1, ok(-1), 0, "offset delta is -1, not 0"},
		{"record length negative", 1, []byte{1}, 0, "length is -1"},
		{"record length beyond the end", 1, []byte{100, 0, 0}, 0, "length is 50, 2 bytes are left"},
		{"record length tiny", 1, []byte{2, 0}, 0, "length is 1"},
		{
			"record length of 6 bytes", 1,
			[]byte{0x8c, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0},
			0, "varint",
		},
		{"record length of 33 bits", 1, []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, 0, "varint"},
		{
			"timestamp of 11 bytes", 1,
			rec(0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 1, 1, 0), 0,
			"timestamp",
		},
		{
			"timestamp of 65 bits", 1,
			rec(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 1, 1, 0), 0,
			"timestamp",
		},
		{"timestamp cut", 1, rec(0, 0x80, 0x80, 0x80, 0x80, 0x80), 0, "timestamp"},
		{"offset cut", 1, rec(0, 0, 0x80, 0x80, 0x80, 0x80), 0, "offset"},
		{"offset missing", 1, rec(0, 0x80, 0x80, 0x80, 0x80, 0), 0, "offset"},
		{"key length -2", 1, rec(0, 0, 0, 3, 1, 0), 0, "key"},
		{"key beyond the end", 1, rec(0, 0, 0, 8, 1, 0), 0, "key"},
		{"key to the end", 1, rec(0, 0, 0, 4, 1, 0), 0, "value"},
		{"key length huge", 1, rec(0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f), 0, "key"},
		{"value length -2", 1, rec(0, 0, 0, 1, 3, 0), 0, "value"},
		{"value beyond the end", 1, rec(0, 0, 0, 1, 4, 0), 0, "value"},
		{"value to the end", 1, rec(0, 0, 0, 1, 2, 0), 0, "header count"},
		{"headers negative", 1, rec(0, 0, 0, 1, 1, 1), 0, "-1 headers"},
		{"headers claimed", 1, rec(0, 0, 0, 1, 1, 2), 0, "1 headers in 0 bytes"},
		{"headers claimed in half", 1, rec(0, 0, 0, 1, 1, 4, 0, 1, 0), 0, "2 headers in 3 bytes"},
		{
			"headers huge", 1, rec(0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f), 0,
			"2147483647 headers",
		},
		{"header name negative", 1, rec(0, 0, 0, 1, 1, 2, 1, 1), 0, "header 0 of 1"},
		{"header name beyond", 1, rec(0, 0, 0, 1, 1, 2, 8, 'a', 'b'), 0, "header 0 of 1"},
		{"header name to the end", 1, rec(0, 0, 0, 1, 1, 2, 2, 'a'), 0, "header 0 of 1"},
		{"header value -2", 1, rec(0, 0, 0, 1, 1, 2, 0, 3), 0, "header 0 of 1"},
		{"header value beyond", 1, rec(0, 0, 0, 1, 1, 2, 0, 2), 0, "header 0 of 1"},
		{"bytes behind no headers", 1, rec(0, 0, 0, 1, 1, 0, 0), 0, "1 bytes follow its headers"},
		{
			"bytes behind a header", 1, rec(0, 0, 0, 1, 1, 2, 0, 1, 0), 0,
			"1 bytes follow its headers",
		},
		{"second record broken", 2, cat(ok(0), rec(0, 0, 2, 3, 1, 0)), 1, "key"},
	}
}

func TestWalkControlRefusesBrokenFraming(t *testing.T) {
	for _, c := range brokenRecords() {
		b := makeKafka(nil, func(rb *kmsg.RecordBatch) {
			rb.Records = c.records
			rb.NumRecords, rb.LastOffsetDelta = int32(c.count), int32(c.count-1)
		})
		if err := CheckFromClient(b, 0); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		_, err := WalkControl(b, 0)
		checkBroken(t, c.name+": walk", err, c.index, c.text)
		if strings.HasPrefix(c.name, "offset delta") {
			continue // A Reader allows gaps.
		}
		_, err = readAll(b, 0)
		checkBroken(t, c.name+": read", err, c.index, c.text)
	}
}

func checkBroken(t *testing.T, name string, err error, index int, text string) {
	t.Helper()
	got := -1
	if re := (*RecordError)(nil); errors.As(err, &re) {
		got = re.Index
	}
	if !errors.Is(err, ErrInvalid) || got != index || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v (record %d), want record %d and %q", name, err, got, index, text)
	}
}

// readAll reads every record of b with a Reader.
func readAll(b Batch, limit int) ([]Record, error) {
	r, err := NewReader(b, limit)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []Record
	for {
		rec, ok, err := r.Next()
		if err != nil || !ok {
			return out, err
		}
		rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
		rec.Headers.Bytes = bytes.Clone(rec.Headers.Bytes)
		out = append(out, rec)
	}
}

// TestWalkAgreesWithReader changes bytes at random: the fast walk must accept exactly
// what the plain Reader accepts with dense offsets.
func TestWalkAgreesWithReader(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	accepted, refused := 0, 0
	for range 20_000 {
		b := randomBatch(rng)
		for range rng.IntN(3) {
			records := b.Records()
			records[rng.IntN(len(records))] = byte(rng.Uint32())
		}
		if agree(t, b) {
			accepted++
		} else {
			refused++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if accepted < 1000 || refused < 1000 {
		t.Errorf("seed %d: only %d accepted and %d refused", seed, accepted, refused)
	}
}

// agree compares WalkControl with a Reader and reports whether they accept b.
func agree(t *testing.T, b Batch) bool {
	t.Helper()
	sum, walkErr := WalkControl(b, 1<<20)
	recs, readErr := readAll(b, 1<<20)
	want := ControlSummary{Records: len(recs), FirstControl: -1, FirstNullKey: -1, Bytes: sum.Bytes}
	for i, r := range recs {
		if int(r.OffsetDelta) != i && readErr == nil {
			readErr = fmt.Errorf("record %d has offset delta %d", i, r.OffsetDelta)
		}
		if ts := b.BaseTimestamp() + UnixMs(r.TimestampDelta); readErr == nil &&
			(ts < b.BaseTimestamp()) != (r.TimestampDelta < 0) {
			readErr = fmt.Errorf("record %d has a timestamp that wraps around", i)
		}
		addToSummary(&want, b, i, r)
	}
	if (walkErr == nil) != (readErr == nil) {
		t.Errorf("walk says %v, reader says %v, of %x", walkErr, readErr, []byte(b))
	}
	if walkErr == nil && sum != want {
		t.Errorf("walk of %x\ngot  %+v\nwant %+v", []byte(b), sum, want)
	}
	return walkErr == nil
}

// addToSummary is the plain way to what the walk finds out.
func addToSummary(s *ControlSummary, b Batch, i int, r Record) {
	ts := b.BaseTimestamp() + UnixMs(r.TimestampDelta)
	if i == 0 {
		s.MinTimestamp, s.MaxTimestamp = ts, ts
	}
	s.MinTimestamp, s.MaxTimestamp = min(s.MinTimestamp, ts), max(s.MaxTimestamp, ts)
	if r.Key == nil {
		if s.NullKeys++; s.NullKeys == 1 {
			s.FirstNullKey = i
		}
	}
	control := false
	_ = r.EachHeader(func(k, _ []byte) bool {
		control = control || strings.HasPrefix(string(k), "chronos-schedule-") ||
			string(k) == "chronos-message-id"
		return true
	})
	if control {
		if s.Control++; s.Control == 1 {
			s.FirstControl = i
		}
	}
}

// randomBatch makes a small sound batch.
func randomBatch(rng *rand.Rand) Batch {
	some := func() []byte {
		if rng.IntN(4) == 0 {
			return nil
		}
		return make([]byte, rng.IntN(3)*rng.IntN(100))
	}
	var rs []kafkaRecord
	for range 1 + rng.IntN(4) {
		r := kafkaRecord{key: some(), value: some(), ts: int64(rng.IntN(1<<20)) >> rng.IntN(20)}
		for range rng.IntN(3) {
			name := []string{"", "h", "chronos", HeaderScheduleTs, HeaderMessageID}[rng.IntN(5)]
			r.headers = append(r.headers, kmsg.Header{Key: name, Value: some()})
		}
		rs = append(rs, r)
	}
	return makeKafka(rs, nil)
}

func TestWalkRefusesTimestampsThatWrap(t *testing.T) {
	for _, c := range []struct {
		base, first, second int64
		ok                  bool
	}{
		{0, -1 << 63, 1<<63 - 1, true},
		{1, 0, 1<<63 - 2, true},
		{1, 0, 1<<63 - 1, false},
		{-1, -1<<63 + 1, 0, true},
		{-1, -1 << 63, 0, false},
		{1<<63 - 1, 0, 1, false},
	} {
		rs := []kafkaRecord{{ts: c.first}, {ts: c.second}}
		b := makeKafka(rs, func(rb *kmsg.RecordBatch) { rb.FirstTimestamp = c.base })
		sum, err := WalkControl(b, 0)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil && (sum.MinTimestamp != UnixMs(c.base+c.first) ||
			sum.MaxTimestamp != UnixMs(c.base+c.second)) {
			t.Errorf("%+v: %d to %d", c, sum.MinTimestamp, sum.MaxTimestamp)
		}
	}
}

func TestWalkAllocatesNothing(t *testing.T) {
	for _, c := range []Codec{None, Snappy, Lz4} {
		b := makeBatch(t, c, 100, 100, 2)
		got := testing.AllocsPerRun(100, func() {
			if _, err := WalkControl(b, 1<<20); err != nil {
				t.Fatal(err)
			}
		})
		if got >= 1 && !invariant.Enabled { // the race detector has a pool forget things at random
			t.Errorf("%s: %v allocations", c, got)
		}
	}
}

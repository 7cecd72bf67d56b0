package timer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
)

const testNow UnixMs = 1_900_000_000_000

var allCodecs = []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.Lz4, batch.Zstd}

// clientRecord is a record as a producer sends it.
type clientRecord struct {
	key, value string
	headers    []batch.Header
	at         UnixMs // timestamp; 0 means testNow-5
}

func header(key, value string) batch.Header { return batch.Header{Key: key, Value: []byte(value)} }

func tsHeader(due UnixMs) batch.Header {
	return header(batch.HeaderScheduleTs, fmt.Sprint(int64(due)))
}

// clientBatch builds what a producer with id 7, epoch 2 and base sequence 40 sends.
func clientBatch(t testing.TB, c batch.Codec, records ...clientRecord) batch.Batch {
	t.Helper()
	b := batch.NewBuilder(batch.BuilderOptions{
		Codec: c, BaseTimestamp: testNow - 5, ProducerID: 7, ProducerEpoch: 2, BaseSequence: 40,
	})
	for _, r := range records {
		f := batch.RecordFields{TimestampMs: r.at, Value: []byte(r.value), Headers: r.headers}
		if r.at == 0 {
			f.TimestampMs = testNow - 5
		}
		if r.key != "" {
			f.Key = []byte(r.key)
		}
		if err := b.Append(f); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func plan() StagePlan { return StagePlan{Now: testNow, InflateLimit: 1 << 20} }

// staged reads a staged batch back.
func staged(t testing.TB, b batch.Batch) (entries []Entry, decisions []Decision) {
	t.Helper()
	w := walkStaged(b)
	for {
		e, d, ok, err := w.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return entries, decisions
		}
		rec := b[e.At : e.At+e.Length]
		alone, err := checkRecord(rec)
		if err != nil {
			t.Fatalf("record %d read alone: %v", e.Delta, err)
		}
		if !reflect.DeepEqual(alone, d) {
			t.Fatalf("record %d alone says %+v, in its batch %+v", e.Delta, alone, d)
		}
		entries, decisions = append(entries, e), append(decisions, d)
	}
}

func TestStageKeepsWhatTheProducerSentInEveryCodec(t *testing.T) {
	for _, c := range allCodecs {
		t.Run(c.String(), func(t *testing.T) {
			src := clientBatch(t, c,
				clientRecord{key: "a", value: "now", headers: []batch.Header{header("x", "1")}},
				clientRecord{value: strings.Repeat("v", 300), headers: []batch.Header{
					header("x", "2"), tsHeader(testNow + 60_000), {Key: "null"},
				}},
				clientRecord{key: "c", value: "", headers: []batch.Header{
					header(batch.HeaderScheduleDelay, "90s"),
				}, at: testNow - 1000},
				clientRecord{key: "d", value: "p", headers: []batch.Header{tsHeader(testNow - 1)}},
			)
			before := bytes.Clone(src)
			b, info, err := Stage([]byte("before"), src, plan())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before, src) {
				t.Fatal("Stage changed the source")
			}
			want := StageInfo{Count: 4, DueNow: 2, MaxDue: testNow + 90_000}
			if !reflect.DeepEqual(info, want) {
				t.Fatalf("info = %+v, want %+v", info, want)
			}
			checkStagedHeader(t, b, src)
			_, got := staged(t, b)
			decisions := []Decision{
				{0, FlagDueNow, c, testNow, testNow, testNow - 5, nil, nil},
				{0, FlagControl, c, testNow, testNow + 60_000, testNow - 5, nil, nil},
				{0, FlagControl, c, testNow, testNow + 90_000, testNow - 1000, nil, nil},
				{0, FlagControl | FlagDueNow, c, testNow, testNow - 1, testNow - 5, nil, nil},
			}
			for i := range decisions {
				if !reflect.DeepEqual(got[i], decisions[i]) {
					t.Errorf("decision %d = %+v, want %+v", i, got[i], decisions[i])
				}
			}
			checkSameRecords(t, b, src)
		})
	}
}

func checkStagedHeader(t *testing.T, b, src batch.Batch) {
	t.Helper()
	if err := batch.CheckStored(b); err != nil {
		t.Fatal(err)
	}
	if b.Kind() != batch.KindStaged || b.Codec() != batch.None || b.IsMarked() {
		t.Fatalf("attributes = %#x", b.Attributes())
	}
	if b.ProducerID() != 7 || b.ProducerEpoch() != 2 || b.BaseSequence() != 40 ||
		b.LastSequence() != 43 {
		t.Fatalf("producer %d epoch %d sequences %d to %d", b.ProducerID(), b.ProducerEpoch(),
			b.BaseSequence(), b.LastSequence())
	}
	if b.BaseTimestamp() != src.BaseTimestamp() || b.MaxTimestamp() != src.MaxTimestamp() {
		t.Fatal("timestamps were not kept")
	}
}

// checkSameRecords compares every field but the decision's header.
func checkSameRecords(t *testing.T, b, src batch.Batch) {
	t.Helper()
	got, want := readAll(t, b), readAll(t, src)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		n := len(got[i].headers) - 1
		if !strings.HasPrefix(got[i].headers[n], "_d=") {
			t.Errorf("record %d ends in header %q", i, got[i].headers[n])
		}
		got[i].headers = got[i].headers[:n]
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Errorf("record %d = %+v, want %+v", i, got[i], want[i])
		}
	}
}

// readRecord is a record in a form that can be compared.
type readRecord struct {
	key, value string
	timestamp  UnixMs
	headers    []string
}

func text(p []byte) string {
	if p == nil {
		return "<null>"
	}
	return string(p)
}

func readAll(t testing.TB, b batch.Batch) (out []readRecord) {
	t.Helper()
	r, err := batch.NewReader(b, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		one := readRecord{key: text(rec.Key), value: text(rec.Value), timestamp: b.Timestamp(rec)}
		_ = rec.EachHeader(func(key, value []byte) bool {
			one.headers = append(one.headers, string(key)+"="+text(value))
			return true
		})
		out = append(out, one)
	}
}

func TestStageRefusals(t *testing.T) {
	limit := plan()
	limit.MaxDelay = time.Hour
	fine := clientRecord{value: "fine"}
	for _, c := range []struct {
		name   string
		header batch.Header
		plan   StagePlan
		says   string
	}{
		{"seconds", header(batch.HeaderScheduleTs, "1900000000"), plan(), ""},
		{"words", header(batch.HeaderScheduleTs, "tomorrow"), plan(), ""},
		{"negative", header(batch.HeaderScheduleDelay, "-5s"), plan(), ""},
		{"unknown", header("chronos-schedule-when", "1"), plan(), ""},
		{"cron", header(batch.HeaderScheduleCron, "* * *"), plan(), ""},
		{"cron never", header(batch.HeaderScheduleCron, "0 0 30 2 *"), plan(), ""},
		{"every", header(batch.HeaderScheduleEvery, "1ms"), plan(), ""},
		{"id", header(batch.HeaderScheduleID, ""), plan(), ""},
		{"every too far", header(batch.HeaderScheduleEvery, "61m"), limit, "max.delay.ms=3600000"},
		{"message id", header(batch.HeaderMessageID, "1"), plan(), "not supported"},
		{
			"too far", tsHeader(testNow + 3_600_001), limit,
			"chronos.schedule.max.delay.ms=3600000",
		},
		{
			"delay too far", header(batch.HeaderScheduleDelay, "61m"), limit,
			"chronos.schedule.max.delay.ms=3600000",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := clientRecord{headers: []batch.Header{c.header}}
			src := clientBatch(t, batch.Zstd, fine, bad, fine)
			_, _, err := Stage(nil, src, c.plan)
			var rec *batch.RecordError
			var control *batch.ControlError
			if !errors.As(err, &rec) || rec.Index != 1 || !errors.As(err, &control) {
				t.Fatalf("err = %v", err)
			}
			if control.Header != c.header.Key || !strings.Contains(control.Reason, c.says) {
				t.Fatalf("refusal = %q", control.Error())
			}
		})
	}
}

func TestStageTakesADelayUpToTheLimit(t *testing.T) {
	p := plan()
	p.MaxDelay = time.Hour
	src := clientBatch(t, batch.None, clientRecord{
		headers: []batch.Header{tsHeader(testNow + 3_600_000)},
	})
	if _, _, err := Stage(nil, src, p); err != nil {
		t.Fatal(err)
	}
}

func TestStageUnderLogAppendTime(t *testing.T) {
	p := plan()
	p.LogAppendTime = true
	b, _, err := Stage(nil, clientBatch(t, batch.None, clientRecord{value: "plain"},
		clientRecord{headers: []batch.Header{tsHeader(testNow + 5)}}), p)
	if err != nil {
		t.Fatal(err)
	}
	_, d := staged(t, b)
	if d[0].Timestamp != testNow || d[1].Timestamp != testNow-5 {
		t.Fatalf("timestamps %d and %d", d[0].Timestamp, d[1].Timestamp)
	}
}

func TestStageBoundsInflation(t *testing.T) {
	p := plan()
	p.InflateLimit = 1000
	src := clientBatch(t, batch.Zstd, clientRecord{value: strings.Repeat("a", 5000)})
	if _, _, err := Stage(nil, src, p); !errors.Is(err, batch.ErrBomb) {
		t.Fatalf("err = %v", err)
	}
}

// A client may send a header that looks like the decision: only the last one is the leader's.
func TestAForgedDecisionIsAPlainHeader(t *testing.T) {
	forged := Decision{Due: 1, Appended: 1}.append([]byte{0}, 1)
	value := string(forged[len(forged)-decisionBytes:])
	src := clientBatch(t, batch.None, clientRecord{headers: []batch.Header{
		tsHeader(testNow + 9), header("_d", value),
	}})
	b, _, err := Stage(nil, src, plan())
	if err != nil {
		t.Fatal(err)
	}
	entries, d := staged(t, b)
	if d[0].Due != testNow+9 {
		t.Fatalf("due = %d", d[0].Due)
	}
	out := delivered(t, b, entries, testNow+9)
	if got := readAll(t, out)[0].headers[0]; got != "_d="+value {
		t.Fatalf("first header = %q", got)
	}
}

func TestDamageToAStagedRecordIsSeen(t *testing.T) {
	src := clientBatch(t, batch.None, clientRecord{key: "key", value: "value"})
	b, _, err := Stage(nil, src, plan())
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := staged(t, b)
	rec := b[entries[0].At : entries[0].At+entries[0].Length]
	for i := range rec {
		for _, flip := range []byte{1, 0x80} {
			bad := bytes.Clone(rec)
			bad[i] ^= flip
			if _, err := checkRecord(bad); !errors.Is(err, ErrBadDecision) {
				t.Fatalf("byte %d flipped by %#x: err = %v", i, flip, err)
			}
		}
		if _, err := checkRecord(rec[:i]); !errors.Is(err, ErrBadDecision) {
			t.Fatalf("cut at %d: err = %v", i, err)
		}
	}
}

func TestANewerDecisionIsRefusedByName(t *testing.T) {
	rec := Decision{}.append([]byte{0, 0}, 1)
	rec[len(rec)-decisionBytes] = 3
	_, err := decisionOf(rec)
	if !errors.Is(err, ErrBadDecision) || !strings.Contains(err.Error(), "version 3") {
		t.Fatalf("err = %v", err)
	}
}

func FuzzDecision(f *testing.F) {
	rec := Decision{Flags: FlagControl, Due: testNow, Appended: testNow, Timestamp: 5}.append(
		[]byte{0, 0, 0, 0, 1, 1, 2}, 1)
	f.Add(rec)
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := decisionOf(p)
		if err != nil {
			if !errors.Is(err, ErrBadDecision) {
				t.Fatalf("err = %v", err)
			}
			return
		}
		again := d.append(bytes.Clone(p[:len(p)-decisionHeaderBytes]), 0)
		if !bytes.Equal(again[:len(again)-4], p[:len(p)-4]) {
			t.Fatalf("%x was read as %+v, which is written as %x", p, d, again)
		}
		if _, err := checkRecord(p); err == nil {
			n, at := binary.Varint(p)
			if int(n) != len(p)-at {
				t.Fatalf("length %d of %d bytes was taken", n, len(p))
			}
		}
	})
}

func BenchmarkStage(b *testing.B) {
	for _, c := range []batch.Codec{batch.None, batch.Lz4, batch.Zstd} {
		b.Run(c.String(), func(b *testing.B) {
			var records []clientRecord
			for range 1000 {
				records = append(records, clientRecord{
					value:   strings.Repeat("x", 100),
					headers: []batch.Header{tsHeader(testNow + 60_000)},
				})
			}
			src := clientBatch(b, c, records...)
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				out, _, err := Stage(buf[:0], src, plan())
				if err != nil {
					b.Fatal(err)
				}
				buf = out
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}

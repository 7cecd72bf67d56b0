package timer

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// addTo adds a staged record, as it was read.
func addTo(d *delivery, rec []byte, e Entry, now UnixMs, limit int) (Decision, bool, error) {
	dec, err := checkEntry(rec, &e)
	if err != nil {
		return dec, false, err
	}
	ok, err := d.add(rec, dec, e, now, limit)
	return dec, ok, err
}

// delivered builds the delivery of all entries of a staged batch at now, not compressed.
func delivered(t testing.TB, b batch.Batch, entries []Entry, now UnixMs) batch.Batch {
	t.Helper()
	var d delivery
	d.reset()
	for _, e := range entries {
		if _, ok, err := addTo(&d, b[e.At:e.At+e.Length], e, now, 1<<20); err != nil || !ok {
			t.Fatalf("add: %v %v", ok, err)
		}
	}
	out, err := d.build(batch.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDeliveredRecord(t *testing.T) {
	const due = testNow + 60_000
	src := clientBatch(t, batch.Gzip,
		clientRecord{key: "k", value: "v", headers: []batch.Header{
			header("before", "1"),
			tsHeader(due),
			header(batch.HeaderPosition, "0.0.0"),
			header(batch.HeaderScheduledFor, "17"),
			header(batch.HeaderCreatedAt, "18"),
			header("after", "2"),
			{Key: "null"},
		}, at: testNow - 777},
		clientRecord{value: "plain", headers: []batch.Header{
			header("chronos-other", "kept"),
			header(batch.HeaderScheduledFor, "17"),
			header(batch.HeaderPosition, "9.9.9"),
		}, at: testNow - 888},
	)
	b, _, err := Stage(nil, src, plan())
	if err != nil {
		t.Fatal(err)
	}
	b.SetBaseOffset(1234)
	b.SetLeaderEpoch(56)
	entries, _ := staged(t, b)
	out := delivered(t, b, entries, due+3)
	if err := batch.CheckStored(out); err != nil {
		t.Fatal(err)
	}
	if !out.IsMarked() || out.ProducerID() != -1 || out.ProducerEpoch() != -1 ||
		out.BaseSequence() != -1 {
		t.Fatalf("attributes %#x, producer %d", out.Attributes(), out.ProducerID())
	}
	if out.MaxTimestamp() != due+3 || out.TimestampType() != batch.CreateTime {
		t.Fatalf("max timestamp %d", out.MaxTimestamp())
	}
	want := []readRecord{
		{"k", "v", due + 3, []string{
			"before=1", "after=2", "null=<null>",
			fmt.Sprintf("chronos-scheduled-for=%d", due),
			fmt.Sprintf("chronos-created-at=%d", testNow-777),
			"chronos-position=56.1234.0",
		}},
		{"<null>", "plain", testNow - 888, []string{
			"chronos-other=kept", "chronos-scheduled-for=17", "chronos-position=56.1235.0",
		}},
	}
	if got := readAll(t, out); !reflect.DeepEqual(got, want) {
		t.Fatalf("delivered\n%+v\nwant\n%+v", got, want)
	}
	positions := []Delivered{
		{Position{56, 1234, 0}, due, true},
		{Position{56, 1235, 0}, 17, true}, // the plain record's own, which recovery verifies
	}
	var got []Delivered
	err = EachDelivered(out, func(d Delivered) error { got = append(got, d); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, positions) {
		t.Fatalf("positions %+v, want %+v", got, positions)
	}
}

func TestDeliveryCompressesAndIsReadBack(t *testing.T) {
	for _, c := range allCodecs {
		src := clientBatch(t, c, clientRecord{value: strings.Repeat("z", 5000)})
		b, _, err := Stage(nil, src, plan())
		if err != nil {
			t.Fatal(err)
		}
		b.SetLeaderEpoch(1)
		entries, _ := staged(t, b)
		var d delivery
		d.reset()
		if _, _, err := addTo(&d, b[entries[0].At:], entries[0], testNow, 1<<20); err != nil {
			t.Fatal(err)
		}
		if d.codec != c {
			t.Fatalf("codec of the source %s, want %s", d.codec, c)
		}
		out, err := d.build(d.codec, 0)
		if err != nil {
			t.Fatal(err)
		}
		if out.Codec() != c || batch.CheckStored(out) != nil {
			t.Fatalf("codec %s, %v", out.Codec(), batch.CheckStored(out))
		}
		if c != batch.None && len(out) > 2500 {
			t.Fatalf("%s: %d bytes are not compressed", c, len(out))
		}
		n := 0
		err = EachDelivered(out, func(Delivered) error { n++; return nil })
		if err != nil || n != 1 {
			t.Fatalf("%s: %d positions, %v", c, n, err)
		}
	}
}

func TestADeliveryFillsUpAndALargeRecordTravelsAlone(t *testing.T) {
	b, _, err := Stage(nil, clientBatch(t, batch.None,
		clientRecord{value: strings.Repeat("a", 900)},
		clientRecord{value: strings.Repeat("b", 900)},
		clientRecord{value: strings.Repeat("c", 5000)},
	), plan())
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := staged(t, b)
	var d delivery
	add := func(i int) bool {
		e := entries[i]
		_, ok, err := addTo(&d, b[e.At:e.At+e.Length], e, testNow, 2000)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	d.reset()
	if !add(0) || !add(1) || add(2) {
		t.Fatal("two records fit, the third does not")
	}
	out, err := d.build(batch.None, 0)
	if err != nil || out.Count() != 2 || batch.CheckStored(out) != nil {
		t.Fatalf("%d records, %v %v", out.Count(), err, batch.CheckStored(out))
	}
	d.reset()
	if !add(2) || add(0) {
		t.Fatal("a large record travels, and alone")
	}
}

func TestOnlyTheMarkIsBelieved(t *testing.T) {
	forged := clientBatch(t, batch.None, clientRecord{headers: []batch.Header{
		header(batch.HeaderPosition, "1.2.0"),
	}})
	err := EachDelivered(forged, func(Delivered) error { return nil })
	if !errors.Is(err, ErrBadDelivery) {
		t.Fatalf("err = %v", err)
	}
}

func TestPositionText(t *testing.T) {
	for _, p := range []Position{
		{0, 0, 0}, {1, 2, 3}, {math.MaxInt32, math.MaxInt64, math.MaxInt32},
	} {
		got, err := ParsePosition([]byte(p.String()))
		if err != nil || got != p {
			t.Errorf("%v was read as %v, %v", p, got, err)
		}
	}
	for _, bad := range []string{
		"", "1", "1.2", "1.2.", "1.2.3.", "1.2.3.4", ".1.2", "1..2", "-1.2.3", "+1.2.3", "01.2.3",
		"1.2.03", "2147483648.0.0", "0.9223372036854775808.0",
		"0.99999999999999999999.0", "1.2.3 ", "a.b.c",
	} {
		if p, err := ParsePosition([]byte(bad)); !errors.Is(err, ErrBadDelivery) {
			t.Errorf("%q was read as %v, %v", bad, p, err)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte("1.2.3"))
	f.Add([]byte("2147483647.9223372036854775807.0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ParsePosition(text); err == nil && p.String() != string(text) {
			t.Fatalf("%q was read as %v", text, p)
		}
	})
}

// FuzzDelivered reads marked batches of any content: they come from our own log, whose CRC was
// checked, and still must not crash a recovery.
func FuzzDelivered(f *testing.F) {
	b, _, err := Stage(nil, clientBatch(f, batch.None, clientRecord{value: "v"}), plan())
	if err != nil {
		f.Fatal(err)
	}
	b.SetLeaderEpoch(1)
	w := walkStaged(b)
	e, _, _, err := w.next()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(delivered(f, b, []Entry{e}, testNow)[batch.HeaderBytes:]), int32(1))
	f.Fuzz(func(t *testing.T, records []byte, count int32) {
		p := append(beginBatch(nil), records...)
		out := frame{attributes: batch.AttrMark, count: int(count)}.noProducer().seal(p)
		if batch.CheckStored(out) != nil {
			return
		}
		n := 0
		err := EachDelivered(out, func(Delivered) error { n++; return nil })
		if err == nil && n != int(count) {
			t.Fatalf("%d positions of %d records", n, count)
		}
	})
}

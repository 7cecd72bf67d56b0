package compaction

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// rec is a record of a test: its key, its value, "-" for none.
type rec struct{ key, value string }

// built is how a test's batch is made.
type built struct {
	batch.BuilderOptions
	records []rec
}

func (b built) at(t *testing.T, base batch.Offset) batch.Batch {
	t.Helper()
	if b.ProducerID == 0 {
		b.BuilderOptions = b.NoProducer()
	}
	b.BaseOffset, b.BaseTimestamp, b.LeaderEpoch = base, 1000, 7
	builder := batch.NewBuilder(b.BuilderOptions)
	for i, r := range b.records {
		f := batch.RecordFields{TimestampMs: 1000 + batch.UnixMs(base) + batch.UnixMs(i)}
		if r.key != "-" {
			f.Key = []byte(r.key)
		}
		if r.value != "-" {
			f.Value = []byte(r.value)
		}
		f.Headers = []batch.Header{{Key: "h", Value: []byte(r.value)}}
		if err := builder.Append(f); err != nil {
			t.Fatal(err)
		}
	}
	out, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	transactional = int16(1 << 4)
	control       = int16(1 << 5)
)

// marker returns a commit or abort marker.
func marker(kind int16, id batch.ProducerID) built {
	key := binary.BigEndian.AppendUint16(nil, 0)
	key = binary.BigEndian.AppendUint16(key, uint16(kind))
	return built{
		batch.BuilderOptions{Attributes: transactional | control, ProducerID: id, BaseSequence: -1},
		[]rec{{string(key), "\x00\x00\x00\x00\x00\x01"}},
	}
}

// txn returns a batch of a transaction.
func txn(id batch.ProducerID, records ...rec) built {
	return built{batch.BuilderOptions{Attributes: transactional, ProducerID: id}, records}
}

func plain(records ...rec) built { return built{records: records} }

// lay lays batches out one behind the other.
func lay(t *testing.T, bs ...built) (out []batch.Batch) {
	t.Helper()
	next := batch.Offset(0)
	for _, b := range bs {
		one := b.at(t, next)
		out = append(out, one)
		next = one.LastOffset() + 1
	}
	return out
}

// pass is one pass over batches.
type pass struct {
	rules    Rules
	from     batch.Offset
	mapBytes int64
	floors   map[int]Floor
}

func (p pass) run(t *testing.T, in []batch.Batch) (out []batch.Batch) {
	t.Helper()
	if p.mapBytes == 0 {
		p.mapBytes = 1 << 16
	}
	m := NewOffsetMap(p.mapBytes, 1<<20)
	mapper := NewMapper(m, p.from, p.rules.Aborted)
	for _, b := range in {
		if b.LastOffset() < p.from {
			continue
		}
		full, err := mapper.Add(b)
		if err != nil {
			t.Fatal(err)
		}
		if full {
			break
		}
	}
	p.rules.Map = m
	f := NewFilter(p.rules)
	for i, b := range in {
		got, err := f.Append([]byte("x"), b, p.floors[i])
		if err != nil {
			t.Fatal(err)
		}
		if got = got[1:]; len(got) == 0 {
			continue
		}
		if err := batch.CheckStored(got); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		left := batch.Batch(bytes.Clone(got))
		checkSame(t, b, left)
		out = append(out, left)
	}
	return out
}

// checkSame makes sure that what is left of a batch has the fields that must stay.
func checkSame(t *testing.T, b, left batch.Batch) {
	t.Helper()
	type fields struct {
		base, last   batch.Offset
		epoch        batch.LeaderEpoch
		id           batch.ProducerID
		producer     batch.ProducerEpoch
		first, final batch.Sequence
		marked       bool
		txn, control bool
		kind         batch.TimestampType
	}
	of := func(b batch.Batch) fields {
		return fields{
			b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.ProducerID(), b.ProducerEpoch(),
			b.BaseSequence(), b.LastSequence(), b.IsMarked(), b.IsTransactional(), b.IsControl(),
			b.TimestampType(),
		}
	}
	if of(b) != of(left) {
		t.Errorf("%+v became %+v", of(b), of(left))
	}
	if left.Count() > 0 && left.Codec() != b.Codec() {
		t.Errorf("codec %v became %v", b.Codec(), left.Codec())
	}
	if left.Count() == 0 && left.Codec() != batch.None {
		t.Errorf("an empty batch has codec %v, which inflates nothing", left.Codec())
	}
}

// show is the records that are left, as offset=key:value, and e for a batch without any.
func show(t *testing.T, bs []batch.Batch) string {
	t.Helper()
	var out []string
	for _, b := range bs {
		if b.Count() == 0 {
			out = append(out, fmt.Sprintf("e%d-%d", b.BaseOffset(), b.LastOffset()))
			continue
		}
		r, err := batch.NewReader(b, InflatedBytesMax)
		if err != nil {
			t.Fatal(err)
		}
		for {
			rec, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			o := b.BaseOffset() + batch.Offset(rec.OffsetDelta)
			if at := b.Timestamp(rec); b.TimestampType() == batch.CreateTime && at != 1000+batch.UnixMs(o) {
				t.Errorf("record %d has timestamp %d", o, at)
			}
			value := string(rec.Value)
			if rec.Value == nil {
				value = "-"
			}
			if h, _ := rec.Headers.Get("h"); string(h) != value {
				t.Errorf("record %d has header %q", o, h)
			}
			if b.IsControl() {
				out = append(out, fmt.Sprintf("%d=marker", o))
				continue
			}
			out = append(out, fmt.Sprintf("%d=%s:%s", o, rec.Key, value))
		}
		r.Close()
	}
	return fmt.Sprint(out)
}

func expect(t *testing.T, bs []batch.Batch, want string) {
	t.Helper()
	if got := show(t, bs); got != want {
		t.Errorf("left\n%s\nwant\n%s", got, want)
	}
}

func TestLastValuePerKey(t *testing.T) {
	for codec := batch.None; codec <= batch.Zstd; codec++ {
		b := plain(rec{"a", "1"}, rec{"b", "1"}, rec{"a", "2"})
		b.Codec, b.Attributes = codec, batch.AttrMark
		in := lay(t, b, plain(rec{"c", "1"}), plain(rec{"b", "2"}, rec{"", "empty"}), plain(rec{"-", "x"}))
		out := pass{}.run(t, in)
		expect(t, out, "[2=a:2 3=c:1 4=b:2 5=:empty]")
		if !bytes.Equal(out[1], in[1]) || !bytes.Equal(out[2], in[2]) {
			t.Error("batches of which all stays were changed")
		}
		// What was compacted stays as it is.
		again := pass{}.run(t, out)
		if !slices.EqualFunc(out, again, func(a, b batch.Batch) bool { return bytes.Equal(a, b) }) {
			t.Error("a second pass changed something")
		}
	}
}

func TestLogAppendTimeStays(t *testing.T) {
	b := plain(rec{"a", "1"}, rec{"b", "1"}).at(t, 0)
	b.SetLogAppendTime(5000)
	out := pass{}.run(t, []batch.Batch{b, plain(rec{"a", "2"}).at(t, 2)})
	expect(t, out, "[1=b:1 2=a:2]")
	if out[0].MaxTimestamp() != 5000 || out[0].BaseTimestamp() != 5000 {
		t.Errorf("log append time became %d, base %d", out[0].MaxTimestamp(), out[0].BaseTimestamp())
	}
}

func TestTombstoneLivesUntilItsHorizon(t *testing.T) {
	in := lay(t, plain(rec{"a", "1"}, rec{"b", "1"}), plain(rec{"a", "-"}, rec{"c", "1"}))
	out := pass{rules: Rules{Now: 100_000, DeleteRetentionMs: 50}}.run(t, in)
	expect(t, out, "[1=b:1 2=a:- 3=c:1]")
	if h, ok := out[1].DeleteHorizon(); !ok || h != 100_050 {
		t.Fatalf("delete horizon = %d, %v", h, ok)
	}
	if _, ok := out[0].DeleteHorizon(); ok {
		t.Error("a batch without a tombstone has a delete horizon")
	}
	// Neither a longer nor a shorter retention moves it.
	out = pass{rules: Rules{Now: 100_049, DeleteRetentionMs: 0}}.run(t, out)
	expect(t, out, "[1=b:1 2=a:- 3=c:1]")
	out = pass{rules: Rules{Now: 100_050, DeleteRetentionMs: 1 << 40}}.run(t, out)
	expect(t, out, "[1=b:1 3=c:1]")
	if h, ok := out[1].DeleteHorizon(); !ok || h != 100_050 {
		t.Errorf("delete horizon = %d, %v after its tombstone went", h, ok)
	}
}

// TestTombstoneBehindTheMapGetsNoHorizon fills the map before a tombstone. Its time must not run
// before the pass that removes what it has replaced: a reader that has just met the older record
// would find neither that one gone nor the tombstone there.
func TestTombstoneBehindTheMapGetsNoHorizon(t *testing.T) {
	records := []rec{{"a", "1"}}
	for i := range 20 {
		records = append(records, rec{fmt.Sprint(i), "1"})
	}
	in := lay(t, plain(records...), plain(rec{"b", "1"}, rec{"a", "-"}), plain(rec{"c", "1"}))
	rules := Rules{Now: 1000, DeleteRetentionMs: 50}
	part := pass{rules: rules, mapBytes: 1}.run(t, in)
	if h, ok := part[1].DeleteHorizon(); ok {
		t.Errorf("delete horizon = %d before the older record is gone", h)
	}
	// The next pass reads all, long after: it removes the older record, and only now the time runs.
	rules.Now = 5000
	out := pass{rules: rules}.run(t, part)
	if h, ok := out[1].DeleteHorizon(); !ok || h != 5050 {
		t.Errorf("delete horizon = %d, %v", h, ok)
	}
	if got := show(t, out); strings.Contains(got, "=a:1") || !strings.Contains(got, "=a:-") {
		t.Errorf("left %s", got)
	}
	// A map that ends within the batch is not enough either: a horizon is the whole batch's.
	two := lay(t, plain(rec{"a", "1"}), plain(rec{"b", "-"}, rec{"a", "-"}))
	f := NewFilter(Rules{Map: &OffsetMap{slots: make([]slot, 8), latest: 1}, Now: 10})
	left, err := f.Append(nil, two[1], Nothing)
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := batch.Batch(left).DeleteHorizon(); ok {
		t.Errorf("delete horizon = %d of a batch that was looked at in part", h)
	}
}

// TestTombstoneIsKeptForEver asks for the longest delete.retention.ms that there is.
func TestTombstoneIsKeptForEver(t *testing.T) {
	in := lay(t, plain(rec{"a", "1"}), plain(rec{"a", "-"}))
	rules := Rules{Now: 100_000, DeleteRetentionMs: math.MaxInt64}
	out := in
	for range 3 {
		out = pass{rules: rules}.run(t, out)
		rules.Now += 1 << 40
	}
	expect(t, out, "[1=a:-]")
}

func TestFloors(t *testing.T) {
	in := lay(t, plain(rec{"a", "1"}), plain(rec{"a", "2"}, rec{"b", "-"}))
	late := Rules{Now: 1000, DeleteRetentionMs: 0}
	first := pass{rules: late}.run(t, in)
	expect(t, first, "[1=a:2 2=b:-]")
	late.Now++
	expect(t, pass{rules: late}.run(t, first), "[1=a:2]")
	gone := lay(t, plain(rec{"a", "1"}, rec{"b", "1"}), plain(rec{"a", "2"}, rec{"b", "2"}))
	expect(t, pass{floors: map[int]Floor{0: Header}}.run(t, gone), "[e0-1 2=a:2 3=b:2]")
	// A batch that ends what is compacted keeps its last record, though it be an old tombstone.
	end := lay(t, plain(rec{"a", "1"}, rec{"a", "-"}))
	p := pass{rules: Rules{Now: 1000}, floors: map[int]Floor{0: Record}}
	once := p.run(t, end)
	p.rules.Now = 2000
	expect(t, p.run(t, once), "[1=a:-]")
	p.floors = nil
	expect(t, p.run(t, once), "[]")
}

func TestLastBatchOfAnActiveProducerStays(t *testing.T) {
	a := plain(rec{"a", "1"}, rec{"a", "2"})
	a.ProducerID, a.ProducerEpoch, a.BaseSequence = 5, 3, 40
	in := lay(t, a, plain(rec{"a", "3"}))
	active := Rules{Producers: map[batch.ProducerID]LastRecord{5: {LastOffset: 1, Epoch: 3}}}
	out := pass{rules: active}.run(t, in)
	expect(t, out, "[e0-1 2=a:3]")
	if out[0].LastSequence() != 41 || out[0].MaxTimestamp() != in[0].MaxTimestamp() {
		t.Errorf("last sequence %d, greatest timestamp %d", out[0].LastSequence(), out[0].MaxTimestamp())
	}
	expect(t, pass{rules: active}.run(t, out), "[e0-1 2=a:3]")
	newer := Rules{Producers: map[batch.ProducerID]LastRecord{5: {LastOffset: 9, Epoch: 3}}}
	expect(t, pass{rules: newer}.run(t, out), "[2=a:3]")
	expect(t, pass{}.run(t, out), "[2=a:3]")
}

func TestAbortedRecordsGoAndTheirMarkerLater(t *testing.T) {
	in := lay(t,
		plain(rec{"a", "1"}),                 // 0
		txn(9, rec{"a", "2"}, rec{"b", "1"}), // 1, 2: aborted
		txn(8, rec{"c", "1"}),                // 3: committed
		marker(markerAbort, 9),               // 4
		marker(markerCommit, 8),              // 5
		txn(9, rec{"d", "1"}),                // 6: the producer's next, committed
		marker(markerCommit, 9),              // 7
		plain(rec{"z", "1"}),                 // 8
	)
	rules := Rules{
		Now: 1000, DeleteRetentionMs: 50,
		Aborted: []AbortedTxn{{Producer: 9, First: 1, Last: 4}},
	}
	out := pass{rules: rules}.run(t, in)
	// The abort marker stays: this pass has met its records.
	expect(t, out, "[0=a:1 3=c:1 4=marker 5=marker 6=d:1 7=marker 8=z:1]")
	if _, ok := out[2].DeleteHorizon(); ok {
		t.Error("the marker has a horizon while its records were there")
	}
	rules.Now = 2000
	out = pass{rules: rules}.run(t, out)
	expect(t, out, "[0=a:1 3=c:1 4=marker 5=marker 6=d:1 7=marker 8=z:1]")
	if h, ok := out[2].DeleteHorizon(); !ok || h != 2050 {
		t.Errorf("the spent marker's horizon is %d, %v", h, ok)
	}
	rules.Now = 2050
	out = pass{rules: rules}.run(t, out)
	expect(t, out, "[0=a:1 3=c:1 5=marker 6=d:1 7=marker 8=z:1]")
	// When the committed record is replaced, its marker follows.
	out = append(out, plain(rec{"c", "2"}).at(t, 9))
	out = pass{rules: rules}.run(t, out)
	expect(t, out, "[0=a:1 5=marker 6=d:1 7=marker 8=z:1 9=c:2]")
	rules.Now = 3000
	out = pass{rules: rules}.run(t, out)
	rules.Now = 3050
	expect(t, pass{rules: rules}.run(t, out), "[0=a:1 6=d:1 7=marker 8=z:1 9=c:2]")
}

func TestMarkerOfAnActiveProducerWithoutRecordsStays(t *testing.T) {
	in := lay(t, marker(markerCommit, 9), plain(rec{"a", "1"}))
	rules := Rules{
		Now: 1000, Producers: map[batch.ProducerID]LastRecord{9: {LastOffset: batch.NoOffset}},
	}
	out := pass{rules: rules}.run(t, in)
	expect(t, out, "[0=marker 1=a:1]")
	rules.Now = 5000
	out = pass{rules: rules}.run(t, out)
	expect(t, out, "[e0-0 1=a:1]")
	expect(t, pass{rules: rules}.run(t, out), "[e0-0 1=a:1]")
	expect(t, pass{}.run(t, out), "[1=a:1]")
}

// TestAbortedLastBatchIsEmptied: not even at the end may an aborted record come back as committed.
func TestAbortedLastBatchIsEmptied(t *testing.T) {
	in := lay(t, txn(9, rec{"a", "1"}))
	p := pass{
		rules:  Rules{Aborted: []AbortedTxn{{Producer: 9, First: 0, Last: 7}}},
		floors: map[int]Floor{0: Record},
	}
	expect(t, p.run(t, in), "[e0-0]")
}

func TestFullMapEndsAtARecord(t *testing.T) {
	var records []rec
	for i := range 20 {
		records = append(records, rec{fmt.Sprint(i), "1"})
	}
	records = append(records, rec{"0", "2"})
	in := lay(t, plain(records...), plain(rec{"1", "2"}))
	// Seven keys fit; each pass goes on where the one before has ended.
	from := batch.Offset(0)
	passes := 0
	for ; from <= in[1].LastOffset(); passes++ {
		m := NewOffsetMap(1, 1<<20)
		mapper := NewMapper(m, from, nil)
		for _, b := range in {
			if full, err := mapper.Add(b); err != nil || full {
				break
			}
		}
		if m.Latest() < from {
			t.Fatalf("no progress at %d", from)
		}
		f := NewFilter(Rules{Map: m})
		var left []batch.Batch
		for _, b := range in {
			out, err := f.Append(nil, b, Header)
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, out)
		}
		in, from = left, m.Latest()+1
	}
	if passes < 3 {
		t.Errorf("%d passes", passes)
	}
	got := show(t, in)
	want := "["
	for i := 2; i < 20; i++ {
		want += fmt.Sprintf("%d=%d:1 ", i, i)
	}
	if want += "20=0:2 21=1:2]"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}

func TestUnreadableBatchStays(t *testing.T) {
	bad := plain(rec{"a", "1"}, rec{"b", "1"}).at(t, 1)
	bad[batch.HeaderBytes] = 0x7f // the first record's length
	bad.SealCRC()
	in := []batch.Batch{plain(rec{"a", "0"}).at(t, 0), bad, plain(rec{"c", "1"}).at(t, 3)}
	m := NewOffsetMap(1<<10, 10)
	mapper := NewMapper(m, 0, nil)
	for _, b := range in {
		if full, err := mapper.Add(b); full || err != nil {
			t.Fatal(full, err)
		}
	}
	f := NewFilter(Rules{Map: m})
	for _, b := range in {
		out, err := f.Append(nil, b, Nothing)
		if err != nil || !bytes.Equal(out, b) {
			t.Errorf("batch at %d became %d bytes, %v", b.BaseOffset(), len(out), err)
		}
	}
}

// TestCountIsOnlyAClaim gives the filter a batch that says it has a thousand million records. A
// topic without schedules takes any that is compressed, and may be compacted later.
func TestCountIsOnlyAClaim(t *testing.T) {
	b := plain(rec{"a", "1"})
	b.Codec = batch.Zstd
	bad := b.at(t, 0)
	binary.BigEndian.PutUint32(bad[23:], 1<<30-1) // last offset delta
	binary.BigEndian.PutUint32(bad[57:], 1<<30)   // count
	bad.SealCRC()
	if err := batch.CheckStored(bad); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out := pass{}.run(t, []batch.Batch{bad})
	runtime.ReadMemStats(&after)
	if len(out) != 1 || !bytes.Equal(out[0], bad) {
		t.Errorf("%d batches are left", len(out))
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d bytes were allocated for a batch of %d", n, len(bad))
	}
}

package batch

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBuilderWritesWhatKmsgWrites holds the Builder against franz-go's code, byte for
// byte.
func TestBuilderWritesWhatKmsgWrites(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	b := NewBuilder(BuilderOptions{})
	for range 500 {
		want := randomBatch(rng)
		recs, err := readAll(want, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.Reset(BuilderOptions{LeaderEpoch: -1, BaseTimestamp: want.BaseTimestamp()}.NoProducer())
		for _, r := range recs {
			appendRecord(t, b, want, r, rng.IntN(2) == 0)
		}
		got, err := b.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		want.SetMaxTimestamp(got.MaxTimestamp()) // makeKafka starts from the base timestamp.
		want.SealCRC()
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d:\ngot  %x\nwant %x", seed, []byte(got), []byte(want))
		}
	}
}

// appendRecord copies r into b, its headers raw or one by one.
func appendRecord(t *testing.T, b *Builder, from Batch, r Record, raw bool) {
	t.Helper()
	f := RecordFields{TimestampMs: from.Timestamp(r), Key: r.Key, Value: r.Value}
	if raw {
		f.RawHeaders = r.Headers
	} else {
		f.Headers = headersOf(r.Headers)
	}
	if err := b.Append(f); err != nil {
		t.Fatal(err)
	}
}

func headersOf(h RawHeaders) (out []Header) {
	_ = h.Each(func(k, v []byte) bool {
		out = append(out, Header{string(k), v})
		return true
	})
	return out
}

func TestBuilderHeaderFields(t *testing.T) {
	o := BuilderOptions{
		Codec: Zstd, Attributes: AttrMark | KindStaged.Attributes(), BaseOffset: 9, LeaderEpoch: 3,
		BaseTimestamp: 1000, ProducerID: 7, ProducerEpoch: 2, BaseSequence: maxSequence,
	}
	b := NewBuilder(o)
	for _, ts := range []UnixMs{1500, 900, 1200} {
		if err := b.Append(RecordFields{TimestampMs: ts}); err != nil {
			t.Fatal(err)
		}
	}
	prefix := []byte("before")
	got, err := b.Build(prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckStored(got); err != nil {
		t.Fatal(err)
	}
	back := BuilderOptions{
		got.Codec(), got.Attributes() &^ attrCodecMask, got.BaseOffset(), got.LeaderEpoch(),
		got.BaseTimestamp(), got.ProducerID(), got.ProducerEpoch(), got.BaseSequence(),
	}
	if back != o || got.MaxTimestamp() != 1500 || got.Count() != 3 || got.LastSequence() != 1 {
		t.Errorf("got %+v, max %d, count %d, last sequence %d; want %+v",
			back, got.MaxTimestamp(), got.Count(), got.LastSequence(), o)
	}
}

func TestBuilderRefuses(t *testing.T) {
	b := NewBuilder(BuilderOptions{})
	if _, err := b.Build(nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("empty batch: %v", err)
	}
	bad := RawHeaders{Count: 1, Bytes: []byte{9}}
	err := b.Append(RecordFields{RawHeaders: bad, Drop: IsControlHeader})
	if !errors.Is(err, ErrInvalid) || b.Count() != 0 || b.Len() != HeaderBytes {
		t.Errorf("broken headers: %v, %d records", err, b.Count())
	}
}

func TestBuilderDropsAndAddsHeaders(t *testing.T) {
	all := []Header{
		{"a", []byte("1")},
		{HeaderScheduleTs, []byte("2")},
		{"b", nil},
		{HeaderPosition, []byte("forged")},
		{"", []byte{}},
	}
	trailer := Header{"\x00", []byte("0123456789abcdef")}
	src := NewBuilder(BuilderOptions{}.NoProducer())
	if err := src.Append(RecordFields{Headers: all}); err != nil {
		t.Fatal(err)
	}
	in, err := src.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := readAll(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		drop func([]byte) bool
		want []Header
	}{
		{"keep all", nil, all},
		{"drop control", IsControlHeader, []Header{all[0], all[2], all[3], all[4]}},
		{"drop server's", IsServerHeader, []Header{all[0], all[1], all[2], all[4]}},
		{"drop all", func([]byte) bool { return true }, nil},
	} {
		b := NewBuilder(BuilderOptions{}.NoProducer())
		for range 2 { // Twice, so that scratch space is used again.
			err := b.Append(RecordFields{
				RawHeaders: recs[0].Headers, Drop: c.drop, Headers: []Header{trailer},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		out, err := b.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(out, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if hs := headersOf(r.Headers); !equalHeaders(hs, append(slices.Clip(c.want), trailer)) {
				t.Errorf("%s: %q", c.name, hs)
			}
		}
		if !bytes.HasSuffix(out, trailer.Value) {
			t.Errorf("%s: the last header's value does not end the record", c.name)
		}
	}
}

// equalHeaders tells nil from empty values.
func equalHeaders(a, b []Header) bool {
	return slices.EqualFunc(a, b, func(x, y Header) bool {
		return x.Key == y.Key && bytes.Equal(x.Value, y.Value) &&
			(x.Value == nil) == (y.Value == nil)
	})
}

func TestBuilderAllocatesNothingOnceGrown(t *testing.T) {
	in := makeBatch(t, None, 50, 100, 3)
	b := NewBuilder(BuilderOptions{})
	var dst Batch
	var r Reader
	added := []Header{{"x", []byte("y")}}
	run := func() {
		b.Reset(BuilderOptions{BaseTimestamp: in.BaseTimestamp()})
		if err := r.Reset(in, 0); err != nil {
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
			err = b.Append(RecordFields{
				Key: rec.Key, Value: rec.Value, RawHeaders: rec.Headers, Drop: IsControlHeader,
				Headers: added,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if dst, err = b.Build(dst[:0]); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if got := testing.AllocsPerRun(50, run); got > 0 {
		t.Errorf("%v allocations for 50 records", got)
	}
}

func TestSpans(t *testing.T) {
	in := makeBatch(t, None, 20, 200, 2)
	r, err := NewReader(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := in.Spans()
	for i := 0; ; i++ {
		sp, ok := s.Next()
		rec, more, err := r.Next()
		if err != nil || ok != more {
			t.Fatalf("record %d: span %v, reader %v, %v", i, ok, more, err)
		}
		if !ok {
			break
		}
		if sp.Index != i || r.Index() != i || sp.Pos != HeaderBytes+r.Pos() ||
			!bytes.Equal(in[sp.Pos:sp.End()], r.Raw()) {
			t.Errorf("span %+v, reader at %d", sp, r.Pos())
		}
		alone, n, err := ParseRecord(in[sp.Pos:])
		if err != nil || n != sp.Len || fmt.Sprint(alone) != fmt.Sprint(rec) {
			t.Errorf("record %d alone: %v, %d bytes of %d", i, err, n, sp.Len)
		}
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	packed, err := Recompress(in, Lz4, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s = packed.Spans()
	if _, ok := s.Next(); ok || !errors.Is(s.Err(), ErrInvalid) {
		t.Errorf("spans of a compressed batch: %v", s.Err())
	}
	for _, cut := range []int{1, 3, 250} {
		s = in[:len(in)-cut].Spans()
		for ok := true; ok; {
			_, ok = s.Next()
		}
		if !errors.Is(s.Err(), ErrInvalid) {
			t.Errorf("cut by %d: %v", cut, s.Err())
		}
	}
	s = Batch(append(bytes.Clone(in), 0, 0)).Spans()
	for ok := true; ok; {
		_, ok = s.Next()
	}
	if !errors.Is(s.Err(), ErrInvalid) {
		t.Errorf("bytes behind: %v", s.Err())
	}
}

func TestReaderAllowsGapsThatRise(t *testing.T) {
	b := NewBuilder(BuilderOptions{}.NoProducer())
	for range 3 {
		if err := b.Append(RecordFields{}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	const deltaPos, recordBytes = HeaderBytes + 3, 7
	for _, c := range []struct {
		deltas [3]byte
		ok     bool
	}{
		{[3]byte{0, 1, 2}, true},
		{[3]byte{1, 4, 5}, true},
		{[3]byte{0, 0, 1}, false},
		{[3]byte{2, 1, 3}, false},
		{[3]byte{0, 1, 6}, false}, // Beyond the last offset delta.
	} {
		for i, d := range c.deltas {
			out[deltaPos+i*recordBytes] = d << 1
		}
		out[posLastOffsetDelta+3] = 5
		if _, err := readAll(out, 0); (err == nil) != c.ok {
			t.Errorf("deltas %v: %v", c.deltas, err)
		}
	}
}

func TestReaderRewindsAndCloses(t *testing.T) {
	b, err := Recompress(makeBatch(t, None, 3, 10, 0), Zstd, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(b, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i := range 3 {
			rec, ok, err := r.Next()
			if !ok || err != nil || string(rec.Key) != fmt.Sprintf("key-%d", i) {
				t.Fatalf("record %d: %q, %v, %v", i, rec.Key, ok, err)
			}
		}
		if _, ok, err := r.Next(); ok || err != nil {
			t.Fatalf("behind the last: %v, %v", ok, err)
		}
		r.Rewind()
	}
	r.Close()
	r.Close()
	if _, ok, err := r.Next(); ok || err != nil {
		t.Errorf("after Close: %v, %v", ok, err)
	}
	if _, err := NewReader(b, 10); !errors.Is(err, ErrBomb) {
		t.Errorf("limit 10: %v", err)
	}
}

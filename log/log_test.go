package log

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

func TestAppendStampsAndReadsBack(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	one, two := buildBatch(t, 1, 3, 10, 1000), buildBatch(t, 2, 2, 10, 1000)
	p := append(append([]byte{}, one...), two...)
	first, end, err := l.Append(p, 7)
	if err != nil || first != 0 || end != 5 {
		t.Fatalf("append = %d, %d, %v; want 0, 5", first, end, err)
	}
	got := readAll(t, l)
	if !bytes.Equal(got, p) {
		t.Fatal("the log's bytes are not those that Append has stamped")
	}
	a, rest, _ := batch.Next(got)
	b, _, _ := batch.Next(rest)
	if a.BaseOffset() != 0 || b.BaseOffset() != 3 || a.LeaderEpoch() != 7 || b.LeaderEpoch() != 7 {
		t.Fatalf("stamps: offsets %d %d, epochs %d %d", a.BaseOffset(), b.BaseOffset(),
			a.LeaderEpoch(), b.LeaderEpoch())
	}
	if !bytes.Equal(a[batch.HeaderBytes:], one[batch.HeaderBytes:]) || a.CRC() != one.CRC() {
		t.Fatal("more than the stamps has changed")
	}
	mustClose(t, l)
}

func TestOffsetsMove(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	want := func(what string, start, recovery, flushed, end Offset) {
		t.Helper()
		got := [4]Offset{l.Start(), l.RecoveryPoint(), l.FlushedEnd(), l.End()}
		if got != [4]Offset{start, recovery, flushed, end} {
			t.Fatalf("%s: start, recovery point, flushed end, end = %v", what, got)
		}
	}
	want("new", 0, 0, 0, 0)
	mustAppend(t, l, 3)
	want("appended", 0, 0, 0, 6)
	if end := mustFlush(t, l); end != 6 {
		t.Fatalf("flush = %d", end)
	}
	want("flushed", 0, 0, 6, 6)
	mustAppend(t, l, 3)
	if err := l.CheckpointTo(8); err != nil {
		t.Fatal(err)
	}
	want("checkpoint within a batch", 0, 7, 12, 12)
	if err := l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	want("checkpoint", 0, 12, 12, 12)
	mustClose(t, l)
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
	if _, _, err := l.Append(buildBatch(t, 1, 1, 1, 1), 1); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	if _, err := l.Read(nil, ReadRequest{From: 0, Bound: 9, MaxBytes: 99}); !errors.Is(err, ErrClosed) {
		t.Fatalf("read after close: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	good := buildBatch(t, 1, 2, 10, 1000)
	old := append([]byte{}, good...)
	old[16] = 1
	tests := []struct {
		name string
		p    []byte
		want error
	}{
		{"nothing", nil, ErrBadBatch},
		{"half a batch", good[:len(good)-1], ErrBadBatch},
		{"a batch and a half", append(append([]byte{}, good...), good[:70]...), ErrBadBatch},
		{"old format", old, ErrBadBatch},
	}
	for _, tt := range tests {
		if _, _, err := l.Append(tt.p, 1); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, _, err := l.Append(good, 5); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Append(good, 4); !errors.Is(err, ErrStaleEpoch) {
		t.Errorf("older epoch: %v", err)
	}
	if l.End() != 2 {
		t.Errorf("end = %d after refusals", l.End())
	}
	mustClose(t, l)
}

func TestRollBySize(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	mustAppend(t, l, 100)
	if n := l.Segments(); n < 4 {
		t.Fatalf("%d segments of 4 KiB for %d bytes", n, l.Size())
	}
	for _, s := range l.set.Load().list {
		if s.size.Load() > 4096 {
			t.Errorf("segment %s has %d bytes", s.path, s.size.Load())
		}
	}
	checkDense(t, l)
	n := l.Segments()
	big := buildBatch(t, 1, 1, 10000, 1)
	if _, _, err := l.Append(big, 1); err != nil {
		t.Fatal(err)
	}
	if l.Segments() != n+1 {
		t.Fatal("a batch larger than a segment must have one of its own")
	}
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	if err := l.Roll(); err != nil || l.Segments() != n+2 {
		t.Fatalf("a roll of an empty segment: %d segments, %v", l.Segments(), err)
	}
	checkDense(t, l)
	mustClose(t, l)
	l = mustOpen(t, testOptions(l.o.FS))
	checkDense(t, l)
	mustClose(t, l)
}

func TestRollByRecordTime(t *testing.T) {
	o := testOptions(vfs.NewCrash(1))
	o.SegmentMs = 1000
	l := mustOpen(t, o)
	steps := []struct {
		first    UnixMs
		segments int
	}{
		{5000, 1}, {5999, 1}, {6000, 2}, {5000, 2}, {6999, 2}, {-1, 2}, {7000, 3}, {3000, 3}, {8000, 4},
	}
	for i, s := range steps {
		if i == 4 { // the decision is the same after a restart
			mustClose(t, l)
			l = mustOpen(t, o)
		}
		if _, _, err := l.Append(buildBatch(t, 1, 1, 1, s.first), 1); err != nil {
			t.Fatal(err)
		}
		if l.Segments() != s.segments {
			t.Fatalf("step %d at %d: %d segments, want %d", i, s.first, l.Segments(), s.segments)
		}
	}
	l.SetTopicLimits(1, 0)
	if _, _, err := l.Append(buildBatch(t, 1, 1, 1, 8000), 1); err != nil || l.Segments() != 5 {
		t.Fatalf("after SetTopicLimits: %d segments, %v", l.Segments(), err)
	}
	mustClose(t, l)
}

func TestReadLimits(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	b := buildBatch(t, 1, 2, 100, 1000)
	for range 10 {
		if _, _, err := l.Append(append([]byte{}, b...), 1); err != nil {
			t.Fatal(err)
		}
	}
	n := len(b)
	tests := []struct {
		name string
		r    ReadRequest
		want int // bytes
		base Offset
		err  error
	}{
		{"all", ReadRequest{From: 0, Bound: 20, MaxBytes: math.MaxInt32}, 10 * n, 0, nil},
		{"from within a batch", ReadRequest{From: 3, Bound: 20, MaxBytes: n}, n, 2, nil},
		{"limit", ReadRequest{From: 0, Bound: 20, MaxBytes: 3*n - 1}, 2 * n, 0, nil},
		{"bound", ReadRequest{From: 0, Bound: 4, MaxBytes: 99999}, 2 * n, 0, nil},
		{"bound within a batch", ReadRequest{From: 0, Bound: 5, MaxBytes: 99999}, 2 * n, 0, nil},
		{"too small", ReadRequest{From: 0, Bound: 20, MaxBytes: n - 1}, 0, 0, nil},
		{"too small, at least one", ReadRequest{From: 4, Bound: 20, MaxBytes: n - 1, MinOne: true}, n, 4, nil},
		{"nothing allowed, at least one", ReadRequest{From: 4, Bound: 20, MinOne: true}, n, 4, nil},
		{"one below bound only", ReadRequest{From: 4, Bound: 5, MaxBytes: 1, MinOne: true}, 0, 0, nil},
		{"at the end", ReadRequest{From: 20, Bound: 20, MaxBytes: 99999, MinOne: true}, 0, 0, nil},
		{"above bound", ReadRequest{From: 10, Bound: 8, MaxBytes: 99999, MinOne: true}, 0, 0, nil},
		{"bound beyond the end", ReadRequest{From: 18, Bound: 99, MaxBytes: 99999}, n, 18, nil},
		{"above the end", ReadRequest{From: 21, Bound: 99, MaxBytes: 99999}, 0, 0, ErrOffsetOutOfRange},
		{"below the start", ReadRequest{From: -1, Bound: 99, MaxBytes: 99999}, 0, 0, ErrOffsetOutOfRange},
	}
	for _, tt := range tests {
		got, err := l.Read([]byte("kept"), tt.r)
		if !errors.Is(err, tt.err) || (tt.err == nil && err != nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			continue
		}
		if string(got[:4]) != "kept" || len(got)-4 != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, len(got)-4, tt.want)
			continue
		}
		if tt.want > 0 && batch.Batch(got[4:]).BaseOffset() != tt.base {
			t.Errorf("%s: base %d, want %d", tt.name, batch.Batch(got[4:]).BaseOffset(), tt.base)
		}
	}
	mustClose(t, l)
}

func TestReadCrossesSegments(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	mustAppend(t, l, 200)
	all := readAll(t, l)
	for _, limit := range []int{1, 500, 3000, 5000, 20000} {
		var got []byte
		for next := Offset(0); next < l.End(); {
			p, err := l.Read(nil, ReadRequest{From: next, Bound: l.End(), MaxBytes: limit, MinOne: true})
			if err != nil || len(p) == 0 {
				t.Fatalf("limit %d at %d: %d bytes, %v", limit, next, len(p), err)
			}
			got = append(got, p...)
			for len(p) > 0 {
				b, rest, err := batch.Next(p)
				if err != nil {
					t.Fatal(err)
				}
				next, p = b.LastOffset()+1, rest
			}
		}
		if !bytes.Equal(got, all) {
			t.Fatalf("limit %d reads other bytes", limit)
		}
	}
	for o := range l.End() { // every offset is found, forwards and without a hint
		p, err := l.Read(nil, ReadRequest{From: o, Bound: l.End(), MaxBytes: 1, MinOne: true})
		if err != nil {
			t.Fatal(err)
		}
		if b := batch.Batch(p); b.BaseOffset() > o || b.LastOffset() < o {
			t.Fatalf("asked for %d, got %d to %d", o, b.BaseOffset(), b.LastOffset())
		}
	}
	mustClose(t, l)
}

func TestReadWithin(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	mustAppend(t, l, 50)
	err := l.Batches(0, l.End(), func(b batch.Batch) error {
		got, err := l.ReadWithin([]byte("x"), b.BaseOffset(), 61, 9)
		if err != nil {
			return err
		}
		if !bytes.Equal(got[1:], b[61:70]) {
			t.Errorf("batch %d: other bytes", b.BaseOffset())
		}
		if _, err := l.ReadWithin(nil, b.BaseOffset(), len(b)-1, 2); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("beyond the batch: %v", err)
		}
		if b.LastOffsetDelta() > 0 {
			if _, err := l.ReadWithin(nil, b.BaseOffset()+1, 0, 1); !errors.Is(err, ErrOffsetOutOfRange) {
				t.Errorf("not a base: %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
}

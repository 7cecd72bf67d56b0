package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/vfs"
)

func TestEpochsEndOf(t *testing.T) {
	// As LeaderEpochFileCache.endOffsetFor of Kafka answers.
	e := epochs{{2, 10}, {3, 20}, {5, 20}, {7, 35}}
	tests := []struct {
		asked LeaderEpoch
		epoch LeaderEpoch
		end   Offset
	}{
		{-1, -1, -1},
		{0, 0, 10},
		{1, 1, 10},
		{2, 2, 20},
		{3, 3, 20},
		{4, 3, 20},
		{5, 5, 35},
		{6, 5, 35},
		{7, 7, 50},
		{8, -1, -1},
	}
	for _, tt := range tests {
		if epoch, end := e.endOf(tt.asked, 50); epoch != tt.epoch || end != tt.end {
			t.Errorf("endOf(%d) = %d, %d; want %d, %d", tt.asked, epoch, end, tt.epoch, tt.end)
		}
	}
	if epoch, end := epochs(nil).endOf(0, 50); epoch != -1 || end != -1 {
		t.Errorf("without history: %d, %d", epoch, end)
	}
	for _, tt := range []struct {
		name string
		got  epochs
		want epochs
	}{
		{"cut", e.cutFrom(20), epochs{{2, 10}}},
		{"lower", e.lowerTo(20), epochs{{2, 10}, {3, 20}, {5, 20}, {7, 20}}},
		{"since", e.since(20), epochs{{5, 20}, {7, 35}}},
		{"since before", e.since(5), e},
		{"with", e.with(9, 40), append(append(epochs{}, e...), epochStart{9, 40})},
	} {
		if fmt.Sprint(tt.got) != fmt.Sprint(tt.want) {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	back, err := parseEpochs(e.encode())
	if err != nil || fmt.Sprint(back) != fmt.Sprint(e) {
		t.Errorf("round trip = %v, %v", back, err)
	}
	p := e.encode()
	for i := range p {
		bad := append([]byte{}, p...)
		bad[i] ^= 1
		if _, err := parseEpochs(bad); err == nil {
			t.Fatalf("byte %d flipped is not noticed:\n%s", i, bad)
		}
	}
}

func TestEpochIsDurableBeforeItsFirstAppend(t *testing.T) {
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	if err := l.SetEpoch(3); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, testOptions(fs.CrashClone(0, nil)))
	if _, _, err := l.Append(buildBatch(t, 1, 2, 1, 1), 4); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, testOptions(fs.Crash(0, nil))) // the batch is gone, the epoch is not
	if l.End() != 0 || l.LastEpoch() != 4 {
		t.Fatalf("end %d, epoch %d; want 0, 4", l.End(), l.LastEpoch())
	}
	if err := l.SetEpoch(3); !errors.Is(err, ErrStaleEpoch) {
		t.Fatalf("an older epoch: %v", err)
	}
	if epoch, end := l.EpochEnd(3); epoch != 3 || end != 0 {
		t.Fatalf("EpochEnd(3) = %d, %d", epoch, end)
	}
}

func TestRetentionPoint(t *testing.T) {
	o := testOptions(vfs.NewCrash(1))
	o.SegmentMs = 100
	l := mustOpen(t, o)
	var ends []Offset
	for _, first := range []UnixMs{1000, 2000, 3000, -1, 4000} { // one segment each, but for -1
		_, end, err := l.Append(buildBatch(t, 1, 2, 1, first), 1)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	size := l.Size() / 5
	tests := []struct {
		name  string
		p     RetentionPolicy
		now   UnixMs
		bound Offset
		want  Offset
	}{
		{"unlimited", RetentionPolicy{-1, -1}, 1 << 40, 10, 0},
		{"young", RetentionPolicy{1000, -1}, 2001, 10, 0},
		{"first expired", RetentionPolicy{1000, -1}, 2002, 10, ends[0]},
		{"bound", RetentionPolicy{10, -1}, 1 << 40, ends[1] + 1, ends[1]},
		{"two expired", RetentionPolicy{100, -1}, 2102, 10, ends[1]},
		{"all expired: the active one too", RetentionPolicy{10, -1}, 1 << 40, 10, 10},
		{"expired but above bound", RetentionPolicy{10, -1}, 1 << 40, 9, ends[3]},
		{"a clock that stands at zero", RetentionPolicy{10, -1}, 0, 10, 0},
		{"bytes", RetentionPolicy{-1, 3 * size}, 0, 10, ends[1]},
		{"bytes, not quite a segment", RetentionPolicy{-1, 3*size + 1}, 0, 10, ends[0]},
		{"no bytes: the active one stays", RetentionPolicy{-1, 0}, 0, 10, ends[3]},
		{"both", RetentionPolicy{1000, 4 * size}, 3002, 10, ends[1]},
	}
	for _, tt := range tests {
		if got := l.RetentionPoint(tt.p, tt.now, tt.bound); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if err := l.AdvanceStart(10); err != nil {
		t.Fatal(err)
	}
	if l.Segments() != 1 || l.Size() != 0 || l.Start() != 10 || l.End() != 10 {
		t.Fatalf("%d segments, %d bytes, %d to %d", l.Segments(), l.Size(), l.Start(), l.End())
	}
	if _, err := l.Read(nil, ReadRequest{From: 9, Bound: 10, MaxBytes: 1}); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("read below the start: %v", err)
	}
	if err := l.AdvanceStart(11); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("advance beyond the end: %v", err)
	}
	mustAppend(t, l, 1)
	mustClose(t, l)
	l = mustOpen(t, o)
	if l.Start() != 10 || l.End() != 11 {
		t.Fatalf("%d to %d after open", l.Start(), l.End())
	}
}

func TestSegmentWithoutTimestampsNeverExpires(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	if _, _, err := l.Append(buildBatch(t, 1, 1, 1, -1), 1); err != nil {
		t.Fatal(err)
	}
	if got := l.RetentionPoint(RetentionPolicy{Ms: 1, Bytes: -1}, 1<<40, 1); got != 0 {
		t.Fatalf("point = %d", got)
	}
}

// TestReaderOutlivesDeletion keeps a segment pinned while retention deletes it.
func TestReaderOutlivesDeletion(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	mustAppend(t, l, 100)
	s, err := l.pin(0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.file()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AdvanceStart(l.set.Load().active().base); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, s.size.Load())
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatalf("the pinned file cannot be read: %v", err)
	}
	s.release()
	if _, err := f.ReadAt(p, 0); err == nil {
		t.Fatal("the file is still open after the last reader")
	}
	if _, err := s.file(); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("opening a deleted segment: %v", err)
	}
	mustClose(t, l)
}

func TestTableSearch(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := fs.MkdirAll("/d", 0o755); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{0, 1, 2, 255, 256, 257, 600, 1500} {
		table := newTable(fs, fmt.Sprintf("/d/%d", n), offsetTable, 7)
		var keys []int64
		for i := range n {
			keys = append(keys, int64(10*i))
			if err := table.add(entry{key: int64(10 * i), value: uint32(i)}); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			x := rng.Int64N(int64(10*n+20)) - 5
			i, before, err := table.search(func(e entry) bool { return e.key > x })
			want := sort.Search(len(keys), func(i int) bool { return keys[i] > x })
			if err != nil || i != want || (i > 0 && before.key != keys[i-1]) {
				t.Fatalf("%d entries: search(%d) = %d after %v, want %d, %v", n, x, i, before, want, err)
			}
		}
		if got, err := table.len(); err != nil || got != n {
			t.Fatalf("len = %d, want %d, %v", got, n, err)
		}
		if stored, tail, _ := table.snapshot(); len(tail) >= tableTailMax {
			t.Errorf("%d entries wait in memory, %d are stored", len(tail), stored)
		}
	}
	other := newTable(fs, "/d/600", timeTable, 7)
	if _, _, err := other.search(func(entry) bool { return true }); !errors.Is(err, errBadIndex) {
		t.Errorf("a table of another kind passes: %v", err)
	}
}

func TestNoteCodec(t *testing.T) {
	n := noteState{seq: 9, start: 1, flushed: 70, recovery: point{
		offset: 50, segment: 40, pos: 4321, maxTime: -1, firstTime: 12345, indexEntries: 3, timeEntries: 2,
	}}
	p := n.encode()
	if got, ok := decodeNote(p); !ok || got != n {
		t.Fatalf("round trip = %+v, %v", got, ok)
	}
	for i := range noteDataBytes {
		bad := append([]byte{}, p...)
		bad[i] ^= 0x80
		if _, ok := decodeNote(bad); ok {
			t.Errorf("byte %d flipped is not noticed", i)
		}
	}
	n.recovery.offset = 71
	if _, ok := decodeNote(n.encode()); ok {
		t.Error("a recovery point above the flushed end makes no sense")
	}
}

func TestParseSegmentName(t *testing.T) {
	for name, want := range map[string]Offset{
		"00000000000000000000.log": 0, "00000000000000001234.log": 1234, "09223372036854775807.log": 1<<63 - 1,
		"1.log": -1, "00000000000000000000.index": -1, "+0000000000000000001.log": -1,
		"-0000000000000000001.log": -1, "99999999999999999999.log": -1, "0000000000000000000x.log": -1,
	} {
		got, ok := parseSegmentName(name)
		if ok != (want >= 0) || (ok && got != want) {
			t.Errorf("%s = %d, %v", name, got, ok)
		}
	}
}

func TestMode(t *testing.T) {
	for _, m := range []Mode{Batch, EveryEvent, Periodic} {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("always"); err == nil || !strings.Contains(err.Error(), "every_event") {
		t.Errorf("ParseMode(always): %v", err)
	}
	if Mode(9).String() != "mode(9)" {
		t.Error(Mode(9).String())
	}
}

func TestOptionsValidate(t *testing.T) {
	fs := vfs.NewCrash(1)
	for _, o := range []Options{
		{},
		{FS: fs, SegmentBytes: -1},
		{FS: fs, SegmentBytes: SegmentBytesMax + 1},
		{FS: fs, SegmentMs: -1},
		{FS: fs, IndexIntervalBytes: -1},
	} {
		if _, err := Open(testDir, o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestOpenDir(t *testing.T) {
	fs := vfs.NewCrash(1)
	now := time.Unix(1_700_000_000, 0)
	d, err := OpenDir(fs, "/var/lib/chronos", now)
	if err != nil {
		t.Fatal(err)
	}
	var held *vfs.HeldError
	if _, err := OpenDir(fs, "/var/lib/chronos", now); !errors.As(err, &held) || !held.Started.Equal(now) {
		t.Fatalf("a second open: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	fs = fs.Crash(0, nil)
	p, err := fs.ReadFile("/var/lib/chronos/FORMAT")
	if err != nil || string(p) != "chronosdb 2\n" {
		t.Fatalf("FORMAT after a power cut = %q, %v", p, err)
	}
	for text, want := range map[string]error{
		"chronosdb 1\n": nil, "chronosdb 2\n": nil,
		"chronosdb 3\n": ErrFormatNewer, "chronosdb 0\n": ErrFormatUnknown,
		"": ErrFormatUnknown, "kafka 1\n": ErrFormatUnknown, "chronosdb 1x\n": ErrFormatUnknown,
	} {
		if err := fs.WriteFileAtomic("/var/lib/chronos/FORMAT", []byte(text)); err != nil {
			t.Fatal(err)
		}
		d, err := OpenDir(fs, "/var/lib/chronos", now)
		if !errors.Is(err, want) {
			t.Errorf("FORMAT %q: %v, want %v", text, err, want)
		}
		if err == nil {
			_ = d.Close()
			if p, err := fs.ReadFile("/var/lib/chronos/FORMAT"); err != nil || string(p) != "chronosdb 2\n" {
				t.Errorf("FORMAT %q is %q after an open, %v", text, p, err)
			}
		}
	}
	if err := fs.MkdirAll("/other/topics", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(fs, "/other", now); !errors.Is(err, ErrFormatUnknown) {
		t.Errorf("topics without FORMAT: %v", err)
	}
}

func TestLatency(t *testing.T) {
	var h Latency
	for _, d := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, time.Second, time.Hour} {
		h.Observe(d)
	}
	s := h.Snapshot()
	if s.Count != 5 || s.Sum != time.Hour+time.Second+201*time.Microsecond {
		t.Fatalf("%+v", s)
	}
	if s.Buckets[0].Count != 2 || s.Buckets[1].Count != 1 || s.Buckets[11].Count != 1 ||
		s.Buckets[12].Count != 1 || s.Buckets[12].Bound != -1 {
		t.Fatalf("%+v", s.Buckets)
	}
}

// TestNoteKeepsNewerCheckpoint reopens the note after each write: the next checkpoint must go over
// the older of the two, because the newest flush note may not have reached the disk.
func TestNoteKeepsNewerCheckpoint(t *testing.T) {
	fs := vfs.NewCrash(1)
	n, _, err := loadNote(fs, "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.create(noteState{}, false); err != nil {
		t.Fatal(err)
	}
	for range 7 {
		if n, _, err = loadNote(fs, "/"); err != nil {
			t.Fatal(err)
		}
		newest := n.state.seq
		if err := n.write(n.state, false); err != nil {
			t.Fatal(err)
		}
		if n, _, err = loadNote(fs, "/"); err != nil {
			t.Fatal(err)
		}
		if err := n.write(n.state, true); err != nil {
			t.Fatal(err)
		}
		p, err := fs.ReadFile("/" + noteName)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := decodeNote(p)
		b, _ := decodeNote(p[noteSlotBytes:])
		if max(a.seq, b.seq) != newest+2 || min(a.seq, b.seq) != newest {
			if newest > 1 {
				t.Fatalf("checkpoints %d and %d after one more on top of %d", a.seq, b.seq, newest)
			}
		}
	}
}

// TestHintIsChecked plants a stale hint, as a reader can that was overtaken by a truncation.
func TestHintIsChecked(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	mustAppend(t, l, 10)
	want := readAll(t, l)
	for _, pos := range []int64{1, 60, int64(len(want)) - 1, 1 << 40} {
		l.set.Load().list[0].hint.Store(&place{offset: 3, pos: pos})
		p, err := l.Read(nil, ReadRequest{From: 3, Bound: l.End(), MaxBytes: 1, MinOne: true})
		if err != nil || lastOffset(p) < 3 {
			t.Fatalf("hint at byte %d: %v", pos, err)
		}
	}
}

// TestSealedTablesAreBelieved makes sure that lookups in an undamaged log rebuild nothing, after a
// close and after a kill.
func TestSealedTablesAreBelieved(t *testing.T) {
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	for range 3 {
		mustAppend(t, l, 100)
		if err := l.CheckpointTo(l.End() - 50); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, testOptions(fs)) // killed
		lookUpAll(t, l, nil)
		l.RetentionPoint(RetentionPolicy{Ms: 1 << 40, Bytes: -1}, 1<<50, l.End())
		if n := l.Stats().IndexRebuilds; n != 0 {
			t.Fatalf("%d rebuilds after a kill", n)
		}
		mustClose(t, l)
		l = mustOpen(t, testOptions(fs))
		lookUpAll(t, l, nil)
		l.RetentionPoint(RetentionPolicy{Ms: 1 << 40, Bytes: -1}, 1<<50, l.End())
		if n := l.Stats().IndexRebuilds; n != 0 {
			t.Fatalf("%d rebuilds after a clean close", n)
		}
	}
}

package log

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// copyFS returns an independent copy of a crash file system as it is now.
func copyFS(fs *vfs.Crash) *vfs.Crash { return fs.CrashClone(1, nil) }

// patch writes bytes into a file.
func patch(t testing.TB, fs vfs.FS, name string, pos int64, p []byte) {
	t.Helper()
	f, err := fs.OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(p, pos); err != nil {
		t.Fatal(err)
	}
}

// cutFile sets a file's length.
func cutFile(t testing.TB, fs vfs.FS, name string, size int64) {
	t.Helper()
	f, err := fs.OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

func segmentName(base Offset) string { return segmentPath(vfs.OS(), testDir, base) }

// oneSegment returns a log of flushed batches and one unflushed batch, in one segment, killed.
func oneSegment(t testing.TB) (fs *vfs.Crash, flushed int64, all []byte) {
	t.Helper()
	fs = vfs.NewCrash(1)
	o := testOptions(fs)
	o.SegmentBytes = 1 << 20
	l := mustOpen(t, o)
	mustAppend(t, l, 6)
	mustFlush(t, l)
	flushed = l.Size()
	mustAppend(t, l, 1)
	return fs, flushed, readAll(t, l)
}

func TestTornTailAtEveryByte(t *testing.T) {
	fs, flushed, all := oneSegment(t)
	name := segmentName(0)
	for k := flushed; k <= int64(len(all)); k++ {
		for _, tail := range []struct {
			name  string
			bytes []byte
		}{
			{"cut", nil},
			{"zeros", make([]byte, int64(len(all))-k)},
			{"garbage", bytes.Repeat([]byte{0x5a}, int(int64(len(all))-k))},
		} {
			at := copyFS(fs)
			cutFile(t, at, name, k)
			patch(t, at, name, k, tail.bytes)
			l, err := Open(testDir, testOptions(at))
			if err != nil {
				t.Fatalf("%s at byte %d: %v", tail.name, k, err)
			}
			want := all[:flushed]
			if whole := append(append([]byte{}, all[:k]...), tail.bytes...); bytes.Equal(whole, all) {
				want = all // the last byte of a batch may be 0 anyway
			}
			if got := readAll(t, l); !bytes.Equal(got, want) {
				t.Fatalf("%s at byte %d: %d bytes left, want %d", tail.name, k, len(got), len(want))
			}
			// What follows must survive a power cut: nothing of the torn batch may come back.
			mustAppend(t, l, 1)
			mustFlush(t, l)
			want = readAll(t, l)
			l = mustOpen(t, testOptions(at.Crash(0, nil)))
			if got := readAll(t, l); !bytes.Equal(got, want) {
				t.Fatalf("%s at byte %d: other bytes after an append and a power cut", tail.name, k)
			}
		}
	}
}

func TestShortBelowFlushedEndIsCorrupt(t *testing.T) {
	fs, flushed, _ := oneSegment(t)
	for k := range flushed {
		at := copyFS(fs)
		cutFile(t, at, segmentName(0), k)
		_, err := Open(testDir, testOptions(at))
		wantCorrupt(t, err, segmentName(0), -1)
		if f, _ := at.OpenLog(segmentName(0)); f != nil {
			if n, _ := f.Size(); n != k {
				t.Fatalf("cut at %d: the file has %d bytes after the refusal", k, n)
			}
		}
	}
}

// wantCorrupt makes sure that err names the damage.
func wantCorrupt(t testing.TB, err error, file string, pos int64) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want a CorruptError of %s", err, file)
	}
	if c.File != file || (pos >= 0 && c.Position != pos) {
		t.Fatalf("%v; want file %s, byte %d", err, file, pos)
	}
}

// TestBitRotInScannedRegion flips every byte that recovery reads: below the flushed end it is
// damage, and the file stays as it is; past it the tail is cut.
func TestBitRotInScannedRegion(t *testing.T) {
	fs, flushed, all := oneSegment(t)
	starts := batchStarts(t, all)
	for pos := range int64(len(all)) {
		at := copyFS(fs)
		patch(t, at, segmentName(0), pos, []byte{all[pos] ^ 0x10})
		l, err := Open(testDir, testOptions(at))
		if isEpochByte(starts, pos) {
			continue // outside the CRC, and any epoch is possible: recovery cannot tell
		}
		if pos < flushed {
			wantCorrupt(t, err, segmentName(0), batchStart(starts, pos))
			continue
		}
		if err != nil {
			t.Fatalf("byte %d: %v", pos, err)
		}
		if got := readAll(t, l); !bytes.Equal(got, all[:flushed]) {
			t.Fatalf("byte %d: %d bytes left, want %d", pos, len(got), flushed)
		}
	}
}

// batchStarts returns the positions at which batches begin.
func batchStarts(t testing.TB, p []byte) []int64 {
	t.Helper()
	var starts []int64
	for pos := int64(0); pos < int64(len(p)); {
		starts = append(starts, pos)
		pos += int64(batch.Batch(p[pos:]).Length())
	}
	return starts
}

func batchStart(starts []int64, pos int64) int64 {
	at := int64(0)
	for _, s := range starts {
		if s <= pos {
			at = s
		}
	}
	return at
}

func isEpochByte(starts []int64, pos int64) bool {
	rel := pos - batchStart(starts, pos)
	return rel >= 12 && rel < 16
}

// TestBitRotBelowRecoveryPoint flips bytes that Open does not read: reads must find them, for
// every way of reading, and the rest of the log must stay readable.
func TestBitRotBelowRecoveryPoint(t *testing.T) {
	fs := vfs.NewCrash(1)
	o := testOptions(fs)
	l := mustOpen(t, o)
	mustAppend(t, l, 60)
	all := readAll(t, l)
	second := l.set.Load().list[1].base
	size := l.set.Load().list[0].size.Load()
	mustClose(t, l)
	starts := batchStarts(t, all[:size])
	for pos := int64(0); pos < size; pos += 7 {
		if isEpochByte(starts, pos) {
			continue
		}
		at := copyFS(fs)
		patch(t, at, segmentName(0), pos, []byte{all[pos] ^ 0x04})
		l := mustOpen(t, testOptions(at))
		_, err := l.Read(nil, ReadRequest{From: 0, Bound: l.End(), MaxBytes: 1 << 20})
		if err == nil {
			t.Fatalf("byte %d of batch at %d", pos, batchStart(starts, pos))
		}
		wantCorrupt(t, err, segmentName(0), batchStart(starts, pos))
		err = l.Batches(0, l.End(), func(batch.Batch) error { return nil })
		wantCorrupt(t, err, segmentName(0), batchStart(starts, pos))
		if _, err := l.Read(nil, ReadRequest{From: second, Bound: l.End(), MaxBytes: 1 << 20}); err != nil {
			t.Fatalf("byte %d: the next segment cannot be read: %v", pos, err)
		}
		mustClose(t, l)
	}
}

func TestMissingOrShortSegments(t *testing.T) {
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 200)
	mustFlush(t, l)
	set := l.set.Load().list
	third := set[2]
	if err := l.CheckpointTo(set[1].base); err != nil { // the first segment lies below the point
		t.Fatal(err)
	}
	tests := []struct {
		name string
		harm func(at *vfs.Crash)
		file string
	}{
		{"first missing", func(at *vfs.Crash) { mustRemove(t, at, set[0].path) }, set[0].path},
		{"first empty", func(at *vfs.Crash) { cutFile(t, at, set[0].path, 0) }, set[0].path},
		{"recovery point's missing", func(at *vfs.Crash) { mustRemove(t, at, set[1].path) }, set[1].path},
		{"middle missing", func(at *vfs.Crash) { mustRemove(t, at, third.path) }, set[1].path},
		{"middle short", func(at *vfs.Crash) { cutFile(t, at, third.path, third.size.Load()-1) }, third.path},
		{"middle empty", func(at *vfs.Crash) { cutFile(t, at, third.path, 0) }, third.path},
		{"last missing", func(at *vfs.Crash) { mustRemove(t, at, set[len(set)-1].path) }, set[len(set)-2].path},
		{"all missing", func(at *vfs.Crash) {
			for _, s := range set {
				mustRemove(t, at, s.path)
			}
		}, set[1].path},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := copyFS(fs)
			tt.harm(at)
			_, err := Open(testDir, testOptions(at))
			wantCorrupt(t, err, tt.file, -1)
		})
	}
}

func mustRemove(t testing.TB, fs vfs.FS, name string) {
	t.Helper()
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// TestNoteLost opens a log whose note is gone or damaged.
func TestNoteLost(t *testing.T) {
	fs, flushed, all := oneSegment(t)
	note := testDir + "/" + noteName
	harms := []struct {
		name string
		harm func(at *vfs.Crash)
	}{
		{"removed", func(at *vfs.Crash) { mustRemove(t, at, note) }},
		{"empty", func(at *vfs.Crash) { cutFile(t, at, note, 0) }},
		{"all slots bad", func(at *vfs.Crash) {
			for i := range int64(noteSlots) {
				patch(t, at, note, i*noteSlotBytes+5, []byte{0xff})
			}
		}},
	}
	for _, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			at := copyFS(fs)
			h.harm(at)
			l := mustOpen(t, testOptions(at))
			if got := readAll(t, l); !bytes.Equal(got, all) {
				t.Fatalf("an intact log has %d bytes, want %d", len(got), len(all))
			}
			at = copyFS(fs)
			h.harm(at)
			cutFile(t, at, segmentName(0), int64(len(all))-5)
			l = mustOpen(t, testOptions(at))
			if got := readAll(t, l); !bytes.Equal(got, all[:flushed]) {
				t.Fatalf("a torn log has %d bytes, want %d", len(got), flushed)
			}
			// Damage with an intact batch behind it may have been acknowledged.
			at = copyFS(fs)
			h.harm(at)
			patch(t, at, segmentName(0), 80, []byte{^all[80]})
			_, err := Open(testDir, testOptions(at))
			wantCorrupt(t, err, segmentName(0), 0)
		})
	}
}

// TestNoteSlotsTorn damages every single slot: an older state must do, and lose nothing.
func TestNoteSlotsTorn(t *testing.T) {
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	for range 5 {
		mustAppend(t, l, 20)
		mustFlush(t, l)
		if err := l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 3)
		mustFlush(t, l)
	}
	if err := l.AdvanceStart(50); err != nil {
		t.Fatal(err)
	}
	want := readAll(t, l)
	for i := range int64(noteSlots) {
		at := copyFS(fs)
		patch(t, at, testDir+"/"+noteName, i*noteSlotBytes+30, []byte{0xee})
		l, err := Open(testDir, testOptions(at))
		if err != nil {
			t.Fatalf("slot %d: %v", i, err)
		}
		if got := readAll(t, l); !bytes.Equal(got, want) || l.Start() != 50 {
			t.Fatalf("slot %d: %d bytes, want %d", i, len(got), len(want))
		}
	}
}

// TestFailedFsyncThenRestart is the trap of Linux: a failed fdatasync marks the pages clean, the
// process ends, the new one reads them from the cache, syncs with success, and acknowledges what
// a power cut then takes.
func TestFailedFsyncThenRestart(t *testing.T) {
	disk := vfs.NewCrash(1)
	faulty := vfs.NewFaulty(disk)
	l := mustOpen(t, testOptions(faulty))
	mustAppend(t, l, 3)
	mustFlush(t, l)
	mustAppend(t, l, 3)
	faulty.Add(vfs.Fault{Op: vfs.OpSync, Glob: "*" + logSuffix, Times: 1, Err: errors.New("EIO")})
	if _, err := l.Flush(); !errors.Is(err, ErrFailed) {
		t.Fatalf("flush = %v, want ErrFailed", err)
	}
	l = mustOpen(t, testOptions(disk)) // the process ended; the machine did not
	if l.FlushedEnd() != 12 {
		t.Fatalf("flushed end = %d", l.FlushedEnd())
	}
	want := readAll(t, l)
	l = mustOpen(t, testOptions(disk.Crash(0, nil)))
	if got := readAll(t, l); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes after the power cut, %d had been reported as flushed", len(got), len(want))
	}
}

func TestEpochsFileDamaged(t *testing.T) {
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	for e := range LeaderEpoch(4) {
		if _, _, err := l.Append(buildBatch(t, 1, 2, 10, 1), e*2); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, l)
	want := *l.epochs.Load()
	for _, harm := range []func(at *vfs.Crash){
		func(at *vfs.Crash) { mustRemove(t, at, testDir+"/"+epochsName) },
		func(at *vfs.Crash) { cutFile(t, at, testDir+"/"+epochsName, 20) },
		func(at *vfs.Crash) { patch(t, at, testDir+"/"+epochsName, 30, []byte("9")) },
	} {
		at := copyFS(fs)
		harm(at)
		l := mustOpen(t, testOptions(at))
		if got := *l.epochs.Load(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("epochs = %v, want %v", got, want)
		}
	}
}

func TestStraysAreRemoved(t *testing.T) {
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 10)
	mustClose(t, l)
	strays := []string{"leader-epochs.tmp", "00000000000000009999.index", "00000000000000009999.timeindex"}
	for _, name := range append(strays, "notes.txt") {
		patch(t, fs, testDir+"/"+name, 0, []byte("x"))
	}
	l = mustOpen(t, testOptions(fs))
	mustClose(t, l)
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, stray := range strays {
		if strings.Contains(fmt.Sprint(names), stray) {
			t.Errorf("%s is still there", stray)
		}
	}
	if !strings.Contains(fmt.Sprint(names), "notes.txt") {
		t.Error("a file that is not ours was removed")
	}
}

// TestBytesRead says what Open costs.
func TestBytesRead(t *testing.T) {
	fs := vfs.NewCrash(1)
	o := Options{FS: fs, SegmentBytes: 1 << 20}
	l := mustOpen(t, o)
	for range 600 {
		if _, _, err := l.Append(buildBatch(t, 1, 10, 1000, 1), 1); err != nil {
			t.Fatal(err)
		}
	}
	size := l.Size()
	mustClose(t, l)
	before := fs.Stats().BytesRead
	l = mustOpen(t, o)
	clean := fs.Stats().BytesRead - before
	if clean > 4096 {
		t.Errorf("after a clean close, Open read %d bytes of a log of %d", clean, size)
	}
	if n := fs.BytesReadUnder(testDir + "/00000000000000000000.log"); n > 0 {
		t.Errorf("after a clean close, Open read %d bytes of the first segment", n)
	}
	tail := int64(0)
	for range 20 {
		b := buildBatch(t, 1, 10, 1000, 1)
		tail += int64(len(b))
		if _, _, err := l.Append(b, 1); err != nil {
			t.Fatal(err)
		}
	}
	if l.TailBytes() != tail {
		t.Errorf("tail = %d bytes, appended %d", l.TailBytes(), tail)
	}
	before = fs.Stats().BytesRead
	l = mustOpen(t, o) // killed
	killed := fs.Stats().BytesRead - before
	// The tail is read twice: once to check it, once to write it again.
	if killed > 2*tail+8192 {
		t.Errorf("after a kill, Open read %d bytes for a tail of %d", killed, tail)
	}
	before = fs.Stats().BytesRead
	if _, err := l.Read(nil, ReadRequest{From: 3000, Bound: l.End(), MaxBytes: 20000}); err != nil {
		t.Fatal(err)
	}
	if n := fs.Stats().BytesRead - before; n > 20000+16384 {
		t.Errorf("a read of 20000 bytes read %d", n)
	}
	t.Logf("log of %d bytes: Open read %d after a clean close, %d after a kill with a tail of %d",
		size, clean, killed, tail)
}

// TestIndexHarm damages each index file in each way, with the log closed and with it open, and
// looks up every offset.
func TestIndexHarm(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	fs := vfs.NewCrash(1)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 150)
	want := readAll(t, l)
	mustClose(t, l)
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, indexSuffix) && !strings.HasSuffix(name, timesSuffix) {
			continue
		}
		for range 6 {
			at := copyFS(fs)
			damageFile(t, at, testDir+"/"+name, rng)
			l := mustOpen(t, testOptions(at))
			lookUpAll(t, l, want)
			damageFile(t, at, testDir+"/"+name, rng)
			lookUpAll(t, l, want)
			mustAppend(t, l, 40)
			checkDense(t, l)
			mustClose(t, l)
		}
	}
}

// lookUpAll reads every offset and looks up every timestamp of mustAppend's batches.
func lookUpAll(t testing.TB, l *Log, want []byte) {
	t.Helper()
	if got := readAll(t, l); !bytes.HasPrefix(got, want) {
		t.Fatal("other bytes")
	}
	for o := range l.End() {
		p, err := l.Read(nil, ReadRequest{From: o, Bound: l.End(), MaxBytes: 1, MinOne: true})
		if err != nil {
			t.Fatalf("read %d: %v", o, err)
		}
		if b := batch.Batch(p); b.BaseOffset() > o || b.LastOffset() < o {
			t.Fatalf("asked for %d, got %d to %d", o, b.BaseOffset(), b.LastOffset())
		}
		got, at, ok, err := l.OffsetForTime(1000+UnixMs(o), l.End())
		if err != nil || !ok || got != o || at != 1000+UnixMs(o) {
			t.Fatalf("offset for the time of %d = %d at %d, %v, %v", o, got, at, ok, err)
		}
	}
}

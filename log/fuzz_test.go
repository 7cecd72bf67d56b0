package log

import (
	"bytes"
	"errors"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// FuzzRecoverSegment opens a log whose segment is any bytes and whose note is intact, but may say
// anything. Recovery must not panic, must not return what is no intact batch at its place, must
// leave what it refuses as it is, and must find the same a second time. With seal, broken
// checksums are mended first, so that the fuzzer gets behind them. Without a note flushed is -1.
func FuzzRecoverSegment(f *testing.F) {
	_, flushed, all := oneSegment(f)
	f.Add(all, false, int64(0), int64(12), int64(0), int64(0), 0, 0)
	f.Add(all[:len(all)-3], false, int64(0), int64(12), int64(0), int64(0), 0, 0)
	f.Add(all[:flushed], true, int64(3), int64(12), int64(12), flushed, 3, 2)
	f.Add(append(all[:len(all):len(all)], make([]byte, 200)...), true, int64(0), int64(-1), int64(0),
		int64(0), 0, 0)
	f.Add([]byte{}, false, int64(0), int64(0), int64(0), int64(0), 0, 0)
	f.Fuzz(func(t *testing.T, segment []byte, seal bool,
		start, flushed, recovery, pos int64, index, times int,
	) {
		segment = bytes.Clone(segment)
		if seal {
			sealAll(segment)
		}
		note := noteState{
			seq: 1, start: Offset(start), flushed: Offset(flushed),
			recovery: point{
				offset: Offset(recovery), pos: pos, maxTime: noTime, firstTime: noTime,
				indexEntries: index, timeEntries: times,
			},
		}
		disk := vfs.NewCrash(1)
		if err := disk.MkdirAll(testDir, dirPerm); err != nil {
			t.Fatal(err)
		}
		patch(t, disk, segmentName(0), 0, segment)
		if flushed >= 0 {
			patch(t, disk, testDir+"/"+noteName, 0, note.encode())
		}
		fuzzOpen(t, disk, segment)
	})
}

// sealAll mends the checksum of every batch that the length fields lead to.
func sealAll(p []byte) {
	for len(p) >= batch.HeaderBytes {
		b, rest, err := batch.Next(p)
		if err != nil {
			return
		}
		b.SealCRC()
		p = rest
	}
}

func fuzzOpen(t *testing.T, disk *vfs.Crash, segment []byte) {
	var seen []byte
	o := testOptions(disk)
	o.OnRecover = func(b batch.Batch) error {
		seen = append(seen, b...)
		return batch.CheckStored(b)
	}
	l, err := Open(testDir, o)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("open: %v", err)
		}
		kept, err := disk.ReadFile(segmentName(0))
		if err != nil || !bytes.Equal(kept, segment) {
			t.Fatalf("a refused segment was changed: %v", err)
		}
		return
	}
	if !bytes.Contains(segment, seen) {
		t.Fatal("recovery has invented a batch")
	}
	from := l.RecoveryPoint()
	if from >= l.Start() {
		got, err := l.Read(nil, ReadRequest{From: from, Bound: l.End(), MaxBytes: 1 << 30})
		if err != nil || !bytes.Equal(got, seen) {
			t.Fatalf("read %d bytes, recovered %d: %v", len(got), len(seen), err)
		}
	}
	end := l.End()
	o.OnRecover = nil
	if l := mustOpen(t, o); l.End() != end {
		t.Fatalf("end = %d, at the second open %d", end, l.End())
	}
}

package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const asideDir = "/data/topics/p0"

// killedNode returns a disk as a killed process leaves it: a log whose acknowledged batches are in
// the journal only, over several segments, and how it reads; beside one that must not suffer.
func killedNode(t *testing.T) (disk *vfs.Crash, want []byte) {
	t.Helper()
	disk = vfs.NewCrash(1)
	if err := makeDir(disk, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, disk, 64<<10, 4)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	l := journaledLog(t, disk, j, b, "topics/p0", 1000)
	other := journaledLog(t, disk, j, b, "topics/p1", 1000)
	c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
	m, mo := c.Join(l, func(Offset) {}), c.Join(other, func(Offset) {})
	for range 12 {
		mustAppend(t, l, 3)
		mustAppend(t, other, 1)
		m.Dirty()
		mo.Dirty()
		if _, err := c.CommitOnce(); err != nil {
			t.Fatal(err)
		}
	}
	if l.Segments() < 3 || l.FlushedEnd() != l.End() {
		t.Fatalf("%d segments, flushed to %d of %d", l.Segments(), l.FlushedEnd(), l.End())
	}
	return disk, readAll(t, l)
}

// startReplay begins a start as replication does: every log is replayed, and then the journal's
// files may be used again.
func startReplay(t *testing.T, fs vfs.FS) error {
	t.Helper()
	j, err := journal.Open(journal.Options{
		FS: fs, Dir: "/data/journal", FileBytes: 64 << 10, FilesMax: 4, Manual: true,
	})
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }() // the process goes on with another one
	for _, name := range j.Logs() {
		if err := Replay("/data/"+name, Options{FS: fs, Journal: j, Name: name}); err != nil {
			return err
		}
	}
	return j.Recovered()
}

// openAgain opens the log without anything of it in a journal.
func openAgain(fs vfs.FS) (*Log, error) {
	return Open(asideDir, Options{FS: fs, SegmentBytes: 1000, IndexIntervalBytes: 300})
}

// mustHave opens the log and compares it.
func mustHave(t *testing.T, fs vfs.FS, want []byte) {
	t.Helper()
	l, err := openAgain(fs)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l); !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %d were acknowledged", len(got), len(want))
	}
	mustClose(t, l)
}

// rot zeroes or fills the whole note.
func rot(t *testing.T, fs vfs.FS, with byte) {
	t.Helper()
	f, err := fs.OpenLog(fs.PathJoin(asideDir, noteName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{with}, noteFileBytes), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestARottenNoteLosesNothing: all four slots are bad, and the journal has what no segment has.
func TestARottenNoteLosesNothing(t *testing.T) {
	for _, with := range []byte{0, 0xff} {
		disk, want := killedNode(t)
		rot(t, disk, with)
		if err := startReplay(t, disk); err != nil {
			t.Fatal(err)
		}
		// The power fails before the partition is opened.
		after := disk.Crash(0, nil)
		core, seen := observer.New(zap.ErrorLevel)
		l, err := Open(asideDir, Options{FS: after.CrashClone(1, nil), Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		said := fmt.Sprint(seen.All())
		if !strings.Contains(said, "damaged") || strings.Contains(said, "missing") {
			t.Errorf("filled with %#x, it was said: %s", with, said)
		}
		mustHave(t, after, want)
	}
}

// TestAnUnreadableLogIsPutAside: the disk refuses to read a file of one log during the replay. The
// start goes on, and what the journal had of the log is there at the next one.
func TestAnUnreadableLogIsPutAside(t *testing.T) {
	faults := map[string]vfs.Fault{
		"note opened":  {Op: vfs.OpOpen, Glob: asideDir + "/" + noteName, Err: vfs.ErrIO},
		"note":         {Op: vfs.OpRead, Glob: asideDir + "/" + noteName, Err: vfs.ErrIO},
		"epochs":       {Op: vfs.OpRead, Glob: asideDir + "/" + epochsName, Err: vfs.ErrIO},
		"segment name": {Op: vfs.OpOpen, Glob: asideDir + "/*.log", Nth: 2, Err: vfs.ErrIO},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			disk, want := killedNode(t)
			fault.Times = 1
			fs := vfs.NewFaulty(disk, fault)
			if err := startReplay(t, fs); err != nil {
				t.Fatal(err)
			}
			if fs.Stats().Injected == 0 {
				t.Fatal("nothing was refused")
			}
			// The other log was not put aside.
			if _, err := disk.Stat("/data/topics/p1/" + asideName); !isNotExist(err) {
				t.Error("the other log was put aside", err)
			}
			after := disk.Crash(0, nil)
			if _, err := after.Stat(asideDir + "/" + asideName); err != nil {
				t.Fatal(err)
			}
			// A second start does not lose it either, nor a third one.
			for range 2 {
				if err := startReplay(t, after.CrashClone(0, nil)); err != nil {
					t.Fatal(err)
				}
			}
			mustHave(t, after, want)
			if _, err := after.Stat(asideDir + "/" + asideName); !isNotExist(err) {
				t.Error("what was put aside is still there", err)
			}
			mustHave(t, after.Crash(0, nil), want)
		})
	}
}

// TestSetAsideSurvivesAnyCrash cuts the power before every change of a start that puts entries aside,
// and of the Open that brings them back.
func TestSetAsideSurvivesAnyCrash(t *testing.T) {
	for _, keep := range []float64{0, 0.5, 1} {
		for nth := 1; ; nth++ {
			disk, want := killedNode(t)
			rot(t, disk, 0xff)
			var after *vfs.Crash
			fs := vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpAny, Nth: nth, Times: 1, Before: func(string) {
				after = disk.Crash(keep, nil)
			}})
			err := startReplay(t, fs)
			if err == nil {
				_, err = openAgain(fs)
			}
			if after == nil {
				if err != nil || nth < 50 {
					t.Fatalf("%d operations: %v", nth, err)
				}
				break
			}
			if err := startReplay(t, after); err != nil {
				t.Fatalf("crash before operation %d, keeping %v: %v", nth, keep, err)
			}
			mustHave(t, after, want)
		}
	}
}

// TestWhatWasPutAsideRots: the partition is refused, by the name of the file, and stays as it is.
func TestWhatWasPutAsideRots(t *testing.T) {
	disk, _ := killedNode(t)
	rot(t, disk, 0xff)
	if err := startReplay(t, disk); err != nil {
		t.Fatal(err)
	}
	path := asideDir + "/" + asideName
	p, err := disk.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(p); at += 7 {
		clone := disk.CrashClone(1, nil)
		f, err := clone.OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{p[at] ^ 1<<(at%8)}, int64(at)); err != nil {
			t.Fatal(err)
		}
		_, err = openAgain(clone)
		var damage *CorruptError
		if !errors.As(err, &damage) || damage.File != path {
			// A version that is newer is no damage.
			if at < 4 || at >= 8 || err == nil {
				t.Fatalf("bit flipped in byte %d: %v", at, err)
			}
		}
		if _, err := clone.Stat(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWithoutNoteAndSegments: they were there before the first entry was, so that is damage, and what
// the journal has is kept for whoever brings the files back.
func TestWithoutNoteAndSegments(t *testing.T) {
	disk, _ := killedNode(t)
	rot(t, disk, 0xff)
	names, err := disk.List(asideDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name != noteName {
			if err := disk.Remove(asideDir + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := startReplay(t, disk); err != nil {
		t.Fatal(err)
	}
	if _, err := openAgain(disk); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if _, err := disk.Stat(asideDir + "/" + asideName); err != nil {
		t.Fatal(err)
	}
}

// TestATornReferencePutAside: the newest entry of a log refers to a write that a crash has cut short,
// nobody was told of it, and the log is put aside. The journal is used again, and confirmed, by another
// log. That says nothing of the copy: the write is dropped, and the log opens.
func TestATornReferencePutAside(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		n := startNode(t, vfs.NewCrash(1), 2, 1)
		n.mustAppend(0, 100)
		n.mustCommit()
		whole := readAll(t, n.logs[0])
		n.mustAppend(0, 2000)
		n.mustCommit()
		if confirmed { // then it was there, and has rotted
			if err := n.c.Confirm(); err != nil {
				t.Fatal(err)
			}
		}
		disk := n.disk.Crash(0, nil)
		zeroFrom(t, disk, segmentPath(disk, "/data/p0", 0), int64(len(whole)))

		j := smallJournal(t, disk, 1<<20, 4)
		fs := vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Glob: "/data/p0/" + noteName, Err: vfs.ErrIO})
		for _, name := range j.Logs() {
			if err := Replay("/data/"+name, Options{FS: fs, Journal: j, Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Recovered(); err != nil {
			t.Fatal(err)
		}
		b := testBuffers(t, 0)
		other := journaledLog(t, disk, j, b, "p1", 1<<20)
		c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
		m := c.Join(other, func(Offset) {})
		mustAppend(t, other, 1)
		m.Dirty()
		if _, err := c.CommitOnce(); err != nil {
			t.Fatal(err)
		}
		if err := c.Confirm(); err != nil {
			t.Fatal(err)
		}

		disk = disk.Crash(0, nil)
		j = smallJournal(t, disk, 1<<20, 4)
		l, err := Open("/data/p0", Options{
			FS: disk, Journal: j, Buffers: testBuffers(t, 0), Name: "p0", SegmentBytes: 1 << 20,
		})
		if confirmed {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("an acknowledged batch has rotted: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, l); !bytes.Equal(got, whole) || l.End() != 1 {
			t.Errorf("the log ends at %d with %d bytes, want 1 with %d", l.End(), len(got), len(whole))
		}
		mustClose(t, l)
	}
}

// zeroFrom zeroes a file from a position on, durably, as a write leaves it that did not come.
func zeroFrom(t *testing.T, fs vfs.FS, path string, pos int64) {
	t.Helper()
	f, err := fs.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt(make([]byte, size-pos), pos)
	}
	if err = errors.Join(err, f.SyncData(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasPutAsideCannotBeRead: a start has died behind the copy, and at the next one the disk
// refuses to read it. The other log starts, this one is refused, and the copy stays.
func TestWhatWasPutAsideCannotBeRead(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpOpen, vfs.OpRead, vfs.OpStat} {
		disk, want := killedNode(t)
		fs := vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Glob: asideDir + "/" + noteName, Err: vfs.ErrIO})
		if err := startReplay(t, fs); err != nil {
			t.Fatal(err)
		}
		fs = vfs.NewFaulty(disk, vfs.Fault{Op: op, Glob: asideDir + "/" + asideName, Times: 1, Err: vfs.ErrIO})
		if err := startReplay(t, fs); err != nil {
			t.Fatalf("%v: %v", op, err)
		}
		fs.Add(vfs.Fault{Op: op, Glob: asideDir + "/" + asideName, Err: vfs.ErrIO})
		if _, err := openAgain(fs); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%v: opened: %v", op, err)
		}
		mustHave(t, disk.Crash(0, nil), want)
	}
}

// TestACopyThatRotsIsNotTheLastOne: a start makes the copy and dies before the journal is recycled.
// Then the copy rots: what the journal still has must not go.
func TestACopyThatRotsIsNotTheLastOne(t *testing.T) {
	disk, want := killedNode(t)
	fs := vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Glob: asideDir + "/" + noteName, Err: vfs.ErrIO})
	j := smallJournal(t, disk, 64<<10, 4)
	if err := Replay(asideDir, Options{FS: fs, Journal: j, Name: "topics/p0"}); err != nil {
		t.Fatal(err)
	}
	fs = vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Glob: asideDir + "/" + asideName, Err: vfs.ErrIO})
	if err := startReplay(t, fs); !errors.Is(err, ErrNotReplayed) {
		t.Errorf("a start with a copy that cannot be read: %v", err)
	}
	if err := disk.Remove(asideDir + "/" + asideName); err != nil {
		t.Fatal(err)
	}
	if err := startReplay(t, disk); err != nil {
		t.Fatal(err)
	}
	mustHave(t, disk, want)
}

// TestNothingPutAside: a log of which the journal has nothing leaves no file, and one that an earlier
// version has left goes.
func TestNothingPutAside(t *testing.T) {
	disk, want := killedNode(t)
	if err := startReplay(t, disk); err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Glob: noteName, Err: vfs.ErrIO})
	j := smallJournal(t, disk, 64<<10, 4)
	if err := Replay(asideDir, Options{FS: fs, Journal: j, Name: "topics/p0"}); err != nil {
		t.Fatal(err)
	}
	path := asideDir + "/" + asideName
	if _, err := disk.Stat(path); !isNotExist(err) {
		t.Fatalf("a copy of nothing: %v", err)
	}
	empty := make([]byte, 32)
	binary.BigEndian.PutUint32(empty, 0x434a4b31)
	binary.BigEndian.PutUint32(empty[4:], 1)
	binary.BigEndian.PutUint64(empty[8:], 32)
	binary.BigEndian.PutUint32(empty[28:], crc32.Checksum(empty[:28], castagnoli))
	if err := disk.WriteFileAtomic(path, empty); err != nil {
		t.Fatal(err)
	}
	mustHave(t, disk, want)
	if _, err := disk.Stat(path); !isNotExist(err) {
		t.Errorf("the empty copy is still there: %v", err)
	}
}

package log

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

func smallJournal(t *testing.T, fs vfs.FS, fileBytes int64, files int) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Options{
		FS: fs, Dir: "/data/journal", FileBytes: fileBytes, FilesMax: files, Manual: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func journaledLog(t *testing.T, fs vfs.FS, j *journal.Journal, b *Buffers, name string, seg int64) *Log {
	t.Helper()
	l, err := Open("/data/"+name, Options{
		FS: fs, Journal: j, Buffers: b, Name: name, SegmentBytes: seg, IndexIntervalBytes: 300,
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// the start order of replication: Replay of each log, Recovered, then Open. A note that a killed
// process left unsynced makes Replay skip the entries, and nothing syncs it before they are recycled.
func TestReplayMakesTheNoteDurable(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, fs, 16<<10, 2)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	l := journaledLog(t, fs, j, b, "topics/p0", 1<<20)
	c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
	var told Offset
	m := c.Join(l, func(end Offset) { told = end })
	mustAppend(t, l, 3)
	m.Dirty()
	if _, err := c.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.flush(drainHow{}); err != nil { // the drainer
		t.Fatal(err)
	}
	// The process is killed: what it wrote stays in the page cache. The next one starts as
	// replication/journal.go does.
	j2 := smallJournal(t, fs, 16<<10, 2)
	for _, name := range j2.Logs() {
		if err := Replay("/data/"+name, Options{FS: fs, Journal: j2, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j2.Recovered(); err != nil {
		t.Fatal(err)
	}
	// The power fails before the partition is opened (or it is offline, and is never opened).
	fs = fs.Crash(0, nil)
	j3 := smallJournal(t, fs, 16<<10, 2)
	for _, name := range j3.Logs() {
		if err := Replay("/data/"+name, Options{FS: fs, Journal: j3, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j3.Recovered(); err != nil {
		t.Fatal(err)
	}
	l3 := journaledLog(t, fs, j3, testBuffers(t, 0), "topics/p0", 1<<20)
	if l3.End() < told {
		t.Fatalf("told %d, after the crash the log ends at %d", told, l3.End())
	}
}

// two goroutines drain (commit writers are up to 8); each drops what Buffers.keep gave it after
// it has unlocked. The later chunk of a segment can go first.
func TestChunksAreDroppedInOrder(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	b, err := NewBuffers(BuffersOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open("/data/p", Options{FS: fs, Buffers: b})
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	add := func() {
		p := buildBatch(t, uint64(l.End()), 1, 300, 1000)
		if _, _, err := l.Append(p, 1); err != nil {
			t.Fatal(err)
		}
		want = append(want, p...)
	}
	add()
	mustFlush(t, l)
	add()
	mustFlush(t, l)
	s := l.set.Load().active()
	list := s.chunks()
	if len(list) != 2 {
		t.Fatalf("%d chunks", len(list))
	}
	// keep() of goroutine X took list[0], keep() of goroutine Y took list[1]; Y is faster.
	b.mu.Lock()
	for _, c := range list {
		c.place = placeDropped
		b.mu.recent -= int64(len(c.buf))
	}
	b.mu.Unlock()
	s.dropChunk(list[1])
	got, err := l.Read(nil, ReadRequest{Bound: l.End(), MaxBytes: 1 << 20})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read between the two drops: %d bytes of %d, %v", len(got), len(want), err)
	}
	add()                // carries the last block over
	s.dropChunk(list[0]) // X
	mustFlush(t, l)
	s.dropChunks()
	got, err = l.Read(nil, ReadRequest{Bound: l.End(), MaxBytes: 1 << 20})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("on disk, after all: %d bytes of %d, %v", len(got), len(want), err)
	}
}

// a large reservation waits for room that the drainer does not make.
func TestALargeReservationIsLetIn(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{FS: fs, Dir: "/data/journal", FileBytes: 1 << 20, FilesMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b, err := NewBuffers(BuffersOptions{UndrainedBytesMax: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	l := journaledLog(t, fs, j, b, "topics/p0", 1<<20)
	c := NewCommitter(CommitterOptions{Journal: j, Buffers: b})
	told := make(chan Offset, 10)
	m := c.Join(l, func(end Offset) { told <- end })
	mustAppend(t, l, 3)
	m.Dirty()
	<-told
	before := b.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if done, err := b.Reserve(ctx, 60<<10); err != nil {
		t.Errorf("60 KiB of 64 KiB, with nothing going on: %v; before %+v, now %+v", err, before, b.Stats())
	} else {
		done()
	}
	m.Leave()
	mustClose(t, l)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// a topic is deleted while the disk is full: its log's Close fails, and the journal is never
// recycled again.
func TestACloseWithoutSpaceGivesTheJournalBack(t *testing.T) {
	disk := vfs.NewCrash(1)
	fs := vfs.NewFaulty(disk)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, fs, 16<<10, 2)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	gone := journaledLog(t, fs, j, b, "topics/gone", 1<<20)
	stays := journaledLog(t, fs, j, b, "topics/stays", 1<<20)
	c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
	mg, ms := c.Join(gone, func(Offset) {}), c.Join(stays, func(Offset) {})
	for range 4 {
		mustAppend(t, gone, 3)
	}
	mg.Dirty()
	if _, err := c.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	fs.Add(vfs.Fault{Op: vfs.OpWrite, Glob: "*.index", Err: vfs.ErrNoSpace})
	mg.Leave()
	err := gone.Close()
	t.Logf("close of the deleted topic's log: %v", err)
	if err == nil {
		t.Fatal("the close did not fail: there is nothing to see")
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Fatal("not the kind of failure that passes")
	}
	fs.Clear()
	if err := fs.RemoveAll("/data/topics/gone"); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		mustAppend(t, stays, 3)
		ms.Dirty()
		if _, err := c.CommitOnce(); err != nil {
			t.Fatalf("commit %d of another log: %v", i, err)
		}
	}
}

// entries of kept chunks whose segments went stay in the list.
func TestKeptChunksOfSegmentsThatWent(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	b, err := NewBuffers(BuffersOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open("/data/p", Options{FS: fs, Buffers: b})
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		mustAppend(t, l, 1)
		mustFlush(t, l)
		if err := l.AdvanceStart(l.End()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.mu.kept); n > 50 {
		t.Errorf("%d entries are kept for %d bytes of recent chunks", n, b.Stats().RecentBytes)
	}
}

// Truncate while another goroutine is about to drop a chunk that keep() has given it.
func TestTruncateBesideADrop(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	b, err := NewBuffers(BuffersOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open("/data/p", Options{FS: fs, Buffers: b})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 1)
	mustFlush(t, l)
	mustAppend(t, l, 1)
	mustFlush(t, l)
	s := l.set.Load().active()
	list := s.chunks()
	last := list[len(list)-1]
	b.mu.Lock()
	last.place = placeDropped
	b.mu.recent -= int64(len(last.buf))
	b.mu.Unlock()
	if err := l.Truncate(0); err != nil {
		t.Fatal(err)
	}
	p := buildBatch(t, 77, 1, 300, 1000)
	if _, _, err := l.Append(p, 1); err != nil {
		t.Fatal(err)
	}
	got, err := l.Read(nil, ReadRequest{Bound: l.End(), MaxBytes: 1 << 20})
	if err != nil || !bytes.Equal(got, p) {
		t.Errorf("read %d of %d bytes, %v", len(got), len(p), err)
	}
}

// many small segments in one commit.
func TestManySegmentsInOneCommit(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, fs, 64<<10, 8)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	l := journaledLog(t, fs, j, b, "topics/AAAAAAAAAAAAAAAAAAAAAA-0/staging", 14)
	c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
	m := c.Join(l, func(Offset) {})
	for range 900 {
		mustAppend(t, l, 1)
	}
	m.Dirty()
	if _, err := c.CommitOnce(); err != nil {
		t.Fatal(err)
	}
}

// the drainer gives back the last full file between the commit's ErrFull and its own drain.
func TestErrFullAfterARelease(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, fs, 16<<10, 2)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	l := journaledLog(t, fs, j, b, "topics/p0", 1<<20)
	c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
	c.Join(l, func(Offset) {})
	e := []journal.Entry{{Kind: journal.Inline, Log: "topics/x", End: 1, Payload: [][]byte{make([]byte, 3000)}}}
	var err error
	for err == nil {
		_, err = j.Commit(e)
	}
	if !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	for c.drainForJournal() { // the drainer's turns, before the committer comes to its own
	}
	if err := c.commitAfterDrain(e); err != nil {
		t.Errorf("a file is free, and the commit says %v", err)
	}
}

// TestConfirmMeetsAFullJournal: when commits pause, the journal has no room for the confirmation. It
// comes once a file was given back, though there is no other commit.
func TestConfirmMeetsAFullJournal(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, fs, 16<<10, 2)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	c := NewCommitter(CommitterOptions{
		Manual: true, Journal: j, Buffers: testBuffers(t, 0), Clock: clock.NewManual(time.Unix(1000, 0)),
	})
	e := []journal.Entry{{Kind: journal.Inline, Log: "topics/x", End: 1, Payload: [][]byte{make([]byte, 3000)}}}
	var err error
	for err == nil {
		_, err = j.Commit(e)
	}
	r := c.newRest()
	defer r.stop()
	for range 3 {
		if c.confirmAtRest(r); !r.armed || j.Stats().Confirms > 0 {
			t.Fatalf("full: armed %v, %d confirmations", r.armed, j.Stats().Confirms)
		}
	}
	for c.drainForJournal() {
	}
	if c.confirmAtRest(r); r.armed || j.Stats().Confirms != 1 {
		t.Errorf("with room: armed %v, %d confirmations", r.armed, j.Stats().Confirms)
	}
	if c.confirmAtRest(r); r.armed || j.Stats().Confirms != 1 {
		t.Errorf("confirmed already: armed %v, %d confirmations", r.armed, j.Stats().Confirms)
	}
}

// bytes behind the end of a sealed segment that the journal has whole.
func TestGarbageBehindASealedSegment(t *testing.T) {
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j := smallJournal(t, fs, 64<<10, 2)
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	l := journaledLog(t, fs, j, b, "topics/p0", 1000)
	c := NewCommitter(CommitterOptions{Manual: true, Journal: j, Buffers: b})
	var told Offset
	m := c.Join(l, func(end Offset) { told = end })
	for range 30 {
		mustAppend(t, l, 1)
	}
	m.Dirty()
	if _, err := c.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	s := l.set.Load().list[0]
	size := s.size.Load()
	fs = fs.Crash(0, nil)
	f, err := fs.OpenLog(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xAB}, int(4096-size)), size); err != nil { // a poisoned block
		t.Fatal(err)
	}
	j2 := smallJournal(t, fs, 64<<10, 2)
	l2, err := Open("/data/topics/p0", Options{
		FS: fs, Journal: j2, Name: "topics/p0", SegmentBytes: 1000, Buffers: testBuffers(t, 0),
	})
	if err != nil {
		t.Fatalf("told %d: %v", told, err)
	}
	if l2.End() < told {
		t.Fatalf("told %d, end %d", told, l2.End())
	}
}

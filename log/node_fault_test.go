package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// node is a few logs over a journal, for tests that say what happens.
type node struct {
	t       *testing.T
	fs      *vfs.Faulty
	disk    *vfs.Crash
	journal *journal.Journal
	buffers *Buffers
	c       *Committer
	logs    []*Log
	members []*Member
	told    []Offset
	failed  error
}

// startNode opens a node on a disk. direct is CommitterOptions.DirectBytes.
func startNode(t *testing.T, disk *vfs.Crash, logs int, direct int64) *node {
	t.Helper()
	n := &node{t: t, disk: disk, fs: vfs.NewFaulty(disk), told: make([]Offset, logs)}
	if err := makeDir(n.fs, "/data"); err != nil {
		t.Fatal(err)
	}
	var err error
	n.journal, err = journal.Open(journal.Options{
		FS: n.fs, Dir: "/data/journal", FileBytes: 1 << 20, Manual: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.buffers = testBuffers(t, 1<<20)
	for i := range logs {
		l, err := Open(fmt.Sprintf("/data/p%d", i), Options{
			FS: n.fs, Journal: n.journal, Buffers: n.buffers, Name: fmt.Sprintf("p%d", i),
			SegmentBytes: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		n.logs = append(n.logs, l)
	}
	if err := n.journal.Recovered(); err != nil {
		t.Fatal(err)
	}
	n.c = NewCommitter(CommitterOptions{
		Manual: true, Journal: n.journal, Buffers: n.buffers, DirectBytes: direct,
		OnFailure: func(err error) { n.failed = err },
	})
	for i, l := range n.logs {
		n.told[i] = l.End()
		n.members = append(n.members, n.c.Join(l, func(end Offset) { n.told[i] = end }))
	}
	return n
}

// append appends one batch to a log, whose value has so many bytes.
func (n *node) append(i, bytes int) error {
	n.t.Helper()
	l := n.logs[i]
	_, _, err := l.Append(buildBatch(n.t, uint64(l.End()), 1, bytes, 1000), 1)
	n.members[i].Dirty()
	return err
}

func (n *node) mustAppend(i, bytes int) {
	n.t.Helper()
	if err := n.append(i, bytes); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) mustCommit() {
	n.t.Helper()
	if _, err := n.c.CommitOnce(); err != nil {
		n.t.Fatal(err)
	}
}

// TestPoisonedBlock has a crash leave a file longer than what was flushed, over a block that holds
// an intact batch of another topic with the very offset that comes next. It must not be served.
func TestPoisonedBlock(t *testing.T) {
	for _, drained := range []bool{false, true} {
		n := startNode(t, vfs.NewCrash(1), 1, 1<<20)
		n.mustAppend(0, 100)
		n.mustCommit()
		if drained {
			if _, err := n.logs[0].flush(drainHow{}); err != nil {
				t.Fatal(err)
			}
		}
		want, end := readAll(t, n.logs[0]), n.logs[0].End()
		after := n.disk.Crash(0, nil)
		poison := batch.Batch(bytes.Clone(buildBatch(t, 99, 3, 50, 1000)))
		poison.SetBaseOffset(end)
		poison.SetLeaderEpoch(1)
		f, err := after.OpenLog(segmentPath(after, "/data/p0", 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(poison, int64(len(want))); err != nil {
			t.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
		n = startNode(t, after, 1, 1<<20)
		if got := readAll(t, n.logs[0]); !bytes.Equal(got, want) || n.logs[0].End() != end {
			t.Errorf("drained %v: the log ends at %d with %d bytes, want %d with %d", drained,
				n.logs[0].End(), len(got), end, len(want))
		}
	}
}

// TestNoSpaceForASegment: an append that finds no room is refused and changes nothing; reads, and
// what was taken before, go on; so do appends once there is room.
func TestNoSpaceForASegment(t *testing.T) {
	n := startNode(t, vfs.NewCrash(1), 1, 1<<20)
	n.fs.SetFree(4 << 20)
	n.mustAppend(0, 50_000)
	n.fs.SetFree(0)
	before := readAll(t, n.logs[0])
	for range 3 {
		if err := n.append(0, 50_000); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("append without space = %v", err)
		}
	}
	n.mustCommit()
	if n.told[0] != 1 || n.logs[0].End() != 1 || !bytes.Equal(readAll(t, n.logs[0]), before) {
		t.Fatalf("told %d, end %d after refused appends", n.told[0], n.logs[0].End())
	}
	// What the journal has acknowledged must find room: it was reserved.
	if _, err := n.logs[0].Flush(); err != nil {
		t.Fatalf("drain on a full disk: %v", err)
	}
	n.fs.SetFree(4 << 20)
	n.mustAppend(0, 50_000)
	n.mustCommit()
	if n = startNode(t, n.disk.Crash(0, nil), 1, 1<<20); n.logs[0].End() != 2 {
		t.Fatalf("end %d after a power cut, want 2", n.logs[0].End())
	}
}

// TestCommitErrorsAreFinal fails a write or an fdatasync on each way to the disk: nothing is told
// after it, no append is taken, and who waits for memory is refused.
func TestCommitErrorsAreFinal(t *testing.T) {
	for _, test := range []struct {
		name   string
		direct int64
		fault  vfs.Fault
	}{
		{"direct write", 1, vfs.Fault{Op: vfs.OpWrite, Glob: "*.log"}},
		{"direct fdatasync", 1, vfs.Fault{Op: vfs.OpSync, Glob: "*.log"}},
		{"journal write", 1 << 20, vfs.Fault{Op: vfs.OpWrite, Glob: "*.journal"}},
		{"journal fdatasync", 1 << 20, vfs.Fault{Op: vfs.OpSync, Glob: "*.journal"}},
		{"journal fdatasync beside direct writes", 1, vfs.Fault{Op: vfs.OpSync, Glob: "*.journal"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := startNode(t, vfs.NewCrash(1), 3, test.direct)
			for i := range n.logs {
				n.mustAppend(i, 1000)
			}
			n.mustCommit()
			for i := range n.logs {
				n.mustAppend(i, 1000)
			}
			told := fmt.Sprint(n.told)
			test.fault.Err, test.fault.Times = vfs.ErrIO, 1
			n.fs.Add(test.fault)
			if _, err := n.c.CommitOnce(); !errors.Is(err, ErrFailed) || !errors.Is(err, vfs.ErrIO) {
				t.Fatalf("commit = %v", err)
			}
			failedTold := fmt.Sprint(n.told)
			if strings.HasPrefix(test.name, "journal") && failedTold != told {
				t.Errorf("told %s, before the failure %s", failedTold, told)
			}
			if !errors.Is(n.failed, ErrFailed) {
				t.Errorf("OnFailure(%v)", n.failed)
			}
			n.fs.Clear()
			for range 3 {
				_ = n.append(0, 10)
				if _, err := n.c.CommitOnce(); !errors.Is(err, ErrFailed) {
					t.Errorf("commit after the failure = %v", err)
				}
			}
			if got := fmt.Sprint(n.told); got != failedTold {
				t.Errorf("told %s after the failure, %s at it", got, failedTold)
			}
			if _, err := n.buffers.Reserve(context.Background(), 1); !errors.Is(err, ErrFailed) {
				t.Errorf("reserve after the failure = %v", err)
			}
			n = startNode(t, n.disk.Crash(0, nil), 3, test.direct)
			for i, l := range n.logs {
				checkDense(t, l)
				if l.End() < 1 {
					t.Errorf("log %d ends at %d, 1 was told", i, l.End())
				}
			}
		})
	}
}

// TestReserveBoundsMemory: who appends faster than the disk takes it waits, in order, and is let in
// by a drain.
func TestReserveBoundsMemory(t *testing.T) {
	b := testBuffers(t, 0)
	b.o.UndrainedBytesMax = 4 * chunkBytesMin
	fs := vfs.NewCrash(1)
	l := mustOpen(t, Options{FS: fs, Buffers: b})
	for range 4 {
		mustAppendBytes(t, l, chunkBytesMin-100)
	}
	ctx, cancel := context.WithCancel(context.Background())
	gave := make(chan error)
	go func() { // ends when it has been cancelled
		_, err := b.Reserve(ctx, 1<<20)
		gave <- err
	}()
	waitUntil(t, func() bool { return b.Stats().Waiting == 1 })
	in := make(chan func())
	go func() { // ends when it is let in
		done, err := b.Reserve(context.Background(), 100)
		if err != nil {
			t.Error(err)
		}
		in <- done
	}()
	waitUntil(t, func() bool { return b.Stats().Waiting == 2 })
	cancel()
	if err := <-gave; !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled = %v", err)
	}
	select {
	case <-in:
		t.Fatal("let in without room")
	default:
	}
	mustFlush(t, l)
	(<-in)()
	if s := b.Stats(); s.ReservedBytes != 0 || s.Waiting != 0 || s.UndrainedBytes != 0 {
		t.Errorf("at rest: %+v", s)
	}
	mustClose(t, l)
	if s := b.Stats(); s.RecentBytes != 0 || s.UndrainedBytes != 0 {
		t.Errorf("after close: %+v", s)
	}
}

func mustAppendBytes(t *testing.T, l *Log, n int) {
	t.Helper()
	if _, _, err := l.Append(buildBatch(t, 1, 1, n-100, 1000), 1); err != nil {
		t.Fatal(err)
	}
}

// waitUntil waits for what another goroutine does soon.
func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("it has not happened in 10 s")
		}
		runtime.Gosched()
	}
}

// TestAKillBeforeTheRecordIsNoLossOfTheJournal: what was written directly is drained and noted before
// its record is there. The note then speaks of a record that never was, which is no journal that
// somebody has deleted.
func TestAKillBeforeTheRecordIsNoLossOfTheJournal(t *testing.T) {
	n := startNode(t, vfs.NewCrash(1), 1, 1)
	n.mustAppend(0, 100)
	n.mustCommit()
	n.mustAppend(0, 100)
	p, err := n.logs[0].beginCommit(nil, partLimits{directBytes: 1, recordBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	p.began(n.journal.Next())
	if _, err := n.logs[0].flush(drainHow{sealed: true}); err != nil {
		t.Fatal(err)
	}
	core, seen := observer.New(zap.ErrorLevel)
	disk := n.disk.Crash(1, nil)
	j := smallJournal(t, disk, 1<<20, 8)
	l, err := Open("/data/p0", Options{
		FS: disk, Journal: j, Buffers: testBuffers(t, 0), Name: "p0", Logger: zap.New(core),
	})
	if err != nil {
		t.Fatal(err)
	}
	if l.End() != 2 {
		t.Errorf("the log ends at %d", l.End())
	}
	for _, e := range seen.All() {
		t.Errorf("it was said: %s", e.Message)
	}
	if from := l.flushing.note.state.journalFrom; from > j.Next() {
		t.Errorf("record %d comes next, and the note believes none below %d", j.Next(), from)
	}
}

// TestALogThatCouldNotBeClosedHoldsUpNobody: its memory is given back, so that the drainer does not
// try it again and again while others wait for room.
func TestALogThatCouldNotBeClosedHoldsUpNobody(t *testing.T) {
	n := startNode(t, vfs.NewCrash(1), 2, 1<<20)
	n.mustAppend(0, 300_000)
	n.mustAppend(1, 100_000)
	n.mustCommit()
	n.fs.Add(vfs.Fault{Op: vfs.OpWrite, Glob: "/data/p0/*.log", Err: vfs.ErrIO})
	if err := n.logs[0].Close(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if got := n.c.largest(1); len(got) != 1 || got[0] != n.logs[1] {
		t.Fatalf("to be drained: %v", got)
	}
	if held := n.buffers.Stats().UndrainedBytes; held >= 300_000 {
		t.Errorf("%d bytes are held", held)
	}
}

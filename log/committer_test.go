package log

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// openLogs opens n logs in one file system.
func openLogs(t testing.TB, fs vfs.FS, n int) []*Log {
	t.Helper()
	var logs []*Log
	for i := range n {
		l, err := Open(fmt.Sprintf("/data/p%d", i), testOptions(fs))
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
	}
	return logs
}

func TestCommitTogether(t *testing.T) {
	c := NewCommitter(CommitterOptions{Manual: true})
	logs := openLogs(t, vfs.NewCrash(1), 20)
	told := make([]Offset, len(logs))
	var members []*Member
	for i, l := range logs {
		members = append(members, c.Join(l, func(end Offset) { told[i] = end }))
	}
	if n, err := c.CommitOnce(); n != 0 || err != nil {
		t.Fatalf("commit of nothing = %d, %v", n, err)
	}
	for i, l := range logs {
		for range i % 3 {
			mustAppend(t, l, 2)
			members[i].Dirty()
		}
	}
	n, err := c.CommitOnce()
	if err != nil || n != 13 {
		t.Fatalf("commit = %d, %v; want 13 logs", n, err)
	}
	for i, l := range logs {
		if told[i] != l.End() || l.FlushedEnd() != l.End() {
			t.Errorf("log %d: told %d, flushed %d, end %d", i, told[i], l.FlushedEnd(), l.End())
		}
	}
	s := c.Stats()
	if s.Commits != 1 || s.Flushes != 13 || s.Fsyncs != 13 || s.FlushedBytes == 0 ||
		s.FsyncLatency.Count != 13 {
		t.Errorf("stats = %+v", s)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
}

func TestCommitEveryEvent(t *testing.T) {
	c := NewCommitter(CommitterOptions{Mode: EveryEvent, Manual: true})
	fs := vfs.NewCrash(1)
	l := openLogs(t, fs, 1)[0]
	var told []Offset
	m := c.Join(l, func(end Offset) { told = append(told, end) })
	var want []Offset
	for range 4 {
		want = append(want, mustAppend(t, l, 1)...)
		m.Dirty()
	}
	before := fs.Stats().Syncs
	if n, err := c.CommitOnce(); n != 4 || err != nil {
		t.Fatalf("commit = %d, %v", n, err)
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %v, want each event alone: %v", told, want)
	}
	if n := fs.Stats().Syncs - before; n != 4 {
		t.Errorf("%d syncs for 4 events", n)
	}
}

func TestCommitPeriodic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mc := clock.NewManual(time.Unix(1000, 0))
		c := NewCommitter(CommitterOptions{Mode: Periodic, Interval: time.Second, Clock: mc})
		l := openLogs(t, vfs.NewCrash(1), 1)[0]
		var told atomic.Int64
		m := c.Join(l, func(end Offset) { told.Store(int64(end)) })
		mc.Advance(time.Hour) // nothing is dirty: no timer
		synctest.Wait()
		end := mustAppend(t, l, 1)[0]
		m.Dirty()
		synctest.Wait()
		mc.Advance(999 * time.Millisecond)
		synctest.Wait()
		if told.Load() != 0 {
			t.Fatal("committed before the interval")
		}
		end = max(end, mustAppend(t, l, 1)[0])
		m.Dirty()
		mc.Advance(time.Millisecond)
		synctest.Wait()
		if told.Load() != int64(end) || c.Stats().Commits != 1 {
			t.Fatalf("told %d, want %d; %d commits", told.Load(), end, c.Stats().Commits)
		}
		end = mustAppend(t, l, 1)[0]
		m.Dirty()
		synctest.Wait()
		if err := c.Close(); err != nil { // does not wait for the interval
			t.Fatal(err)
		}
		if told.Load() != int64(end) {
			t.Fatalf("told %d after close, want %d", told.Load(), end)
		}
	})
}

func TestCommitGathersWhileOneRuns(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewCrash(1))
	l := openLogs(t, fs, 1)[0]
	blocked, release := make(chan struct{}), make(chan struct{})
	fs.Add(vfs.Fault{Op: vfs.OpSync, Glob: "*.log", Times: 1, Before: func(string) {
		close(blocked)
		<-release
	}})
	c := NewCommitter(CommitterOptions{})
	told := make(chan Offset, 10)
	m := c.Join(l, func(end Offset) { told <- end })
	first := mustAppend(t, l, 1)[0]
	m.Dirty()
	<-blocked
	last := mustAppend(t, l, 5)[4]
	for range 5 {
		m.Dirty()
	}
	close(release)
	if end := <-told; end != first {
		t.Errorf("the first commit told %d, want %d: it captured its end before the sync", end, first)
	}
	if end := <-told; end != last {
		t.Errorf("the second commit told %d, want %d", end, last)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().Commits; n != 2 {
		t.Errorf("%d commits, want 2: one for all that came while the first ran", n)
	}
}

// TestCommitFailure has one of many logs fail: OnFailure hears once, nobody is told anything after.
func TestCommitFailure(t *testing.T) {
	for _, mode := range []Mode{Batch, EveryEvent} {
		fs := vfs.NewFaulty(vfs.NewCrash(1))
		var failures atomic.Int64
		var after atomic.Int64
		c := NewCommitter(CommitterOptions{Mode: mode, Manual: true, OnFailure: func(err error) {
			failures.Add(1)
			if !errors.Is(err, ErrFailed) || !errors.Is(err, errIO) {
				t.Errorf("OnFailure(%v)", err)
			}
		}})
		logs := openLogs(t, fs, 30)
		var members []*Member
		for _, l := range logs {
			members = append(members, c.Join(l, func(Offset) {
				if failures.Load() > 0 {
					after.Add(1)
				}
			}))
		}
		fs.Add(vfs.Fault{Op: vfs.OpSync, Glob: "*.log", Nth: 5, Err: errIO})
		for i, l := range logs {
			mustAppend(t, l, 1)
			members[i].Dirty()
		}
		if _, err := c.CommitOnce(); !errors.Is(err, ErrFailed) {
			t.Fatalf("%v: commit = %v", mode, err)
		}
		fs.Clear()
		mustAppend(t, logs[29], 1)
		members[29].Dirty()
		if n, err := c.CommitOnce(); n != 0 || !errors.Is(err, ErrFailed) {
			t.Errorf("%v: commit after the failure = %d, %v", mode, n, err)
		}
		if failures.Load() != 1 || after.Load() != 0 {
			t.Errorf("%v: OnFailure %d times, onFlushed %d times after it", mode, failures.Load(), after.Load())
		}
		if err := c.Close(); !errors.Is(err, ErrFailed) {
			t.Errorf("%v: close = %v", mode, err)
		}
	}
}

func TestLeave(t *testing.T) {
	c := NewCommitter(CommitterOptions{Manual: true})
	l := openLogs(t, vfs.NewCrash(1), 1)[0]
	m := c.Join(l, func(Offset) { t.Error("told after Leave") })
	mustAppend(t, l, 1)
	m.Dirty()
	m.Leave()
	m.Dirty()
	mustClose(t, l)
	if n, err := c.CommitOnce(); n != 0 || err != nil {
		t.Fatalf("commit = %d, %v", n, err)
	}
}

func TestWidenBoundsTheQueue(t *testing.T) {
	c := NewCommitter(CommitterOptions{Mode: EveryEvent, Manual: true})
	l := openLogs(t, vfs.NewCrash(1), 1)[0]
	var last Offset
	m := c.Join(l, func(end Offset) { last = end })
	for range commitEventsMax {
		m.Dirty()
	}
	end := mustAppend(t, l, 1)[0]
	m.Dirty()
	if n := len(c.mu.queue); n != commitEventsMax {
		t.Fatalf("%d events wait", n)
	}
	c.mu.queue = c.mu.queue[commitEventsMax-2:] // the others would take a second
	if _, err := c.CommitOnce(); err != nil || last != end {
		t.Fatalf("told %d, want %d, %v", last, end, err)
	}
}

// TestConcurrent appends, flushes through a committer, reads, advances the start and looks up times
// from many goroutines. The race detector and the checks in Read judge.
func TestConcurrent(t *testing.T) {
	const appenders, each = 3, 150
	o := testOptions(vfs.NewCrash(1))
	o.SegmentBytes = 8192
	l := mustOpen(t, o)
	c := NewCommitter(CommitterOptions{OnFailure: func(err error) { t.Error(err) }})
	var flushed atomic.Int64
	m := c.Join(l, func(end Offset) {
		if before := flushed.Swap(int64(end)); before > int64(end) {
			t.Errorf("flushed end went from %d to %d", before, end)
		}
	})
	var order sync.Mutex
	var wg, readers sync.WaitGroup
	done := make(chan struct{})
	for range appenders {
		wg.Go(func() { // ends after its appends; wg.Wait waits
			for i := range each {
				b := buildBatch(t, uint64(i), 1+i%3, 60, UnixMs(i))
				order.Lock()
				_, _, err := l.Append(b, 1)
				order.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				m.Dirty()
			}
		})
	}
	for k := range 3 {
		readers.Go(func() { readUntil(t, l, k, done) }) // ends when done is closed; readers.Wait waits
	}
	readers.Go(func() { // as above
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := l.AdvanceStart(l.RetentionPoint(RetentionPolicy{Ms: -1, Bytes: 30000}, 0, l.End())); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	close(done)
	readers.Wait()
	if flushed.Load() != int64(l.End()) {
		t.Errorf("flushed %d, end %d", flushed.Load(), l.End())
	}
	checkDense(t, l)
	want := readAll(t, l)
	mustClose(t, l)
	if !bytes.Equal(readAll(t, mustOpen(t, o)), want) {
		t.Error("other bytes after close and open")
	}
}

// readUntil follows the log, and now and then begins again at its start.
func readUntil(t *testing.T, l *Log, k int, done chan struct{}) {
	next := Offset(0)
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		if i%50 == 0 {
			next = l.Start()
		}
		end := l.End()
		if k == 0 {
			if _, _, _, err := l.OffsetForTime(UnixMs(i%100), end); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
				t.Error(err)
				return
			}
		}
		p, err := l.Read(nil, ReadRequest{From: next, Bound: end, MaxBytes: 2000, MinOne: true})
		if errors.Is(err, ErrOffsetOutOfRange) {
			next = l.Start() // retention was faster
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		if n := len(batchStarts(t, p)); n > 0 {
			starts := batchStarts(t, p)
			next = lastOffset(p[starts[n-1]:]) + 1
		}
	}
}

// TestTruncateUnderReaders has readers run into truncations: they must see whole batches only.
func TestTruncateUnderReaders(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	var readers sync.WaitGroup
	done := make(chan struct{})
	for k := range 3 {
		readers.Go(func() { readUntil(t, l, k, done) }) // ends when done is closed; readers.Wait waits
	}
	for i := range 60 {
		mustAppend(t, l, 20)
		if err := l.Truncate(Offset(i % 17)); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	readers.Wait()
	checkDense(t, l)
	mustClose(t, l)
}

// TestCommitFailureBesideASuccess has one log fail while the flush of another one is still running:
// that one succeeds, and must not be told.
func TestCommitFailureBesideASuccess(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewCrash(1))
	failed := make(chan struct{})
	c := NewCommitter(CommitterOptions{Manual: true, OnFailure: func(error) { close(failed) }})
	logs := openLogs(t, fs, 2)
	started := make(chan struct{})
	fs.Add(vfs.Fault{Op: vfs.OpSync, Glob: "/data/p0/*.log", Before: func(string) { close(started); <-failed }})
	fs.Add(vfs.Fault{Op: vfs.OpSync, Glob: "/data/p1/*.log", Err: errIO, Before: func(string) { <-started }})
	for _, l := range logs {
		m := c.Join(l, func(Offset) { t.Error("told after the failure") })
		mustAppend(t, l, 1)
		m.Dirty()
	}
	if n, err := c.CommitOnce(); n != 0 || !errors.Is(err, errIO) {
		t.Fatalf("commit = %d, %v", n, err)
	}
}

// TestConfirmAtRest lets commits pause: the journal gets one more record, and no other one however
// long the pause lasts.
func TestConfirmAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewCrash(1)
		if err := makeDir(fs, "/data"); err != nil {
			t.Fatal(err)
		}
		j := smallJournal(t, fs, 64<<10, 2)
		if err := j.Recovered(); err != nil {
			t.Fatal(err)
		}
		b := testBuffers(t, 0)
		l := journaledLog(t, fs, j, b, "p", 1<<20)
		mc := clock.NewManual(time.Unix(1000, 0))
		c := NewCommitter(CommitterOptions{Journal: j, Buffers: b, Clock: mc})
		pass := func(d time.Duration) {
			synctest.Wait()
			mc.Advance(d)
			synctest.Wait()
		}
		m := c.Join(l, func(Offset) {})
		for range 3 {
			for range 20 { // commits that follow each other within the time are not interrupted
				mustAppend(t, l, 1)
				m.Dirty()
				pass(confirmAfter / 2)
			}
			before := j.Stats()
			for range 10 {
				pass(confirmAfter)
			}
			after := j.Stats()
			if after.Confirms != before.Confirms+1 || before.Confirms != before.Commits/20-1 {
				t.Errorf("%d confirmations after %d commits, %d after a pause", before.Confirms, before.Commits,
					after.Confirms)
			}
		}
		m.Leave()
		mustClose(t, l)
		if err := errors.Join(c.Close(), j.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestADirectCommitThatRots: the log's newest commit went to its segment, and rots there while the
// power fails. Once it is confirmed that is damage, and not cut as never acknowledged.
func TestADirectCommitThatRots(t *testing.T) {
	for _, aside := range []bool{false, true} {
		n := startNode(t, vfs.NewCrash(1), 1, 1)
		n.mustAppend(0, 100)
		n.mustCommit()
		n.mustAppend(0, 2000)
		n.mustCommit()
		if err := n.c.Confirm(); err != nil {
			t.Fatal(err)
		}
		disk := n.disk.Crash(0, nil)
		f, err := disk.OpenLog(segmentPath(disk, "/data/p0", 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0xff, 0xff}, 1000); err != nil {
			t.Fatal(err)
		}
		j := smallJournal(t, disk, 1<<20, 4)
		if aside {
			o := Options{FS: vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Glob: noteName, Err: vfs.ErrIO})}
			o.Journal, o.Name = j, "p0"
			if err := errors.Join(Replay("/data/p0", o), j.Recovered()); err != nil {
				t.Fatal(err)
			}
		}
		_, err = Open("/data/p0", Options{FS: disk, Journal: j, Buffers: testBuffers(t, 0), Name: "p0"})
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("aside %v: %v", aside, err)
		}
	}
}

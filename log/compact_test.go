package log

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// keyed returns a batch of one record.
func keyed(t testing.TB, key, value string, at UnixMs) batch.Batch {
	t.Helper()
	b := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: at}.NoProducer())
	err := b.Append(batch.RecordFields{TimestampMs: at, Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fillKeyed appends n records of few keys, 15 in a segment, and makes all but the last segment
// ready to be compacted.
func fillKeyed(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		value := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 40))
		if _, _, err := l.Append(keyed(t, fmt.Sprint("k", i%7), value, UnixMs(1000+i)), 1); err != nil {
			t.Fatal(err)
		}
		if i%15 == 14 {
			if err := l.Roll(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
}

// compactAll compacts what can be.
func compactAll(l *Log) (CompactionResult, error) {
	plan := l.PlanCompaction(CompactionPolicy{Bound: l.End(), MaxLagMs: math.MaxInt64}, 0)
	return l.Compact(CompactionRequest{To: plan.To, Now: 1000, DeleteRetentionMs: 1000})
}

// keyedState returns the last value of each key, and all offsets.
func keyedState(t testing.TB, l *Log) (map[string]string, []Offset) {
	t.Helper()
	last := map[string]string{}
	var offsets []Offset
	err := l.Batches(l.Start(), l.End(), func(b batch.Batch) error {
		r, err := batch.NewReader(b, 1<<20)
		if err != nil {
			return err
		}
		defer r.Close()
		for {
			rec, ok, err := r.Next()
			if err != nil || !ok {
				return err
			}
			last[string(rec.Key)] = string(rec.Value)
			offsets = append(offsets, b.BaseOffset()+Offset(rec.OffsetDelta))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return last, offsets
}

func sameState(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: last values are\n%v, want\n%v", what, got, want)
	}
}

// swapLog returns a log with three groups to compact, on its file system.
func swapLog(t testing.TB, seed uint64) (*Log, *vfs.Crash, *vfs.Faulty, Options) {
	t.Helper()
	crash := vfs.NewCrash(seed)
	faulty := vfs.NewFaulty(crash)
	o := Options{FS: faulty, SegmentBytes: 4500, IndexIntervalBytes: 300}
	l := mustOpen(t, o)
	fillKeyed(t, l, 110)
	return l, crash, faulty, o
}

// TestCompactionCrashedAtEveryOperation cuts the power at each file operation of a compaction in
// turn. Whatever is kept, the last values are there, and the next compaction ends as an undisturbed
// one does.
func TestCompactionCrashedAtEveryOperation(t *testing.T) {
	l, _, faulty, _ := swapLog(t, 1)
	want, _ := keyedState(t, l)
	before := faulty.Ops(vfs.OpAny)
	if _, err := compactAll(l); err != nil {
		t.Fatal(err)
	}
	ops := int(faulty.Ops(vfs.OpAny) - before)
	_, final := keyedState(t, l)
	if l.Segments() != 5 || len(final) > 30 {
		t.Fatalf("%d segments, %d records are left", l.Segments(), len(final))
	}
	for nth := 1; nth <= ops; nth++ {
		for _, keep := range []float64{0, 0.5, 1} {
			rng := rand.New(rand.NewPCG(uint64(nth), 7))
			l, crash, faulty, o := swapLog(t, 1)
			var after *vfs.Crash
			faulty.Add(vfs.Fault{Nth: nth, Times: 1, Before: func(string) {
				after = crash.Crash(keep, rng)
			}})
			if _, err := compactAll(l); err == nil && nth < ops {
				t.Fatalf("operation %d was not missed", nth)
			}
			what := fmt.Sprintf("operation %d of %d, %v kept", nth, ops, keep)
			o.FS = after
			l, err := Open(testDir, o)
			if err != nil {
				t.Fatalf("%s: open: %v", what, err)
			}
			got, _ := keyedState(t, l)
			sameState(t, what, got, want)
			checkNoLeftovers(t, what, after)
			if _, err := compactAll(l); err != nil {
				t.Fatalf("%s: compact again: %v", what, err)
			}
			if _, offsets := keyedState(t, l); fmt.Sprint(offsets) != fmt.Sprint(final) {
				t.Errorf("%s: offsets are\n%v, want\n%v", what, offsets, final)
			}
			mustClose(t, l)
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d operations", ops)
}

func checkNoLeftovers(t testing.TB, what string, fs vfs.FS) {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, cleanedSuffix) || strings.HasSuffix(name, swapSuffix) {
			t.Errorf("%s: %s is left", what, name)
		}
	}
}

// TestCompactionOnAFullDisk lets the disk fill up at every write. The log goes on, and there is
// nothing left of the attempt.
func TestCompactionOnAFullDisk(t *testing.T) {
	for free := int64(0); ; free += 97 {
		l, crash, faulty, _ := swapLog(t, 2)
		want, _ := keyedState(t, l)
		faulty.SetFree(free)
		_, err := compactAll(l)
		if err == nil {
			if free == 0 {
				t.Fatal("nothing was written")
			}
			return
		}
		if !errors.Is(err, ErrNoSpace) {
			t.Fatalf("%d bytes free: %v", free, err)
		}
		checkNoLeftovers(t, fmt.Sprint(free, " bytes free"), crash)
		got, _ := keyedState(t, l)
		sameState(t, "full disk", got, want)
		faulty.SetFree(-1)
		if _, _, err := l.Append(keyed(t, "new", "1", 5000), 1); err != nil {
			t.Fatalf("append after a full disk: %v", err)
		}
		if err := l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		if _, err := compactAll(l); err != nil {
			t.Fatalf("compact after a full disk: %v", err)
		}
		mustClose(t, l)
	}
}

// TestCompactionSyncErrorsAreFinal fails each sync and each rename of a compaction in turn.
func TestCompactionSyncErrorsAreFinal(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpWrite, vfs.OpRename} {
		for nth := 1; ; nth++ {
			l, crash, faulty, o := swapLog(t, 3)
			want, _ := keyedState(t, l)
			faulty.Add(vfs.Fault{Op: op, Nth: nth, Times: 1, Err: vfs.ErrIO})
			_, err := compactAll(l)
			if err == nil {
				if nth < 4 {
					t.Errorf("%v %d was not missed", op, nth)
				}
				break
			}
			if !errors.Is(err, ErrFailed) {
				t.Fatalf("%v %d: %v", op, nth, err)
			}
			if _, _, err := l.Append(keyed(t, "new", "1", 5000), 1); !errors.Is(err, ErrFailed) {
				t.Fatalf("append after a failed %v: %v", op, err)
			}
			o.FS = crash.Crash(0, rand.New(rand.NewPCG(1, 1)))
			l = mustOpen(t, o)
			got, _ := keyedState(t, l)
			sameState(t, fmt.Sprintf("%v %d", op, nth), got, want)
			mustClose(t, l)
		}
	}
}

// TestReadersGoOnBesideCompaction reads in many ways while segments are compacted and deleted.
func TestReadersGoOnBesideCompaction(t *testing.T) {
	l := mustOpen(t, Options{FS: vfs.NewCrash(1), SegmentBytes: 4500, IndexIntervalBytes: 300})
	fillKeyed(t, l, 40)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for rng := rand.New(rand.NewPCG(uint64(i), 0)); ; {
				select {
				case <-done:
					return
				default:
				}
				readOnce(t, l, rng)
			}
		})
	}
	stale := 0
	for i := range 60 {
		fillKeyed(t, l, 40)
		var moved sync.WaitGroup
		if i%3 == 0 {
			moved.Go(func() {
				if err := l.AdvanceStart(l.Start() + 20); err != nil {
					t.Error(err)
				}
			})
		}
		res, err := compactAll(l)
		if err != nil {
			t.Error(err)
		}
		if res.Stale {
			stale++
		}
		moved.Wait()
	}
	close(done)
	readers.Wait()
	t.Logf("%d passes were stale", stale)
	mustClose(t, l)
}

// readOnce reads from a random offset on, in a random way.
func readOnce(t *testing.T, l *Log, rng *rand.Rand) {
	start, end := l.Start(), l.End()
	from := start + Offset(rng.Int64N(int64(end-start)))
	var err error
	switch rng.IntN(4) {
	case 0:
		next := from
		for next < end && err == nil {
			var p []byte
			p, err = l.Read(nil, ReadRequest{From: next, Bound: end, MaxBytes: 400, MinOne: true})
			if err == nil && len(p) == 0 {
				// Unless a later record beyond the end that was asked for has replaced the rest.
				if l.End() == end {
					t.Errorf("nothing at %d of %d", next, end)
				}
				return
			}
			for len(p) > 0 {
				b, rest, _ := batch.Next(p)
				if b.LastOffset() < next {
					t.Errorf("batch %d to %d at %d", b.BaseOffset(), b.LastOffset(), next)
				}
				next, p = b.LastOffset()+1, rest
			}
		}
	case 1:
		last := noOffset
		err = l.Batches(from, end, func(b batch.Batch) error {
			last = b.LastOffset()
			return nil
		})
		if err == nil && last != end-1 && l.End() == end {
			t.Errorf("scan of %d to %d ended with %d", from, end, last)
		}
	case 2:
		_, _, _, err = l.OffsetForTime(UnixMs(1000+rng.IntN(50)), end)
	case 3:
		_, _, _, err = l.MaxTimestamp(end)
	}
	if err != nil && !(errors.Is(err, ErrOffsetOutOfRange) && l.Start() > from) &&
		!(errors.Is(err, ErrOffsetOutOfRange) && l.Start() > start) {
		t.Errorf("read from %d: %v", from, err)
	}
}

// TestCompactionLags plans by the age of segments.
func TestCompactionLags(t *testing.T) {
	l := mustOpen(t, Options{FS: vfs.NewCrash(1), SegmentBytes: 1 << 20, IndexIntervalBytes: 300})
	fillKeyed(t, l, 40) // segments end at 15 and 30, with timestamps to 1014 and 1029
	for _, c := range []struct {
		policy  CompactionPolicy
		now     UnixMs
		to      Offset
		overdue bool
	}{
		{CompactionPolicy{Bound: 40, MaxLagMs: 1 << 62}, 0, 30, false},
		{CompactionPolicy{Bound: 29, MaxLagMs: 1 << 62}, 0, 15, false},
		{CompactionPolicy{Bound: 14, MaxLagMs: 1 << 62}, 0, 0, false},
		{CompactionPolicy{Bound: 40, MinLagMs: 100, MaxLagMs: 1 << 62}, 1113, 0, false},
		{CompactionPolicy{Bound: 40, MinLagMs: 100, MaxLagMs: 1 << 62}, 1114, 15, false},
		{CompactionPolicy{Bound: 40, MinLagMs: 100, MaxLagMs: 1 << 62}, 1129, 30, false},
		{CompactionPolicy{Bound: 40, MaxLagMs: 500}, 1500, 30, false},
		{CompactionPolicy{Bound: 40, MaxLagMs: 500}, 1501, 30, true},
	} {
		p := l.PlanCompaction(c.policy, c.now)
		if p.To != c.to || p.Overdue != c.overdue || (p.Ratio() == 1) != (p.To > 0) {
			t.Errorf("%+v at %d: %+v, ratio %v", c.policy, c.now, p, p.Ratio())
		}
	}
	if _, err := compactAll(l); err != nil {
		t.Fatal(err)
	}
	fillKeyed(t, l, 20)
	p := l.PlanCompaction(CompactionPolicy{Bound: l.End(), MaxLagMs: 1 << 62}, 0)
	if p.From != 30 || p.To != 55 || p.Ratio() <= 0.5 || p.Ratio() >= 1 || p.CleanBytes == 0 {
		t.Errorf("%+v, ratio %v", p, p.Ratio())
	}
	if s := l.Stats(); s.Compactions != 1 || s.CompactionRemoved != 23 || s.CompactionReadBytes == 0 ||
		s.CompactionWrittenBytes == 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestCompactionIsStale deletes and truncates what a compaction is reading.
func TestCompactionIsStale(t *testing.T) {
	for _, change := range []func(l *Log) error{
		func(l *Log) error { return l.AdvanceStart(50) },
		func(l *Log) error { return l.AdvanceStart(l.End()) },
		func(l *Log) error { return l.Truncate(40) },
		func(l *Log) error { return l.Truncate(3) },
	} {
		for at := 1; at < 200; at += 10 {
			l, crash, _, o := swapLog(t, 4)
			plan := l.PlanCompaction(CompactionPolicy{Bound: l.End(), MaxLagMs: 1 << 62}, 0)
			calls := 0
			res, err := l.Compact(CompactionRequest{To: plan.To, Pace: func(int) error {
				if calls++; calls == at {
					return change(l)
				}
				return nil
			}})
			if err != nil {
				t.Fatalf("changed at call %d: %v", at, err)
			}
			if at == 1 && !res.Stale {
				t.Error("what has changed was compacted")
			}
			if end := l.CleanTo(); end > l.End() {
				t.Errorf("clean to %d, the log ends at %d", end, l.End())
			}
			checkNoLeftovers(t, "stale", crash)
			got, _ := keyedState(t, l)
			if _, err := compactAll(l); err != nil {
				t.Fatal(err)
			}
			again, _ := keyedState(t, l)
			sameState(t, "after another pass", again, got)
			mustClose(t, l)
			l = mustOpen(t, o)
			again, _ = keyedState(t, l)
			sameState(t, "after a start", again, got)
			mustClose(t, l)
		}
	}
}

// TestCommitsDoNotWaitForASwap holds what a swap holds, for as long as its files take to go, and
// lets all come that wait for it. None of them may hold up a commit: one of this log holds up those
// of all logs.
func TestCommitsDoNotWaitForASwap(t *testing.T) {
	l, _, _, _ := swapLog(t, 5)
	l.swapping.Lock()
	var waiting sync.WaitGroup
	for _, act := range []func() error{
		func() error { _, err := compactAll(l); return err },
		func() error { return l.AdvanceStart(40) },
		func() error { return l.Truncate(100) },
	} {
		waiting.Go(func() {
			if err := act(); err != nil {
				t.Error(err)
			}
		})
		for range 20_000 {
			if !l.committing.TryLock() {
				t.Error("a commit would wait")
				break
			}
			if !l.flushing.TryLock() {
				t.Error("a flush would wait")
			} else {
				l.flushing.Unlock()
			}
			l.committing.Unlock()
			runtime.Gosched()
		}
	}
	l.swapping.Unlock()
	waiting.Wait()
	mustClose(t, l)
}

// TestAllBytesArePaidFor: what is paced is what is read and written, no more and no less.
func TestAllBytesArePaidFor(t *testing.T) {
	l, _, _, _ := swapLog(t, 6)
	paid, most := int64(0), 0
	res, err := l.Compact(CompactionRequest{To: l.RecoveryPoint(), Pace: func(n int) error {
		paid, most = paid+int64(n), max(most, n)
		return nil
	}})
	if err != nil || res.BytesRead == 0 || res.BytesWritten == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if paid != res.BytesRead+res.BytesWritten || most > 2*compactWriteBytes {
		t.Errorf("%d bytes were paid for, at most %d at once; %+v", paid, most, res)
	}
	mustClose(t, l)
}

// TestCompactionLeavesNoHandles: a pass reads every old segment, whether it changes anything or not,
// and a log may have thousands. One that a reader uses meanwhile stays open.
func TestCompactionLeavesNoHandles(t *testing.T) {
	l, _, _, o := swapLog(t, 8)
	mustClose(t, l)
	l = mustOpen(t, o)
	open := func() (n int) {
		list := l.set.Load().list
		for _, s := range list[:len(list)-1] {
			s.open.Lock()
			if s.open.file != nil {
				n++
			}
			s.open.Unlock()
		}
		return n
	}
	for pass := range 3 {
		if pass > 0 { // keys and segments of their own: those before have nothing to lose
			l.SetTopicLimits(1, 0)
			for i := range 20 {
				if _, _, err := l.Append(keyed(t, fmt.Sprint(pass, "-", i), "v", UnixMs(3000+i)), 1); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(l.Roll(), l.Checkpoint()); err != nil {
				t.Fatal(err)
			}
		}
		if pass == 2 {
			s, err := l.pin(l.Start())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.file(); err != nil {
				t.Fatal(err)
			}
			defer s.release()
		}
		res, err := compactAll(l)
		if err != nil || res.To == res.From {
			t.Fatalf("%+v, %v", res, err)
		}
		if got := open(); got > pass/2 {
			t.Errorf("pass %d leaves %d of %d segments open", pass, got, l.Segments())
		}
	}
	mustClose(t, l)
}

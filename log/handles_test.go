package log

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// openSegments returns the base offsets of the sealed segments whose file is open.
func openSegments(l *Log) (bases []Offset) {
	list := l.set.Load().list
	for _, s := range list[:len(list)-1] {
		s.open.Lock()
		if s.open.file != nil {
			bases = append(bases, s.base)
		}
		s.open.Unlock()
	}
	return bases
}

// descriptors returns how many descriptors the process has of files in a folder.
func descriptors(t *testing.T, dir string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		t.Skipf("no list of descriptors: %v", err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, dir+"/") {
			n++
		}
	}
	return n
}

// TestUnusedHandlesAreClosed rolls and reads many segments, in both ways of writing: after a pass or
// two the process has the descriptors of the active segment, of what is in use, and of what is not
// durable, and all can be read, cut and written again.
func TestUnusedHandlesAreClosed(t *testing.T) {
	t.Parallel()
	for _, buffered := range []bool{false, true} {
		dir := t.TempDir()
		o := Options{FS: vfs.OS(), SegmentBytes: 4096, IndexIntervalBytes: 256}
		if buffered {
			o.Buffers = testBuffers(t, 0)
		}
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 300)
		l.CloseUnused()
		l.CloseUnused()
		if got, want := len(openSegments(l)), l.Segments()-1; got != want || want < 10 {
			t.Fatalf("%d of %d segments that are not durable are open", got, want)
		}
		mustFlush(t, l)
		want := readAll(t, l)
		pinned, err := l.pin(l.End() / 2)
		if err != nil {
			t.Fatal(err)
		}
		first := l.set.Load().list[0]
		kept := first.open.file
		for range 3 {
			l.CloseUnused()
			for _, one := range []bool{false, true} {
				r := ReadRequest{Bound: l.End(), MaxBytes: 1, MinOne: one}
				if _, err := l.Read(nil, r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := openSegments(l); !slices.Equal(got, []Offset{0, pinned.base}) || first.open.file != kept {
			t.Errorf("open are the segments %v; used are 0 and %d", got, pinned.base)
		}
		pinned.release()
		l.CloseUnused()
		l.CloseUnused()
		// The note, and the active segment with its two.
		if got := openSegments(l); len(got) > 0 || descriptors(t, dir) > 3 {
			t.Errorf("open are the segments %v, with %d descriptors", got, descriptors(t, dir))
		}
		if !bytes.Equal(readAll(t, l), want) {
			t.Error("what was closed reads as something else")
		}
		closeByCheckpoints(t, l)
		if err := l.Truncate(l.End() / 3); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 50)
		mustFlush(t, l)
		checkDense(t, l)
		mustClose(t, l)
		if n := descriptors(t, dir); n > 0 {
			t.Errorf("%d descriptors are left", n)
		}
	}
}

// closeByCheckpoints rolls segments, and has nothing but checkpoints close them.
func closeByCheckpoints(t *testing.T, l *Log) {
	t.Helper()
	for _, batches := range []int{50, 50, 0} {
		mustAppend(t, l, batches)
		if err := l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if got := openSegments(l); len(got) > 0 {
		t.Errorf("after checkpoints the segments %v are open", got)
	}
}

// TestReadersBesideClosedHandles reads at random while the log is written, flushed, checkpointed, and
// shortened at both ends, and while its handles are closed all the time: no read meets a closed file.
func TestReadersBesideClosedHandles(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l, err := Open(testDir, Options{
		FS: vfs.NewCrash(seed), SegmentBytes: 2000, IndexIntervalBytes: 256, Buffers: testBuffers(t, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 100)
	mustFlush(t, l)
	var done atomic.Bool
	var wg sync.WaitGroup
	beside := func(n uint64, do func(rng *rand.Rand) error) {
		wg.Go(func() { // ends when done is set; Wait below waits for it
			rng := rand.New(rand.NewPCG(seed, n))
			for !done.Load() {
				err := do(rng)
				if err != nil && !errors.Is(err, ErrOffsetOutOfRange) || errors.Is(err, ErrUnreadable) {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
		})
	}
	for n := range uint64(3) {
		beside(n, func(rng *rand.Rand) error {
			from := l.Start() + Offset(rng.Int64N(int64(max(l.End()-l.Start(), 1))))
			_, err := l.Read(nil, ReadRequest{From: from, Bound: l.End(), MaxBytes: 1 << rng.IntN(14)})
			return err
		})
	}
	for n := range uint64(2) {
		beside(10+n, func(*rand.Rand) error {
			l.CloseUnused()
			for _, s := range l.set.Load().list { // as one who has not seen the last reads
				l.closeUnused(s, 0)
			}
			return nil
		})
	}
	rng := rand.New(rand.NewPCG(seed, 99))
	for range 1000 {
		mustAppend(t, l, 1+rng.IntN(20))
		switch rng.IntN(8) {
		case 0:
			err = l.AdvanceStart(l.Start() + (l.End()-l.Start())/4)
		case 1:
			err = l.Truncate(l.End() - (l.End()-l.Start())/8)
		case 2:
			err = l.Checkpoint()
		default:
			_, err = l.Flush()
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			break
		}
	}
	done.Store(true)
	wg.Wait()
	checkDense(t, l)
	mustClose(t, l)
}

// TestHandleOfASegmentThatIsGone: the log has let go of a segment, or is closed, and only a reader
// holds it: the one reference that is left is not the log's.
func TestHandleOfASegmentThatIsGone(t *testing.T) {
	goes := map[string]func(l *Log) error{
		"deleted":   func(l *Log) error { return l.AdvanceStart(l.End()) },
		"truncated": func(l *Log) error { return l.Truncate(l.Start()) },
		"closed":    (*Log).Close,
	}
	for name, goes := range goes {
		l := mustOpen(t, testOptions(vfs.NewCrash(1)))
		mustAppend(t, l, 200)
		mustFlush(t, l)
		s, err := l.pin(l.End() / 2)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.file()
		if err == nil {
			err = goes(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.closeUnused(s, 0)
		if _, err := f.ReadAt(make([]byte, 100), 0); err != nil {
			t.Errorf("%s: a reader is left with %v", name, err)
		}
		s.release()
	}
}

// TestTruncateWithoutHandles: handles have run out when a truncation needs its segment's, or the
// folder's. It is put off, nothing is changed, and the log goes on.
func TestTruncateWithoutHandles(t *testing.T) {
	for _, glob := range []string{segmentName(0), "/data/p"} {
		fs := vfs.NewFaulty(vfs.NewCrash(1))
		o := testOptions(fs)
		o.Buffers = testBuffers(t, 1<<20) // what is read is in memory
		l := mustOpen(t, o)
		mustAppend(t, l, 100)
		mustFlush(t, l)
		l.CloseUnused()
		l.CloseUnused()
		if got := openSegments(l); len(got) > 0 {
			t.Fatalf("open are the segments %v", got)
		}
		want, end, flushed := readAll(t, l), l.End(), l.FlushedEnd()
		fs.Add(vfs.Fault{Op: vfs.OpOpen, Glob: glob, Err: unix.EMFILE})
		if err := l.Truncate(5); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
			t.Fatalf("%s: truncated: %v", glob, err)
		}
		if fs.Stats().Injected == 0 {
			t.Fatalf("%s was not opened", glob)
		}
		fs.Clear()
		if l.End() != end || l.FlushedEnd() != flushed || !bytes.Equal(readAll(t, l), want) {
			t.Errorf("%s: the log ends at %d, flushed to %d; before it was %d, %d", glob, l.End(),
				l.FlushedEnd(), end, flushed)
		}
		mustAppend(t, l, 3)
		mustFlush(t, l)
		if err := l.Truncate(5); err != nil || l.End() > 5 {
			t.Errorf("%s: truncated to %d: %v", glob, l.End(), err)
		}
		checkDense(t, l)
		mustClose(t, l)
	}
}

// TestASwapWithoutHandles: a compaction's swap opens all that it needs before it decides anything, so
// that a want of handles behind that is none of its business.
func TestASwapWithoutHandles(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewCrash(1))
	o := testOptions(fs)
	o.SegmentBytes = 1 << 20
	o.Buffers = testBuffers(t, 1<<20) // what is read is in memory
	l := mustOpen(t, o)
	fillKeyed(t, l, 100)
	mustFlush(t, l)
	for range 2 {
		l.CloseUnused()
	}
	if n := len(openSegments(l)); n > 0 {
		t.Fatalf("%d segments are open", n)
	}
	swapped := false
	fs.Add(vfs.Fault{Op: vfs.OpRename, Before: func(name string) {
		if strings.HasSuffix(name, ".swap") && !swapped {
			swapped = true
			fs.Add(vfs.Fault{Op: vfs.OpOpen, Err: unix.EMFILE})
		}
	}})
	_, err := compactAll(l)
	fs.Clear()
	if !swapped || errors.Is(err, ErrFailed) {
		t.Fatalf("swapped: %v, %v", swapped, err)
	}
	if _, _, err := l.Append(keyed(t, "k", "v", 5000), 1); err != nil {
		t.Errorf("append: %v", err)
	}
}

// TestAReaderThatComesTooLate: a reader that has pinned a segment whose file is closed finds that
// retention was faster, or that the log is closed. Neither is a fault of the disk.
func TestAReaderThatComesTooLate(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(l *Log) error
		want error
	}{
		{"retention", func(l *Log) error { return l.AdvanceStart(l.End() - 1) }, ErrOffsetOutOfRange},
		{"close", (*Log).Close, ErrClosed},
	} {
		fs := vfs.NewCrash(1)
		o := testOptions(fs)
		l := mustOpen(t, o)
		mustAppend(t, l, 100)
		mustFlush(t, l)
		for range 2 {
			l.CloseUnused()
		}
		s, err := l.pin(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.end(l); err != nil {
			t.Fatal(err)
		}
		err = readFull(s, make([]byte, 10), 0)
		if !errors.Is(err, c.want) || errors.Is(err, ErrUnreadable) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
		s.release()
		if _, err := fs.Stat(s.path); c.name == "retention" && !isNotExist(err) {
			t.Errorf("the reader has made the file anew: %v", err)
		}
	}
}

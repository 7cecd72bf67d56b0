package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// commit commits one small entry and returns its sequence.
func commit(t testing.TB, j *Journal) Sequence {
	t.Helper()
	s, err := j.Commit([]Entry{entry("a", int64(j.Next()), 100)})
	must(t, err)
	return s
}

// TestOptionsChanged opens a journal with other options than the last time, kills it at every
// operation, and lets sequences neither begin anew nor anything be lost.
func TestOptionsChanged(t *testing.T) {
	type change struct {
		bytes int64
		files int
	}
	for _, to := range []change{
		{4 * blockBytes, 3}, {16 * blockBytes, 3}, {8 * blockBytes, 2}, {4 * blockBytes, 2},
	} {
		for _, clean := range []bool{false, true} {
			t.Run(fmt.Sprintf("to=%d,%d/clean=%t", to.bytes/blockBytes, to.files, clean), func(t *testing.T) {
				for nth := 1; changeAndDie(t, to.bytes, to.files, clean, nth); nth++ {
				}
			})
		}
	}
}

// changeAndDie is false if the life with the new options has fewer than nth operations.
func changeAndDie(t *testing.T, fileBytes int64, files int, clean bool, nth int) bool {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(nth), 7))
	fs := newFS(t, uint64(nth))
	j := start(t, testOptions(fs))
	for range 17 { // 3 files, the last of them not full
		commit(t, j)
	}
	last := j.Next() - 1
	if clean {
		j.Release(last)
	}
	must(t, j.Close())

	var after *vfs.Crash
	keep := []float64{0, 0.5, 1}[rng.IntN(3)]
	faulty := vfs.NewFaulty(fs, vfs.Fault{Op: vfs.OpAny, Nth: nth, Times: 1, Before: func(string) {
		after = fs.Crash(keep, rng)
	}})
	o := testOptions(faulty)
	o.FileBytes, o.FilesMax = fileBytes, files
	released, err := last*Sequence(b2i(clean)), error(nil)
	if j, err = Open(o); err == nil {
		if err = j.Recovered(); err == nil || j.mu.index == nil {
			released = last
		}
		for i := 0; err == nil && i < 3; i++ {
			var s Sequence
			if s, err = j.Commit([]Entry{entry("a", int64(last)+1, 100)}); err == nil {
				last = s
			}
		}
	}
	if err != nil && !errors.Is(err, vfs.ErrCrashed) {
		t.Fatalf("nth=%d: %v", nth, err)
	}
	died := after != nil
	if !died {
		after = fs.Crash(1, rng)
	}
	o.FS = after
	j, err = Open(o)
	if err != nil {
		t.Fatalf("nth=%d keep=%v: %v", nth, keep, err)
	}
	if next := j.Next(); next != last+1 && next != last+2 {
		t.Fatalf("nth=%d keep=%v: the next sequence is %d, the last one was %d", nth, keep, next, last)
	}
	seen := map[Sequence]bool{}
	for _, r := range replayAll(t, j, 0)["a"] {
		seen[r.sequence] = true
	}
	for s := released + 1; s <= last; s++ {
		if !seen[s] {
			t.Fatalf("nth=%d keep=%v: record %d of %d is lost", nth, keep, s, last)
		}
	}
	must(t, j.Recovered())
	if s := commit(t, j); s <= last {
		t.Fatalf("nth=%d: sequence %d is given a second time", nth, s)
	}
	if st := j.Stats(); st.Files > files || st.FileBytes != int64(st.Files)*fileBytes {
		t.Fatalf("nth=%d: %d files of %d bytes in all", nth, st.Files, st.FileBytes)
	}
	must(t, j.Close())
	return died
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestMark keeps a mark that was damaged from being believed.
func TestMark(t *testing.T) {
	fs := newFS(t, 1)
	j := start(t, testOptions(fs))
	for range 11 {
		commit(t, j)
	}
	j.Release(j.Next() - 1)
	must(t, j.Close())
	name := path.Join(testDir, markName)
	p, err := fs.ReadFile(name)
	must(t, err)
	for i := range p {
		for bit := range 8 {
			p[i] ^= 1 << bit
			must(t, fs.WriteFileAtomic(name, p))
			p[i] ^= 1 << bit
			j, err := Open(testOptions(fs))
			must(t, err)
			if j.Next() != 12 || j.marked {
				t.Fatalf("bit %d of byte %d: next is %d, marked %t", bit, i, j.Next(), j.marked)
			}
			must(t, j.Close())
		}
	}
	must(t, fs.WriteFileAtomic(name, p))
	before := fs.Stats().BytesRead
	j, err = Open(testOptions(fs))
	must(t, err)
	if !j.marked || len(j.Logs()) > 0 || fs.Stats().BytesRead-before > 2048 {
		t.Errorf("after a clean stop %d bytes were read, there are logs %q", fs.Stats().BytesRead-before,
			j.Logs())
	}
	must(t, j.Recovered())
	if _, err := fs.Stat(name); err == nil {
		t.Error("the mark is still there when commits are taken")
	}
	must(t, j.Close())
}

// TestNoMarkAfterFailure replays the record whose commit failed, or its place stays empty: a mark
// would let the next life give its sequence a second time, before a record that is there.
func TestNoMarkAfterFailure(t *testing.T) {
	fs := newFS(t, 1)
	faulty := vfs.NewFaulty(fs)
	j := start(t, testOptions(faulty))
	commit(t, j)
	j.Release(1)
	faulty.Add(vfs.Fault{Op: vfs.OpSync, Err: vfs.ErrIO, Times: 1})
	if _, err := j.Commit([]Entry{entry("a", 9, 9)}); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	must(t, j.Close())
	for life := range 3 {
		j, err := Open(testOptions(fs))
		must(t, err)
		must(t, j.Recovered())
		commit(t, j)
		if life == 1 {
			must(t, j.Close())
		}
	}
}

// TestOneFileOnly uses the only file that there is room for again and again.
func TestOneFileOnly(t *testing.T) {
	for _, manual := range []bool{false, true} {
		faulty := vfs.NewFaulty(newFS(t, 1))
		o := testOptions(faulty)
		o.Manual = manual
		faulty.SetFree(o.FileBytes + 4096)
		j := start(t, o)
		for range 100 {
			j.Release(commit(t, j))
		}
		if s := j.Stats(); s.Files != 1 || s.Recycled < 10 {
			t.Errorf("%+v", s)
		}
		// Full, and nothing released: then there is no room, until there is.
		var err error
		for n := 0; err == nil; n++ {
			if n > 20 {
				t.Fatal("never full")
			}
			_, err = j.Commit([]Entry{entry("a", 1, 100)})
		}
		if !errors.Is(err, ErrFull) || j.OldestFileEnd() == 0 {
			t.Fatalf("want ErrFull, and an oldest file: %v", err)
		}
		faulty.AddFree(o.FileBytes)
		commit(t, j)
		if s := j.Stats(); s.Files != 2 {
			t.Errorf("with room again: %+v", s)
		}
		must(t, j.Close())
	}
}

// TestRecoveredWithoutRoom can be tried again when there is room.
func TestRecoveredWithoutRoom(t *testing.T) {
	faulty := vfs.NewFaulty(newFS(t, 1))
	faulty.SetFree(5000)
	j, err := Open(testOptions(faulty))
	must(t, err)
	for range 2 {
		if err := j.Recovered(); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("want ErrNoSpace, got %v", err)
		}
		if _, err := j.Commit([]Entry{entry("a", 1, 1)}); !errors.Is(err, ErrNotRecovered) {
			t.Fatalf("want ErrNotRecovered, got %v", err)
		}
	}
	if names, err := faulty.List(testDir); err != nil || len(names) > 0 {
		t.Errorf("half a file takes the little room that there is: %v %v", names, err)
	}
	faulty.SetFree(1 << 20)
	must(t, j.Recovered())
	commit(t, j)
	must(t, j.Close())
	if err := j.Recovered(); !errors.Is(err, ErrClosed) {
		t.Errorf("Recovered after Close: %v", err)
	}
}

// TestRefused lists what Commit does not take. Nothing of it is written.
func TestRefused(t *testing.T) {
	j := start(t, testOptions(newFS(t, 1)))
	long := strings.Repeat("x", LogNameBytesMax)
	for name, c := range map[string]struct {
		entries []Entry
		err     error
	}{
		"none":     {nil, nil},
		"kind":     {[]Entry{{Kind: 3, Log: "a"}}, nil},
		"no name":  {[]Entry{{Kind: Ref}}, nil},
		"name":     {[]Entry{{Kind: Ref, Log: long + "x"}}, nil},
		"payload":  {[]Entry{{Kind: Ref, Log: "a", Payload: [][]byte{{1}}}}, nil},
		"too much": {[]Entry{entry("a", 1, j.CommitBytesMax()-EntryBytes("a", 0)+1)}, ErrTooLarge},
	} {
		_, err := j.Commit(c.entries)
		if err == nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := j.Stats(); s.Commits != 0 || j.Next() != 1 {
		t.Errorf("%+v, next is %d", s, j.Next())
	}
	// What just fits is taken.
	_, err := j.Commit([]Entry{entry("a", 1, j.CommitBytesMax()-EntryBytes("a", 0))})
	must(t, err)
	_, err = j.Commit([]Entry{{Kind: Ref, Log: long}})
	must(t, err)
	must(t, j.Close())
	if _, err := j.Commit([]Entry{entry("a", 1, 1)}); !errors.Is(err, ErrClosed) {
		t.Errorf("commit after Close: %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
}

// TestCloseWhileThereIsNoRoom: the journal is closed while its maker finds no room for a file. It
// must ask again whether it is closed before it waits for a change, of which there is none any more.
func TestCloseWhileThereIsNoRoom(t *testing.T) {
	faulty := vfs.NewFaulty(newFS(t, 1))
	o := testOptions(faulty)
	o.Manual = false
	faulty.SetFree(o.FileBytes + 4096)
	j := start(t, o)
	commit(t, j)
	until := func(is func() bool) {
		for done := false; !done; runtime.Gosched() {
			j.mu.Lock()
			done = is()
			j.mu.Unlock()
		}
	}
	until(func() bool { return j.mu.noRoom && !j.mu.making }) // for a second file
	closed := make(chan error, 1)
	faulty.Add(vfs.Fault{Op: vfs.OpOpen, Times: 1, Before: func(string) {
		go func() { closed <- j.Close() }() // the test waits for it
		until(func() bool { return j.mu.closed })
	}})
	j.mu.Lock()
	j.mu.noRoom = false
	j.mu.changed.Broadcast()
	j.mu.Unlock()
	must(t, <-closed)
}

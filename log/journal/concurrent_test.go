package journal

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestConcurrent commits, releases, looks and closes at once, with the goroutine that makes files.
// Run it with the race detector.
func TestConcurrent(t *testing.T) {
	fs := newFS(t, 1)
	o := testOptions(fs)
	o.Manual = false
	j := start(t, o)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { // the owner's drainer
		for {
			select {
			case <-stop:
				return
			case <-j.Wanted():
				j.Release(j.OldestFileEnd())
			}
		}
	})
	wg.Go(func() {
		for range 2000 {
			if s := j.Stats(); s.Files > o.FilesMax || s.Unreleased < 0 {
				t.Errorf("%+v", s)
			}
			_, _ = j.Next(), j.OldestFileEnd()
		}
	})
	last := Sequence(0)
	for n := 0; n < 1000; {
		s, err := j.Commit([]Entry{entry("a", int64(n), 100)})
		if errors.Is(err, ErrFull) {
			j.Release(j.OldestFileEnd())
			continue
		}
		must(t, err)
		if s != last+1 {
			t.Fatalf("sequence %d follows %d", s, last)
		}
		last, n = s, n+1
	}
	close(stop)
	wg.Wait()
	if s := j.Stats(); s.Recycled < 100 {
		t.Errorf("files were hardly used again: %+v", s)
	}
	must(t, j.Close())
	j, err := Open(o)
	must(t, err)
	got := replayAll(t, j, 0)["a"]
	if j.Next() != 1001 || got[len(got)-1].sequence != 1000 {
		t.Errorf("next is %d, %d records are replayed", j.Next(), len(got))
	}
	must(t, j.Close())
}

// TestCloseWakes lets Close end while the maker waits, and while a commit waits for it.
func TestCloseWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		making, proceed := make(chan struct{}), make(chan struct{})
		faulty := vfs.NewFaulty(newFS(t, 1))
		o := testOptions(faulty)
		o.Manual = false
		j, err := Open(o)
		must(t, err)
		faulty.Add(vfs.Fault{Op: vfs.OpOpen, Glob: "0001.journal", Times: 1, Before: func(string) {
			close(making)
			<-proceed
		}})
		must(t, j.Recovered())
		commit(t, j)
		<-making
		var committed, closed error
		var wg sync.WaitGroup
		wg.Go(func() { // fills the first file and waits for the second one
			for committed == nil {
				_, committed = j.Commit([]Entry{entry("a", 1, 100)})
			}
		})
		synctest.Wait()
		if s := j.Stats(); s.Waits != 1 || s.Commits != 6 {
			t.Errorf("no commit waits: %+v", s)
		}
		wg.Go(func() { closed = j.Close() })
		synctest.Wait()
		close(proceed)
		wg.Wait()
		if !errors.Is(committed, ErrClosed) || closed != nil {
			t.Errorf("commit: %v, close: %v", committed, closed)
		}
	})
}

// TestReplayAtOnce replays several logs at the same time.
func TestReplayAtOnce(t *testing.T) {
	fs := newFS(t, 1)
	j := start(t, testOptions(fs))
	for i := range int64(12) {
		var entries []Entry
		for l := range 6 {
			entries = append(entries, entry(fmt.Sprint("log", l), i, 100+l))
		}
		_, err := j.Commit(entries)
		must(t, err)
	}
	must(t, j.Close())
	j, err := Open(testOptions(fs))
	must(t, err)
	var wg sync.WaitGroup
	for l, name := range j.Logs() {
		for from := range Sequence(14) {
			wg.Go(func() {
				next := max(from, 1)
				err := j.Replay(name, from, func(s Sequence, e Entry) error {
					if want := stored(entry(fmt.Sprint("log", l), int64(s)-1, 100+l)); s != next ||
						e.text() != want {
						t.Errorf("log %s from %d: record %d has %.80s, want %d, %.80s", name, from, s,
							e.text(), next, want)
					}
					next++
					return nil
				})
				if err != nil || next != 13 && from < 13 {
					t.Errorf("log %s from %d: ends before %d: %v", name, from, next, err)
				}
			})
		}
	}
	wg.Wait()
	boom := errors.New("boom")
	if err := j.Replay("log1", 0, func(Sequence, Entry) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("the function's error is lost: %v", err)
	}
	must(t, j.Replay("nobody", 0, func(Sequence, Entry) error { return boom }))
	must(t, j.Close())
}

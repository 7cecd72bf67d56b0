package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestFaultAnywhere makes every operation of each kind fail once, and all from it on, and lets the
// power go then. Nothing is acknowledged after a write or a sync has failed; everything that was,
// is there after the restart.
func TestFaultAnywhere(t *testing.T) {
	for _, op := range []vfs.Op{
		vfs.OpOpen, vfs.OpCreate, vfs.OpRead, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename,
		vfs.OpRemove, vfs.OpMkdir, vfs.OpList, vfs.OpStat,
	} {
		for _, cause := range []error{vfs.ErrIO, vfs.ErrNoSpace} {
			for _, times := range []int{1, 0} {
				t.Run(fmt.Sprintf("%v/%v/times=%d", op, cause, times), func(t *testing.T) {
					t.Parallel()
					for nth := 1; faultyLife(t, vfs.Fault{Op: op, Nth: nth, Times: times, Err: cause}); nth++ {
					}
				})
			}
		}
	}
}

// faultyLife is false if the fault has hit nothing.
func faultyLife(t *testing.T, fault vfs.Fault) bool {
	t.Helper()
	nth := fault.Nth
	rng := rand.New(rand.NewPCG(uint64(nth), uint64(fault.Op)))
	fs := newFS(t, uint64(nth))
	o := testOptions(fs)
	j := start(t, o)
	acked, released := map[Sequence]bool{}, Sequence(0)
	for range 9 {
		acked[commit(t, j)] = true
	}
	must(t, j.Close()) // without a mark: all is replayed

	fault.Written = rng.IntN(3) * blockBytes
	hits := 0
	fault.Before = func(string) { hits++ }
	faulty := vfs.NewFaulty(fs, fault)
	o.FS, o.FileBytes = faulty, o.FileBytes/2 // so that files are removed too
	j, err := Open(o)
	if err == nil {
		if err = j.Recovered(); j.mu.index == nil {
			released = 9 // its owner had said that all of it is durable
		}
		if errors.Is(err, ErrNoSpace) && fault.Times == 1 {
			err = j.Recovered()
		}
		failed := error(nil)
		for range 40 {
			s, cErr := j.Commit([]Entry{entry("a", int64(j.Next()), 100)})
			switch {
			case cErr == nil && failed != nil:
				t.Fatalf("%+v: record %d is acknowledged after %v", fault, s, failed)
			case cErr == nil:
				acked[s] = true
			case errors.Is(cErr, ErrFull):
				released = j.OldestFileEnd()
				j.Release(released)
			default:
				failed = cErr
			}
		}
		final := errors.Is(failed, ErrFailed) || err != nil && errors.Is(failed, ErrNotRecovered)
		if failed != nil && !final {
			t.Fatalf("%+v: Recovered: %v, Commit: %v", fault, err, failed)
		}
		if rng.IntN(2) == 0 {
			_ = j.Close() // Its files may fail to close: the power goes next.
		}
	}
	after := fs.Crash([]float64{0, 0.5, 1}[rng.IntN(3)], rng)
	o.FS = after
	j, err = Open(o)
	if err != nil {
		t.Fatalf("%+v: %v", fault, err)
	}
	seen := map[Sequence]bool{}
	for _, r := range replayAll(t, j, 0)["a"] {
		seen[r.sequence] = true
	}
	for s := range acked {
		if s > released && !seen[s] {
			t.Fatalf("%+v: record %d is lost", fault, s)
		}
		if s >= j.Next() {
			t.Fatalf("%+v: record %d was acknowledged, the next one is %d", fault, s, j.Next())
		}
	}
	must(t, j.Close())
	return hits > 0
}

// TestGrowthWithoutRoom is told of a full disk by every operation that makes a further file, and
// goes on with those that it has.
func TestGrowthWithoutRoom(t *testing.T) {
	for op, times := range map[vfs.Op]int{vfs.OpOpen: 1, vfs.OpWrite: 3, vfs.OpSync: 3} {
		for nth := 1; nth <= times; nth++ {
			faulty := vfs.NewFaulty(newFS(t, 1))
			j := start(t, testOptions(faulty))
			commit(t, j)
			faulty.Add(vfs.Fault{
				Op: op, Glob: "0001.journal", Nth: nth, Times: 1, Err: vfs.ErrNoSpace,
			})
			for range 30 {
				if _, err := j.Commit([]Entry{entry("a", 1, 100)}); errors.Is(err, ErrFull) {
					j.Release(j.OldestFileEnd())
				} else if err != nil {
					t.Fatalf("%v %d: %v", op, nth, err)
				}
			}
			must(t, j.Close())
		}
	}
}

// TestHandlesShort is told that there are no file handles when it begins a file anew, which has
// changed nothing: the file is tried again.
func TestHandlesShort(t *testing.T) {
	for _, manual := range []bool{false, true} {
		faulty := vfs.NewFaulty(newFS(t, 1))
		o := testOptions(faulty)
		o.FilesMax, o.Manual = 2, manual
		j := start(t, o)
		for range 6 { // the first file
			j.Release(commit(t, j))
		}
		faulty.Add(vfs.Fault{Op: vfs.OpWrite, Glob: "0000.journal", Times: 2, Err: unix.EMFILE})
		for range 40 {
			s, err := j.Commit([]Entry{entry("a", 1, 100)})
			if !errors.Is(err, ErrFull) {
				must(t, err)
				j.Release(s)
			}
		}
		if s := j.Stats(); s.Recycled < 3 || faulty.Stats().Injected == 0 {
			t.Errorf("%+v, %d errors injected", s, faulty.Stats().Injected)
		}
		must(t, j.Close())
	}
}

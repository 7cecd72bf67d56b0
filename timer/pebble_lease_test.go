package timer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// leaseUses are all operations of an indexLease and of a file of it.
func leaseUses(l *indexLease, f pebblevfs.File) map[string]func() error {
	const c = pebblevfs.WriteCategoryUnspecified
	first := func(_ any, err error) error { return err }
	p := make([]byte, 1)
	return map[string]func() error{
		"Create":          func() error { return first(l.Create("/d/new", c)) },
		"Link":            func() error { return l.Link("/d/f", "/d/new") },
		"Open":            func() error { return first(l.Open("/d/f")) },
		"OpenReadWrite":   func() error { return first(l.OpenReadWrite("/d/new", c)) },
		"OpenDir":         func() error { return first(l.OpenDir("/d")) },
		"Remove":          func() error { return l.Remove("/d/f") },
		"RemoveAll":       func() error { return l.RemoveAll("/d") },
		"Rename":          func() error { return l.Rename("/d/f", "/d/new") },
		"ReuseForWrite":   func() error { return first(l.ReuseForWrite("/d/f", "/d/new", c)) },
		"MkdirAll":        func() error { return l.MkdirAll("/d/new", 0o755) },
		"Lock":            func() error { return first(l.Lock("/d/LOCK")) },
		"List":            func() error { return first(l.List("/d")) },
		"Stat":            func() error { return first(l.Stat("/d/f")) },
		"GetDiskUsage":    func() error { return first(l.GetDiskUsage("/d")) },
		"WriteFileAtomic": func() error { return l.WriteFileAtomic("/d/new", nil) },

		"file.Read":        func() error { return first(f.Read(p)) },
		"file.ReadAt":      func() error { return first(f.ReadAt(p, 0)) },
		"file.Write":       func() error { return first(f.Write(p)) },
		"file.WriteAt":     func() error { return first(f.WriteAt(p, 0)) },
		"file.Preallocate": func() error { return f.Preallocate(0, 1) },
		"file.Stat":        func() error { return first(f.Stat()) },
		"file.Sync":        f.Sync,
		"file.SyncTo":      func() error { return first(f.SyncTo(1)) },
		"file.SyncData":    f.SyncData,
		"file.Prefetch":    func() error { return f.Prefetch(0, 1) },
	}
}

func TestARevokedLeaseReachesNothing(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewCrash(1))
	l := newIndexLease(faulty)
	if err := errors.Join(l.MkdirAll("/d", 0o755), l.WriteFileAtomic("/d/f", []byte("abc"))); err != nil {
		t.Fatal(err)
	}
	f, err := l.OpenReadWrite("/d/f", pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	below := f.(*leasedFile).file
	l.revoke()
	l.revoke() // does no harm
	before := faulty.Ops(vfs.OpAny)
	for name, use := range leaseUses(l, f) {
		if err := use(); !errors.Is(err, errRevoked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := faulty.Ops(vfs.OpAny) - before; n != 0 {
		t.Errorf("%d operations went through", n)
	}
	if f.Fd() != pebblevfs.InvalidFd || l.Unwrap() != nil {
		t.Error("there is a way past the lease")
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := below.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the file below is not closed: %v", err)
	}
}

// TestRevokeWaitsForWhatIsUnderWay: a write that has begun is done before the folder is another's.
func TestRevokeWaitsForWhatIsUnderWay(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	faulty := vfs.NewFaulty(vfs.NewCrash(1), vfs.Fault{
		Op: vfs.OpWrite, Times: 1, Before: func(string) { close(begun); <-goOn },
	})
	l := newIndexLease(faulty)
	f, err := l.Create("/f", pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) <-chan error {
		written := make(chan error, 1)
		go func() {
			_, err := f.Write([]byte(text))
			written <- err
		}()
		return written
	}
	written, revoked := write("abc"), make(chan struct{})
	<-begun
	go func() { l.revoke(); close(revoked) }()
	for l.mu.TryRLock() { // until revoke waits
		l.mu.RUnlock()
	}
	select {
	case <-revoked:
		t.Error("revoked in the middle of a write")
	default:
	}
	late := write("def")
	close(goOn)
	if err := <-written; err != nil {
		t.Errorf("the write under way: %v", err)
	}
	if err := <-late; !errors.Is(err, errRevoked) {
		t.Errorf("a write that began later: %v", err)
	}
	<-revoked
	if data, err := faulty.ReadFile("/f"); err != nil || string(data) != "abc" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

// openBelow returns the files below dir that this process has open.
func openBelow(t *testing.T, dir string) (names []string) {
	t.Helper()
	const fds = "/proc/self/fd"
	entries, err := os.ReadDir(fds)
	if err != nil {
		t.Skipf("this system does not tell which files are open: %v", err)
	}
	for _, e := range entries {
		// One that was closed meanwhile has no name.
		if name, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil && strings.HasPrefix(name, dir) {
			names = append(names, name)
		}
	}
	return names
}

// TestAnAbandonedIndexHoldsNoFile: neither an index that failed while it served nor an opening that
// failed keeps a descriptor or the lock.
func TestAnAbandonedIndexHoldsNoFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	one := &Change{Add: []Entry{entryAt(1, 1, 1)}, Applied: &Applied{}}
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprintf("%v %d", op, nth), func(t *testing.T) {
				faulty := vfs.NewFaulty(vfs.OS())
				ix, err := OpenIndex(faulty, dir, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(openBelow(t, dir)) < 2 {
					t.Fatal("an open index has no file open besides its lock")
				}
				faulty.Add(vfs.Fault{Op: op, Nth: nth, Err: errBroken})
				failed := false
				for range 4 {
					failed = failed || errors.Join(ix.Apply(1, one), ix.Flush()) != nil
				}
				if err := ix.Close(); failed && !errors.Is(err, errBroken) {
					t.Errorf("Close: %v", err)
				}
				if names := openBelow(t, dir); len(names) > 0 {
					t.Errorf("still open after Close: %v", names)
				}
				if _, err := OpenIndex(faulty, dir, nil); !errors.Is(err, errBroken) {
					t.Errorf("OpenIndex on a broken disk: %v", err)
				}
				if names := openBelow(t, dir); len(names) > 0 {
					t.Errorf("still open after a failed opening: %v", names)
				}
			})
		}
	}
}

package timer

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// errRevoked is what an abandoned database gets from its file system.
var errRevoked = errors.New("the database was abandoned")

// indexLease is the file system of one database, until revoke takes it back. Pebble's goroutines
// cannot be ended from outside, and some of them may wait for ever; so that another database can
// be made in the same folder, whatever they still do must reach nothing. It embeds no file system:
// an operation that is not written here does not exist.
type indexLease struct {
	below vfs.FS

	mu struct {
		sync.RWMutex // held by each operation for reading, by revoke for writing
		revoked      bool
	}
	files struct { // short; taken after mu
		sync.Mutex
		open map[*leasedFile]struct{} // bounded by indexFilesMax and what Pebble is writing
	}
}

func newIndexLease(below vfs.FS) *indexLease {
	l := &indexLease{below: below}
	l.files.open = make(map[*leasedFile]struct{})
	return l
}

// revoke takes the file system back. It waits for the operations that are under way, and for
// nothing else, and closes all files. Each later operation fails.
func (l *indexLease) revoke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.revoked = true
	l.files.Lock()
	defer l.files.Unlock()
	for f := range l.files.open {
		_ = f.file.Close() // Nobody will look at what it wrote.
	}
	clear(l.files.open)
}

// enter begins an operation, which exit ends.
func (l *indexLease) enter() error {
	l.mu.RLock()
	if l.mu.revoked {
		l.mu.RUnlock()
		return errRevoked
	}
	return nil
}

func (l *indexLease) exit() { l.mu.RUnlock() }

// do runs one operation.
func (l *indexLease) do(op func() error) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.exit()
	return op()
}

// openFile runs an operation that opens a file.
func (l *indexLease) openFile(open func() (pebblevfs.File, error)) (pebblevfs.File, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.exit()
	file, err := open()
	if err != nil {
		return nil, err // Not a file that holds nil: Pebble closes every file that it has.
	}
	f := &leasedFile{lease: l, file: file}
	l.files.Lock()
	defer l.files.Unlock()
	l.files.open[f] = struct{}{}
	return f, nil
}

// Create is FS.Create.
func (l *indexLease) Create(
	name string, c pebblevfs.DiskWriteCategory,
) (pebblevfs.File, error) {
	return l.openFile(func() (pebblevfs.File, error) { return l.below.Create(name, c) })
}

// Link is FS.Link.
func (l *indexLease) Link(from, to string) error {
	return l.do(func() error { return l.below.Link(from, to) })
}

// Open is FS.Open.
func (l *indexLease) Open(name string, opts ...pebblevfs.OpenOption) (pebblevfs.File, error) {
	return l.openFile(func() (pebblevfs.File, error) { return l.below.Open(name, opts...) })
}

// OpenReadWrite is FS.OpenReadWrite.
func (l *indexLease) OpenReadWrite(
	name string, c pebblevfs.DiskWriteCategory, opts ...pebblevfs.OpenOption,
) (pebblevfs.File, error) {
	return l.openFile(func() (pebblevfs.File, error) {
		return l.below.OpenReadWrite(name, c, opts...)
	})
}

// OpenDir is FS.OpenDir.
func (l *indexLease) OpenDir(name string) (pebblevfs.File, error) {
	return l.openFile(func() (pebblevfs.File, error) { return l.below.OpenDir(name) })
}

// Remove is FS.Remove.
func (l *indexLease) Remove(name string) error {
	return l.do(func() error { return l.below.Remove(name) })
}

// RemoveAll is FS.RemoveAll.
func (l *indexLease) RemoveAll(name string) error {
	return l.do(func() error { return l.below.RemoveAll(name) })
}

// Rename is FS.Rename.
func (l *indexLease) Rename(from, to string) error {
	return l.do(func() error { return l.below.Rename(from, to) })
}

// ReuseForWrite is FS.ReuseForWrite.
func (l *indexLease) ReuseForWrite(
	from, to string, c pebblevfs.DiskWriteCategory,
) (pebblevfs.File, error) {
	return l.openFile(func() (pebblevfs.File, error) { return l.below.ReuseForWrite(from, to, c) })
}

// MkdirAll is FS.MkdirAll.
func (l *indexLease) MkdirAll(dir string, perm fs.FileMode) error {
	return l.do(func() error { return l.below.MkdirAll(dir, perm) })
}

// Lock locks nothing: the PebbleIndex holds the folder's lock through all its databases, so that an
// abandoned one has none to give back.
func (l *indexLease) Lock(string) (io.Closer, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.exit()
	return io.NopCloser(nil), nil
}

// List is FS.List.
func (l *indexLease) List(dir string) (names []string, err error) {
	err = l.do(func() error {
		names, err = l.below.List(dir)
		return err
	})
	return names, err
}

// Stat is FS.Stat.
func (l *indexLease) Stat(name string) (info pebblevfs.FileInfo, err error) {
	err = l.do(func() error {
		info, err = l.below.Stat(name)
		return err
	})
	return info, err
}

// GetDiskUsage is FS.GetDiskUsage.
func (l *indexLease) GetDiskUsage(name string) (usage pebblevfs.DiskUsage, err error) {
	err = l.do(func() error {
		usage, err = l.below.GetDiskUsage(name)
		return err
	})
	return usage, err
}

// PathBase is FS.PathBase.
func (l *indexLease) PathBase(name string) string { return l.below.PathBase(name) }

// PathJoin is FS.PathJoin.
func (l *indexLease) PathJoin(parts ...string) string { return l.below.PathJoin(parts...) }

// PathDir is FS.PathDir.
func (l *indexLease) PathDir(name string) string { return l.below.PathDir(name) }

// Unwrap returns nil: there is no way past the lease.
func (l *indexLease) Unwrap() pebblevfs.FS { return nil }

// WriteFileAtomic is the method of the same name of our own file systems.
func (l *indexLease) WriteFileAtomic(name string, data []byte) error {
	return l.do(func() error { return l.below.WriteFileAtomic(name, data) })
}

// leasedFile is an open file of an indexLease.
type leasedFile struct {
	lease *indexLease
	file  pebblevfs.File
}

// Close is File.Close. A file that was taken back is closed.
func (f *leasedFile) Close() error {
	if f.lease.enter() != nil {
		return nil
	}
	defer f.lease.exit()
	f.lease.files.Lock()
	delete(f.lease.files.open, f)
	f.lease.files.Unlock()
	return f.file.Close()
}

// Read is File.Read.
func (f *leasedFile) Read(p []byte) (int, error) {
	if err := f.lease.enter(); err != nil {
		return 0, err
	}
	defer f.lease.exit()
	return f.file.Read(p)
}

// ReadAt is File.ReadAt.
func (f *leasedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.lease.enter(); err != nil {
		return 0, err
	}
	defer f.lease.exit()
	return f.file.ReadAt(p, off)
}

// Write is File.Write.
func (f *leasedFile) Write(p []byte) (int, error) {
	if err := f.lease.enter(); err != nil {
		return 0, err
	}
	defer f.lease.exit()
	return f.file.Write(p)
}

// WriteAt is File.WriteAt.
func (f *leasedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.lease.enter(); err != nil {
		return 0, err
	}
	defer f.lease.exit()
	return f.file.WriteAt(p, off)
}

// Preallocate is File.Preallocate.
func (f *leasedFile) Preallocate(off, n int64) error {
	return f.lease.do(func() error { return f.file.Preallocate(off, n) })
}

// Stat is File.Stat.
func (f *leasedFile) Stat() (info pebblevfs.FileInfo, err error) {
	err = f.lease.do(func() error {
		info, err = f.file.Stat()
		return err
	})
	return info, err
}

// Sync is File.Sync.
func (f *leasedFile) Sync() error { return f.lease.do(f.file.Sync) }

// SyncTo is File.SyncTo.
func (f *leasedFile) SyncTo(n int64) (fullSync bool, err error) {
	err = f.lease.do(func() error {
		fullSync, err = f.file.SyncTo(n)
		return err
	})
	return fullSync, err
}

// SyncData is File.SyncData.
func (f *leasedFile) SyncData() error { return f.lease.do(f.file.SyncData) }

// Prefetch is File.Prefetch.
func (f *leasedFile) Prefetch(off, n int64) error {
	return f.lease.do(func() error { return f.file.Prefetch(off, n) })
}

// Fd is File.Fd. Pebble asks only whether there is one, and so which kind of sync is cheap.
func (f *leasedFile) Fd() uintptr {
	if f.lease.enter() != nil {
		return pebblevfs.InvalidFd
	}
	defer f.lease.exit()
	return f.file.Fd()
}

var (
	_ pebblevfs.FS   = (*indexLease)(nil)
	_ pebblevfs.File = (*leasedFile)(nil)
)

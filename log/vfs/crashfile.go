package vfs

import (
	"errors"
	"io"
	"io/fs"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// crashFile is an open file or directory of a Crash, for Pebble and for logs.
type crashFile struct {
	fs       *Crash
	inode    *inode
	path     string // cleaned, as it was opened
	writable bool

	// Guarded by fs.mu:
	pos    int64 // for Read and Write
	closed bool
}

var (
	_ pebblevfs.File = (*crashFile)(nil)
	_ LogFile        = (*crashFile)(nil)
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// checkLocked refuses operations on a dead file system, a closed handle or the wrong kind of file.
func (f *crashFile) checkLocked(op string, write bool) error {
	switch {
	case f.fs.mu.dead:
		return pathError(op, f.path, ErrCrashed)
	case f.closed:
		return pathError(op, f.path, fs.ErrClosed)
	case f.inode.dir:
		return pathError(op, f.path, unix.EISDIR)
	case write && !f.writable:
		return pathError(op, f.path, unix.EBADF)
	}
	return nil
}

// Read reads at the handle's position.
func (f *crashFile) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.readLocked(p, f.pos)
	f.pos += int64(n)
	if errors.Is(err, io.EOF) && (n > 0 || len(p) == 0) {
		err = nil // the next Read tells
	}
	return n, err
}

// ReadAt reads at off; it returns io.EOF when it reads less than len(p).
func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.readLocked(p, off)
}

func (f *crashFile) readLocked(p []byte, off int64) (int, error) {
	if err := f.checkLocked("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.path, unix.EINVAL)
	}
	n := f.inode.live.readAt(p, off)
	f.fs.count.read(f.path, n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write writes at the handle's position.
func (f *crashFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.writeLocked(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// WriteAt writes at off.
func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeLocked(p, off)
}

func (f *crashFile) writeLocked(p []byte, off int64) (int, error) {
	if err := f.checkLocked("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", f.path, unix.EINVAL)
	}
	if off > fileBytesMax-int64(len(p)) {
		return 0, pathError("write", f.path, unix.EFBIG)
	}
	if len(p) == 0 {
		return 0, nil
	}
	f.inode.write(p, off)
	f.changedLocked()
	f.fs.count.wrote(len(p))
	return len(p), nil
}

// WriteDirect writes page by page: of an unsynced direct write, a power cut keeps any of its pages.
func (f *crashFile) WriteDirect(p []byte, off int64) error {
	if err := checkDirect(f.path, p, off); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for ; len(p) > 0; p, off = p[DirectAlign:], off+DirectAlign {
		if _, err := f.writeLocked(p[:DirectAlign], off); err != nil {
			return err
		}
	}
	return f.checkLocked("write", true)
}

// WriteDirectAll writes one piece after the other: of an unsynced one, a power cut keeps any pages.
func (f *crashFile) WriteDirectAll(pieces [][]byte, off int64) error {
	return writeDirectEach(f, pieces, off)
}

// Allocate does nothing: this disk is never full. See Faulty.
func (f *crashFile) Allocate(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("allocate", true); err != nil {
		return err
	}
	if off < 0 || n <= 0 {
		return pathError("allocate", f.path, unix.EINVAL)
	}
	return nil
}

// Truncate sets the length.
func (f *crashFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.path, unix.EINVAL)
	}
	if size > fileBytesMax {
		return pathError("truncate", f.path, unix.EFBIG)
	}
	f.inode.truncate(size)
	f.changedLocked()
	return nil
}

func (f *crashFile) changedLocked() {
	f.fs.mu.seq++
	f.inode.modified = f.fs.mu.seq
	if len(f.inode.pending) > 0 {
		f.fs.mu.dirty[f.inode] = struct{}{}
	}
}

// Sync makes the file's bytes and length durable, or the directory's names.
func (f *crashFile) Sync() error {
	n, err := f.beginSync()
	if err != nil {
		return err
	}
	if hook := f.fs.OnSync; hook != nil {
		hook(f.path, n)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.mu.dead { // the power went while the sync was under way
		return pathError("sync", f.path, ErrCrashed)
	}
	if f.inode.dir {
		f.fs.syncDirLocked(f.inode, f.fs.mu.seq)
	} else {
		f.inode.sync()
		delete(f.fs.mu.dirty, f.inode)
	}
	f.fs.count.synced(f.inode.dir)
	return nil
}

// beginSync returns the number of this sync.
func (f *crashFile) beginSync() (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.mu.dead {
		return 0, pathError("sync", f.path, ErrCrashed)
	}
	if f.closed {
		return 0, pathError("sync", f.path, fs.ErrClosed)
	}
	f.fs.mu.syncs++
	return f.fs.mu.syncs, nil
}

// SyncData makes the file's bytes and length durable.
func (f *crashFile) SyncData() error { return f.Sync() }

// SyncTo does nothing, which its contract allows: it may only promise what it has synced.
func (f *crashFile) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// failSync is what a failed fsync does on Linux: the unsynced bytes stay readable and count as
// clean, so that no later sync writes them.
func (f *crashFile) failSync() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if !f.inode.dir {
		f.inode.forget()
		delete(f.fs.mu.dirty, f.inode)
	}
}

// Size returns the length.
func (f *crashFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("size", false); err != nil {
		return 0, err
	}
	return f.inode.live.size, nil
}

// Close closes the handle and syncs nothing.
func (f *crashFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.path, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// Preallocate does nothing, which its contract allows.
func (f *crashFile) Preallocate(int64, int64) error { return nil }

// Prefetch does nothing: all bytes are in memory.
func (f *crashFile) Prefetch(int64, int64) error { return nil }

// Fd returns no descriptor: there is none.
func (f *crashFile) Fd() uintptr { return pebblevfs.InvalidFd }

// Stat describes the file.
func (f *crashFile) Stat() (pebblevfs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	switch {
	case f.fs.mu.dead:
		return nil, pathError("stat", f.path, ErrCrashed)
	case f.closed:
		return nil, pathError("stat", f.path, fs.ErrClosed)
	}
	return infoLocked(f.inode, f.fs.PathBase(f.path)), nil
}

// crashInfo describes a file of a Crash.
type crashInfo struct {
	name     string
	size     int64
	dir      bool
	modified uint64
}

func infoLocked(n *inode, name string) crashInfo {
	return crashInfo{name: name, size: n.live.size, dir: n.dir, modified: n.modified}
}

// Name returns the last part of the path.
func (i crashInfo) Name() string { return i.name }

// Size returns the length in bytes.
func (i crashInfo) Size() int64 { return i.size }

// Mode returns the kind of file; permissions are not kept.
func (i crashInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return filePerm
}

// ModTime returns a time that grows with each change and has nothing to do with a clock, so that
// two runs are alike.
func (i crashInfo) ModTime() time.Time { return time.UnixMilli(int64(i.modified)) }

// IsDir says whether it is a directory.
func (i crashInfo) IsDir() bool { return i.dir }

// Sys returns nil.
func (i crashInfo) Sys() any { return nil }

// DeviceID returns the same id for all files.
func (i crashInfo) DeviceID() pebblevfs.DeviceID { return pebblevfs.DeviceID{} }

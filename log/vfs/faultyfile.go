package vfs

import (
	"io"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// rawFile is what Pebble's files and ours have in common.
type rawFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	SyncData() error
}

// syncFailer is a file that can act as Linux does after a failed fsync.
type syncFailer interface{ failSync() }

// faultyHandle is an open file of a Faulty.
type faultyHandle struct {
	fs   *Faulty
	raw  rawFile
	path string // cleaned, as it was opened
	dir  bool
	size func() (int64, error) // of raw, past the script
}

// ReadAt reads at off.
func (h *faultyHandle) ReadAt(p []byte, off int64) (int, error) {
	return h.read(p, func(p []byte) (int, error) { return h.raw.ReadAt(p, off) })
}

func (h *faultyHandle) read(p []byte, do func([]byte) (int, error)) (int, error) {
	if err := h.fs.check(OpRead, h.path); err != nil {
		return 0, err
	}
	n, err := do(p)
	h.fs.count.read(h.path, n)
	return n, err
}

// WriteAt writes at off.
func (h *faultyHandle) WriteAt(p []byte, off int64) (int, error) {
	return h.write(p, off, func(p []byte) (int, error) { return h.raw.WriteAt(p, off) })
}

// write writes p, which comes to lie at off, by do.
func (h *faultyHandle) write(p []byte, off int64, do func([]byte) (int, error)) (int, error) {
	if fault := h.fs.enter(OpWrite, h.path); fault != nil {
		n, err := h.writeWithin(p[:min(len(p), fault.Written)], off, do)
		if err == nil {
			err = pathError(OpWrite.String(), h.path, fault.Err)
		}
		return n, err
	}
	return h.writeWithin(p, off, do)
}

// writeWithin writes what fits into the free space.
func (h *faultyHandle) writeWithin(
	p []byte, off int64, do func([]byte) (int, error),
) (int, error) {
	space := &h.fs.space
	space.Lock()
	if space.free == unlimited {
		space.Unlock()
		return h.counted(do(p))
	}
	defer space.Unlock()
	size, err := h.size()
	if err != nil {
		return 0, err
	}
	size = h.fs.takenLocked(h.path, size)
	fits := max(min(size-off, int64(len(p))), 0) + space.free // overwriting takes no space
	if fits >= int64(len(p)) {
		n, err := h.counted(do(p))
		space.free -= growth(size, off, n)
		return n, err
	}
	n, err := h.counted(do(p[:fits]))
	space.free -= growth(size, off, n)
	if err == nil {
		h.fs.count.injected()
		err = pathError(OpWrite.String(), h.path, ErrNoSpace)
	}
	return n, err
}

// growth returns how many of n bytes written at off lie behind the end of the file.
func growth(size, off int64, n int) int64 {
	return max(min(off+int64(n)-size, int64(n)), 0)
}

func (h *faultyHandle) counted(n int, err error) (int, error) {
	h.fs.count.wrote(n)
	return n, err
}

// Sync syncs the file or directory.
func (h *faultyHandle) Sync() error { return h.sync(h.raw.Sync) }

// SyncData syncs the file's bytes and length.
func (h *faultyHandle) SyncData() error { return h.sync(h.raw.SyncData) }

func (h *faultyHandle) sync(do func() error) error {
	op := OpSync
	if h.dir {
		op = OpSyncDir
	}
	if err := h.fs.check(op, h.path); err != nil {
		if f, ok := h.raw.(syncFailer); ok {
			f.failSync()
		}
		return err
	}
	err := do()
	if err == nil {
		h.fs.count.synced(h.dir)
	}
	return err
}

// failSync passes on the consequence of a failed sync to a wrapped file.
func (h *faultyHandle) failSync() {
	if f, ok := h.raw.(syncFailer); ok {
		f.failSync()
	}
}

// Close closes the file.
func (h *faultyHandle) Close() error { return h.raw.Close() }

// faultyLog is a LogFile of a Faulty.
type faultyLog struct {
	faultyHandle
	inner LogFile
}

var _ LogFile = (*faultyLog)(nil)

// WriteDirect writes past the page cache. With too little space, whole pages are written.
func (l *faultyLog) WriteDirect(p []byte, off int64) error {
	if err := checkDirect(l.path, p, off); err != nil {
		return err
	}
	_, err := l.write(p, off, func(p []byte) (int, error) {
		p = p[:len(p)&^(DirectAlign-1)]
		if err := l.inner.WriteDirect(p, off); err != nil {
			return 0, err
		}
		return len(p), nil
	})
	return err
}

// WriteDirectAll writes one piece after the other: between any two, the disk may fail.
func (l *faultyLog) WriteDirectAll(pieces [][]byte, off int64) error {
	return writeDirectEach(l, pieces, off)
}

// Allocate takes the space, or fails with ErrNoSpace and takes none.
func (l *faultyLog) Allocate(off, n int64) error {
	if err := l.fs.check(OpAllocate, l.path); err != nil {
		return err
	}
	space := &l.fs.space
	space.Lock()
	defer space.Unlock()
	if space.free == unlimited {
		return l.inner.Allocate(off, n)
	}
	size, err := l.inner.Size()
	if err != nil {
		return err
	}
	need := max(off+n-l.fs.takenLocked(l.path, size), 0)
	if need > space.free {
		l.fs.count.injected()
		return pathError(OpAllocate.String(), l.path, ErrNoSpace)
	}
	if err := l.inner.Allocate(off, n); err != nil {
		return err
	}
	space.free -= need
	space.reserved[l.path] = max(space.reserved[l.path], off+n)
	return nil
}

// Truncate sets the length and gives back the space of what it cuts.
func (l *faultyLog) Truncate(size int64) error {
	if err := l.fs.check(OpTruncate, l.path); err != nil {
		return err
	}
	l.fs.space.Lock()
	defer l.fs.space.Unlock()
	before, err := l.inner.Size()
	if err != nil {
		return err
	}
	if err := l.inner.Truncate(size); err != nil {
		return err
	}
	l.fs.gainLocked(max(l.fs.takenLocked(l.path, before)-size, 0))
	delete(l.fs.space.reserved, l.path)
	return nil
}

// Size returns the length.
func (l *faultyLog) Size() (int64, error) {
	if err := l.fs.check(OpStat, l.path); err != nil {
		return 0, err
	}
	return l.inner.Size()
}

// faultyFile is a file that Pebble opened. As its contract says, one goroutine reads or writes it
// by position.
type faultyFile struct {
	faultyHandle
	inner pebblevfs.File
	pos   int64 // of Read and Write, which move it both
}

var _ pebblevfs.File = (*faultyFile)(nil)

func (f *faultyFile) length() (int64, error) {
	info, err := f.inner.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Read reads at the file's position.
func (f *faultyFile) Read(p []byte) (int, error) {
	n, err := f.read(p, f.inner.Read)
	f.pos += int64(n)
	return n, err
}

// Write writes at the file's position.
func (f *faultyFile) Write(p []byte) (int, error) {
	n, err := f.write(p, f.pos, f.inner.Write)
	f.pos += int64(n)
	return n, err
}

// Stat describes the file.
func (f *faultyFile) Stat() (pebblevfs.FileInfo, error) {
	if err := f.fs.check(OpStat, f.path); err != nil {
		return nil, err
	}
	return f.inner.Stat()
}

// SyncTo does nothing, which its contract allows: every sync that promises something goes through
// the script.
func (f *faultyFile) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// Preallocate passes the hint on, unless the space is limited: what is only reserved would escape
// the count.
func (f *faultyFile) Preallocate(offset, length int64) error {
	f.fs.space.Lock()
	defer f.fs.space.Unlock()
	if f.fs.space.free != unlimited {
		return nil
	}
	return f.inner.Preallocate(offset, length)
}

// Prefetch passes the hint on.
func (f *faultyFile) Prefetch(offset, length int64) error {
	return f.inner.Prefetch(offset, length)
}

// Fd returns the wrapped file's descriptor, which Pebble uses for hints only.
func (f *faultyFile) Fd() uintptr { return f.inner.Fd() }

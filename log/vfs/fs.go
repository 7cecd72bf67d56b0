package vfs

import (
	"fmt"
	"io"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// ReadFileBytesMax bounds what ReadFile reads: it is meant for small files (notes, locks, epochs),
// and a damaged length must not exhaust memory.
const ReadFileBytesMax = 64 << 20

// FS is a file system. All methods may be called from any goroutine. Errors name the operation and
// the path, and wrap io/fs's ErrNotExist and ErrExist and ENOSPC where these apply.
type FS interface {
	pebblevfs.FS

	// OpenLog opens the file for positional reads and writes. It creates the file when it does not
	// exist (durable after SyncDir) and never truncates it.
	OpenLog(name string) (LogFile, error)
	// SyncDir makes the names in dir durable: files made, renamed and removed there so far.
	SyncDir(dir string) error
	// ReadFile returns the content of a small file. A file larger than ReadFileBytesMax is
	// refused with ErrTooLarge.
	ReadFile(name string) ([]byte, error)
	// WriteFileAtomic replaces the file's content: after a crash at any point the file has either
	// the old or the new content, whole, and once the call has returned without error, the new.
	// It writes name+".tmp" first, so each name must have one writer at a time.
	WriteFileAtomic(name string, data []byte) error
}

// LogFile is an open file for positional access. ReadAt, WriteAt, Size and the syncs may be called
// from several goroutines at once; a sync covers the writes that returned before it was called.
type LogFile interface {
	io.ReaderAt
	io.WriterAt
	// WriteDirect writes past the page cache where the file system can, and like WriteAt elsewhere,
	// and while the process has no second handle for it.
	// Position, length and memory are multiples of DirectAlign; see AlignedBuffer. It is coherent
	// with ReadAt, and durable after a sync, like WriteAt. It must not overlap a WriteAt that is
	// under way.
	WriteDirect(p []byte, off int64) error
	// WriteDirectAll is WriteDirect of pieces that follow each other in the file, in one go where
	// the system can.
	WriteDirectAll(pieces [][]byte, off int64) error
	// Allocate reserves disk space for n bytes at off and leaves the length as it is, so that
	// writes there do not find the disk full. Where the file system cannot, it does nothing.
	// Truncate gives back what is reserved beyond the new length.
	Allocate(off, n int64) error
	// Truncate sets the length: it cuts the file, or extends it with zeros.
	Truncate(size int64) error
	// SyncData makes the written bytes and the length durable (fdatasync).
	SyncData() error
	// Sync makes the written bytes and all of the file's metadata durable (fsync).
	Sync() error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Close closes the file. It does not sync.
	Close() error
}

// readFile is ReadFile for every FS.
func readFile(fs pebblevfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if info.Size() > ReadFileBytesMax {
		return nil, fmt.Errorf("read %s: over %d bytes: %w", name, ReadFileBytesMax, ErrTooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(f, ReadFileBytesMax)) // it may be growing
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

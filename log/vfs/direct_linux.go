package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// openDirect opens a file a second time, past the page cache. errNoDirect means that the file
// system of this file cannot do it.
func openDirect(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, filePerm)
	if errors.Is(err, unix.EINVAL) {
		return nil, errNoDirect
	}
	return f, err
}

// vectorPiecesMax is how many pieces one call takes (IOV_MAX).
const vectorPiecesMax = 1024

// writeVector writes pieces that follow each other in the file, with one call for many. The system
// may take fewer bytes than it was given; it is asked again for the rest, as os.File.WriteAt does.
func writeVector(f *os.File, pieces [][]byte, off int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	pieces = slices.Clone(pieces)
	for len(pieces) > 0 {
		var n int
		var writeErr error
		err := raw.Control(func(fd uintptr) {
			n, writeErr = unix.Pwritev(int(fd), pieces[:min(len(pieces), vectorPiecesMax)], off)
		})
		switch {
		case err != nil:
			return err
		case errors.Is(writeErr, unix.EINTR):
			continue
		case writeErr != nil:
			return pathError("write", f.Name(), writeErr)
		case n == 0:
			return pathError("write", f.Name(), io.ErrShortWrite)
		}
		off += int64(n)
		for n > 0 {
			k := min(n, len(pieces[0]))
			if pieces[0], n = pieces[0][k:], n-k; len(pieces[0]) == 0 {
				pieces = pieces[1:]
			}
		}
	}
	return nil
}

// allocate reserves space and leaves the length as it is. A file system that cannot reserve says
// so, and its writes then fail when they find no room.
func allocate(fd int, off, n int64) error {
	for {
		err := unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		case err != nil:
			return fmt.Errorf("fallocate %d bytes at %d: %w", n, off, err)
		}
		return nil
	}
}

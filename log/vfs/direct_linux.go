package vfs

import (
	"errors"
	"fmt"
	"os"

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

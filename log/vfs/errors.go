package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrNoSpace is the operating system's ENOSPC. The fakes return errors that wrap it as well.
var ErrNoSpace error = unix.ENOSPC

// ErrIO is the operating system's EIO, for a Fault: the disk did not do it.
var ErrIO error = unix.EIO

// ErrLocked is wrapped by the error of Lock when the file is locked already, by this process or by
// another one.
var ErrLocked = errors.New("file is locked")

// ErrCrashed is wrapped by every operation on a file system that has lost power, and on the files
// that were open in it.
var ErrCrashed = errors.New("file system lost power")

// ErrTooLarge is wrapped by the error of ReadFile for a file larger than ReadFileBytesMax.
var ErrTooLarge = errors.New("file is too large to be read whole")

// IsNoSpace reports whether err says that the disk (or the user's quota) is full. The bytes of
// that write may be there in part; what was written before is intact.
func IsNoSpace(err error) bool {
	return errors.Is(err, ErrNoSpace) || errors.Is(err, unix.EDQUOT)
}

// IsShortage reports whether err says that something ran out which may be there again later: space,
// or file handles of the process or the machine. A call that failed for want of a handle has done
// nothing.
func IsShortage(err error) bool {
	return IsNoSpace(err) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

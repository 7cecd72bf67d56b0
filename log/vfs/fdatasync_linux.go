package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// fdatasync makes the file's bytes and length durable. Only an interruption by a signal is tried
// again: after any other error the kernel may have dropped the pages, and a second call would
// "succeed" without having written them.
func fdatasync(fd int) error {
	for {
		err := unix.Fdatasync(fd)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

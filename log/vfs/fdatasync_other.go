//go:build !linux

package vfs

import "golang.org/x/sys/unix"

// fdatasync makes the file's bytes and length durable with the call that every Unix has.
func fdatasync(fd int) error { return unix.Fsync(fd) }

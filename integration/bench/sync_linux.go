package main

import (
	"os"
	"syscall"
)

// dataSync makes the bytes of a file durable, as the server does it.
func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// flushDisk waits until nothing dirty is left: the writes of one run must not slow the next.
func flushDisk() { syscall.Sync() }

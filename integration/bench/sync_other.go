//go:build !linux

package main

import "os"

// dataSync makes the bytes of a file durable.
func dataSync(f *os.File) error { return f.Sync() }

// flushDisk does nothing: the figures of other systems are not the ones that count.
func flushDisk() {}

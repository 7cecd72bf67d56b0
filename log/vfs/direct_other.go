//go:build !linux

package vfs

import "os"

// openDirect is for Linux; elsewhere direct writes go through the page cache.
func openDirect(string) (*os.File, error) { return nil, errNoDirect }

// writeVector is for Linux; elsewhere there are no direct writes.
func writeVector(*os.File, [][]byte, int64) error { return errNoDirect }

// allocate is for Linux; elsewhere a write fails when it finds no room.
func allocate(int, int64, int64) error { return nil }

//go:build !linux

package harness

import "testing"

// SmallDisk is a file system of its own, with little room.
type SmallDisk struct{ Dir string }

// NewSmallDisk skips the test: only Linux has what it mounts.
func NewSmallDisk(tb testing.TB, _ int64) *SmallDisk {
	tb.Helper()
	tb.Skip("a small disk is mounted on Linux only")
	return nil
}

// Free returns 0.
func (d *SmallDisk) Free() int64 { return 0 }

// Leave does nothing.
func (d *SmallDisk) Leave(int64) {}

// DropBallast does nothing.
func (d *SmallDisk) DropBallast() {}

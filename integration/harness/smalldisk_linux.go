package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// SmallDisk is a file system of its own, with little room. It is in memory.
type SmallDisk struct {
	Dir     string
	tb      testing.TB
	ballast string
}

// NewSmallDisk mounts a file system of a size and unmounts it when the test ends, so ask for it
// before a server that uses it. Only root may mount: without it, the test is skipped.
func NewSmallDisk(tb testing.TB, bytes int64) *SmallDisk {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("mounting a small disk needs root")
	}
	d := &SmallDisk{Dir: tb.TempDir(), tb: tb}
	d.ballast = filepath.Join(d.Dir, "ballast")
	size := "size=" + strconv.FormatInt(bytes, 10)
	if err := syscall.Mount("chronos-test", d.Dir, "tmpfs", 0, size); err != nil {
		Missing(tb, "mount a tmpfs: %v; in a container this needs CAP_SYS_ADMIN", err)
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(d.Dir, 0); err != nil {
			tb.Errorf("unmount %s: %v", d.Dir, err)
		}
	})
	return d
}

// Free returns how many bytes there is room for.
func (d *SmallDisk) Free() int64 {
	d.tb.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &stat); err != nil {
		d.tb.Fatalf("statfs %s: %v", d.Dir, err)
	}
	return int64(stat.Bavail) * stat.Bsize
}

// Leave fills the disk with ballast but for so many bytes.
func (d *SmallDisk) Leave(bytes int64) {
	d.tb.Helper()
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.tb.Fatalf("make ballast: %v", err)
	}
	chunk := make([]byte, 64<<10)
	for room := d.Free() - bytes; room > 0 && err == nil; room = d.Free() - bytes {
		_, err = f.Write(chunk[:min(room, int64(len(chunk)))])
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		d.tb.Fatalf("write ballast: %v", err)
	}
}

// DropBallast gives back the room that Leave took.
func (d *SmallDisk) DropBallast() {
	d.tb.Helper()
	if err := os.Remove(d.ballast); err != nil {
		d.tb.Fatalf("remove ballast: %v", err)
	}
}

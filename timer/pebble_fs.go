package timer

import (
	"runtime"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// indexSpaceRetry is how often a write that met a full disk is tried again.
const indexSpaceRetry = 100 * time.Millisecond

// indexFS is the file system below Pebble. A write that meets a full disk waits here until there is
// space: Pebble would throw its output away and start over at once, for ever. The schedules behind
// it wait too, as their own deliveries do. While the index opens or closes a full disk is an error.
type indexFS struct {
	pebblevfs.FS
	d *indexDatabase
}

// GetDiskUsage tells Pebble not to look: it only paces deletions by it, and an error would count as
// a failure.
func (f indexFS) GetDiskUsage(string) (pebblevfs.DiskUsage, error) {
	return pebblevfs.DiskUsage{}, pebblevfs.ErrUnsupported
}

// Unwrap returns the file system below.
func (f indexFS) Unwrap() pebblevfs.FS { return f.FS }

// Create is FS.Create, waiting for space.
func (f indexFS) Create(
	name string, c pebblevfs.DiskWriteCategory,
) (file pebblevfs.File, err error) {
	err = f.d.retry(name, func() error {
		file, err = f.FS.Create(name, c)
		return err
	})
	if err != nil {
		return nil, err // Not a file that holds nil: Pebble closes every file that it has.
	}
	return indexFile{file, f.d, name}, nil
}

// OpenDir is FS.OpenDir, for syncs that must not fail: see indexDir.
func (f indexFS) OpenDir(name string) (pebblevfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return indexDir{dir, f.d}, nil
}

// indexDir is a folder that Pebble syncs.
type indexDir struct {
	pebblevfs.File
	d *indexDatabase
}

// Sync is File.Sync. A failure ends the index and this goroutine: Pebble would panic with it, in
// goroutines of its own where nobody can recover.
func (dir indexDir) Sync() error {
	if err := dir.File.Sync(); err != nil {
		dir.d.fail(err)
		runtime.Goexit()
	}
	return nil
}

// Rename is FS.Rename, waiting for space.
func (f indexFS) Rename(from, to string) error {
	return f.d.retry(to, func() error { return f.FS.Rename(from, to) })
}

// ReuseForWrite is FS.ReuseForWrite, waiting for space.
func (f indexFS) ReuseForWrite(
	from, to string, c pebblevfs.DiskWriteCategory,
) (file pebblevfs.File, err error) {
	err = f.d.retry(to, func() error {
		file, err = f.FS.ReuseForWrite(from, to, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return indexFile{file, f.d, to}, nil
}

// indexFile is a file that Pebble writes.
type indexFile struct {
	pebblevfs.File
	d    *indexDatabase
	name string
}

// Write is File.Write, waiting for space: it goes on behind what the full disk still took.
func (f indexFile) Write(p []byte) (n int, err error) {
	err = f.d.retry(f.name, func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

// retry calls op until it meets no full disk, and no want of file handles.
func (d *indexDatabase) retry(name string, op func() error) error {
	for warned := false; ; warned = true {
		err := op()
		if err == nil || !vfs.IsShortage(err) {
			return err
		}
		if !warned {
			d.ix.logger.Warn("no space or no file handle; the schedule index waits for it",
				zap.String("file", name), zap.Error(err))
		}
		if !d.waitForSpace() {
			return err
		}
	}
}

// waitForSpace waits a moment. It returns false while the index opens, and once it closes or
// failed.
func (d *indexDatabase) waitForSpace() bool {
	select {
	case <-d.ix.serving:
	default:
		return false
	}
	t := clock.Real().NewTimer(indexSpaceRetry)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-d.ix.closing:
		return false
	case <-d.failed:
		return false
	}
}

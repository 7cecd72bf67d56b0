package explore

import (
	"io"
	"io/fs"
	"sync"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// life is the file system of one process. When the process ends, what its goroutines are doing to
// files is over, and they do nothing any more: not even those of an index that cannot be closed, which
// live on in the test. Reading is left alone; it harms nobody.
type life struct {
	vfs.FS
	mu    sync.RWMutex // held for reading while an operation runs
	ended bool
}

// end ends the process. It returns when no operation runs.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

func (l *life) do(op func() error) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended {
		return errKilled
	}
	return op()
}

func (l *life) open(op func() (pebblevfs.File, error)) (pebblevfs.File, error) {
	var f pebblevfs.File
	err := l.do(func() (err error) {
		f, err = op()
		return err
	})
	if err != nil {
		return nil, err
	}
	return lifeFile{f, l}, nil
}

func (l *life) Create(name string, c pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	return l.open(func() (pebblevfs.File, error) { return l.FS.Create(name, c) })
}

func (l *life) OpenReadWrite(
	name string, c pebblevfs.DiskWriteCategory, o ...pebblevfs.OpenOption,
) (pebblevfs.File, error) {
	return l.open(func() (pebblevfs.File, error) { return l.FS.OpenReadWrite(name, c, o...) })
}

func (l *life) ReuseForWrite(from, to string, c pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	return l.open(func() (pebblevfs.File, error) { return l.FS.ReuseForWrite(from, to, c) })
}

func (l *life) OpenDir(name string) (pebblevfs.File, error) {
	return l.open(func() (pebblevfs.File, error) { return l.FS.OpenDir(name) })
}

func (l *life) OpenLog(name string) (vfs.LogFile, error) {
	var f vfs.LogFile
	err := l.do(func() (err error) {
		f, err = l.FS.OpenLog(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return lifeLog{f, l}, nil
}

func (l *life) Lock(name string) (c io.Closer, err error) {
	err = l.do(func() (err error) {
		c, err = l.FS.Lock(name)
		return err
	})
	return c, err
}

func (l *life) Link(from, to string) error {
	return l.do(func() error { return l.FS.Link(from, to) })
}

func (l *life) Rename(from, to string) error {
	return l.do(func() error { return l.FS.Rename(from, to) })
}

func (l *life) Remove(name string) error {
	return l.do(func() error { return l.FS.Remove(name) })
}

func (l *life) RemoveAll(name string) error {
	return l.do(func() error { return l.FS.RemoveAll(name) })
}

func (l *life) MkdirAll(name string, perm fs.FileMode) error {
	return l.do(func() error { return l.FS.MkdirAll(name, perm) })
}

func (l *life) SyncDir(name string) error {
	return l.do(func() error { return l.FS.SyncDir(name) })
}

func (l *life) WriteFileAtomic(name string, data []byte) error {
	return l.do(func() error { return l.FS.WriteFileAtomic(name, data) })
}

// lifeFile is a file that the index has open.
type lifeFile struct {
	pebblevfs.File
	life *life
}

func (f lifeFile) Write(p []byte) (n int, err error) {
	err = f.life.do(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f lifeFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.life.do(func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f lifeFile) Sync() error     { return f.life.do(f.File.Sync) }
func (f lifeFile) SyncData() error { return f.life.do(f.File.SyncData) }

func (f lifeFile) SyncTo(length int64) (full bool, err error) {
	err = f.life.do(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// lifeLog is a file that a log has open.
type lifeLog struct {
	vfs.LogFile
	life *life
}

func (f lifeLog) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.life.do(func() (err error) {
		n, err = f.LogFile.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f lifeLog) Truncate(size int64) error {
	return f.life.do(func() error { return f.LogFile.Truncate(size) })
}

func (f lifeLog) Sync() error     { return f.life.do(f.LogFile.Sync) }
func (f lifeLog) SyncData() error { return f.life.do(f.LogFile.SyncData) }

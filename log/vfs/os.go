package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// OS returns the machine's file system.
func OS() FS { return osFS{pebblevfs.Default} }

// osFS is Pebble's default file system with the methods that logs need.
type osFS struct{ pebblevfs.FS }

// filePerm is the mode of the files made here: schedules and messages are nobody else's business,
// but a backup tool in the same group may read them.
const filePerm = 0o640

func (osFS) OpenLog(name string) (LogFile, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, filePerm)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osLogFile{f: f, raw: raw}, nil
}

func (fs osFS) SyncDir(dir string) error { return syncDir(fs, dir) }

func (fs osFS) ReadFile(name string) ([]byte, error) { return readFile(fs, name) }

func (fs osFS) WriteFileAtomic(name string, data []byte) error {
	return writeFileAtomic(fs, name, data)
}

// Lock takes an exclusive flock on the file, which it creates when missing and leaves as it is
// otherwise. Unlike Pebble's fcntl lock, it belongs to the open file, not to the process: a second
// Lock in the same process fails too, and closing another handle of the file does not release it.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, filePerm)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		return f, nil // closing the file releases the lock
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
}

// osLogFile is a LogFile over an operating system's file.
type osLogFile struct {
	f   *os.File
	raw syscall.RawConn // keeps the descriptor open for as long as a sync runs
}

func (l *osLogFile) ReadAt(p []byte, off int64) (int, error) { return l.f.ReadAt(p, off) }

func (l *osLogFile) WriteAt(p []byte, off int64) (int, error) { return l.f.WriteAt(p, off) }

func (l *osLogFile) Truncate(size int64) error { return l.f.Truncate(size) }

func (l *osLogFile) Sync() error { return l.f.Sync() }

func (l *osLogFile) SyncData() error {
	var err error
	if ctlErr := l.raw.Control(func(fd uintptr) { err = fdatasync(int(fd)) }); ctlErr != nil {
		return fmt.Errorf("fdatasync %s: %w", l.f.Name(), ctlErr)
	}
	if err != nil {
		return fmt.Errorf("fdatasync %s: %w", l.f.Name(), err)
	}
	return nil
}

func (l *osLogFile) Size() (int64, error) {
	info, err := l.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (l *osLogFile) Close() error { return l.f.Close() }

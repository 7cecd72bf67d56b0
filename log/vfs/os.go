package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
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

	direct struct { // a second descriptor, opened at the first direct write
		sync.Mutex
		file    *os.File
		refused bool // the file system has no direct writes
		closed  bool
	}
}

// The reasons for which a file cannot be opened for direct writes.
var (
	errNoDirect = errors.New("no direct writes")
	// errNoHandle passes: the next write tries again.
	errNoHandle = errors.New("no handle for direct writes")
)

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

func (l *osLogFile) WriteDirect(p []byte, off int64) error {
	if err := checkDirect(l.f.Name(), p, off); err != nil {
		return err
	}
	f, err := l.directFile()
	if err == nil {
		_, err = f.WriteAt(p, off)
	}
	if errors.Is(err, errNoHandle) {
		_, err = l.f.WriteAt(p, off)
		return err
	}
	if errors.Is(err, errNoDirect) || errors.Is(err, unix.EINVAL) {
		// Not this file system, or not with this block size. Some say so only at the write.
		l.direct.Lock()
		l.direct.refused = true
		l.direct.Unlock()
		_, err = l.f.WriteAt(p, off)
	}
	return err
}

func (l *osLogFile) WriteDirectAll(pieces [][]byte, off int64) error {
	if len(pieces) < 2 {
		return writeDirectEach(l, pieces, off)
	}
	at := off
	for _, p := range pieces {
		if err := checkDirect(l.f.Name(), p, at); err != nil {
			return err
		}
		at += int64(len(p))
	}
	f, err := l.directFile()
	if err == nil {
		err = writeVector(f, pieces, off)
	}
	if errors.Is(err, errNoDirect) || errors.Is(err, errNoHandle) || errors.Is(err, unix.EINVAL) {
		return writeDirectEach(l, pieces, off) // finds out what this file system can do
	}
	return err
}

// directFile returns the descriptor for direct writes. That the process has no more of them is no
// reason to fail a write that the ordinary one can do.
func (l *osLogFile) directFile() (*os.File, error) {
	l.direct.Lock()
	defer l.direct.Unlock()
	switch {
	case l.direct.closed:
		return nil, pathError("write", l.f.Name(), os.ErrClosed)
	case l.direct.refused:
		return nil, errNoDirect
	case l.direct.file == nil:
		f, err := openDirect(l.f.Name())
		if IsShortage(err) {
			return nil, errNoHandle
		}
		if err != nil {
			return nil, err
		}
		l.direct.file = f
	}
	return l.direct.file, nil
}

func (l *osLogFile) Allocate(off, n int64) error {
	var err error
	if ctlErr := l.raw.Control(func(fd uintptr) { err = allocate(int(fd), off, n) }); ctlErr != nil {
		err = ctlErr
	}
	if err != nil {
		return pathError("allocate", l.f.Name(), err)
	}
	return nil
}

func (l *osLogFile) Close() error {
	l.direct.Lock()
	direct := l.direct.file
	l.direct.file, l.direct.closed = nil, true
	l.direct.Unlock()
	var err error
	if direct != nil {
		err = direct.Close()
	}
	return errors.Join(err, l.f.Close())
}

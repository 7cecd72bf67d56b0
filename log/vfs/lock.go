package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// lockName is the file in a data directory that its one process holds locked.
const lockName = "LOCK"

// Holder is who holds a directory lock, as written into the LOCK file.
type Holder struct {
	Pid     int       // process id
	Started time.Time // when the process opened the directory; kept to the second
}

// HeldError says that a directory is in use. It wraps ErrLocked.
type HeldError struct {
	Path    string    // the LOCK file
	Pid     int       // the process that holds it; 0 when the file does not say
	Started time.Time // since when; zero when the file does not say
}

// Error names the process to look at.
func (e *HeldError) Error() string {
	if e.Pid == 0 {
		return fmt.Sprintf("%s is locked by another process; stop it first", e.Path)
	}
	return fmt.Sprintf("%s is locked by process %d, started %s; stop it first",
		e.Path, e.Pid, e.Started.UTC().Format(time.RFC3339))
}

// Unwrap returns ErrLocked.
func (e *HeldError) Unwrap() error { return ErrLocked }

// LockDir locks the directory, which must exist, for this process until the returned Closer is
// closed or the process ends, however it ends. When it is locked already, by this process or by
// another, the error is a *HeldError that names the holder.
func LockDir(fs FS, dir string, holder Holder) (io.Closer, error) {
	name := fs.PathJoin(dir, lockName)
	lock, err := fs.Lock(name)
	if errors.Is(err, ErrLocked) {
		held := readHolder(fs, name)
		return nil, &HeldError{Path: name, Pid: held.Pid, Started: held.Started}
	}
	if err != nil {
		return nil, fmt.Errorf("lock directory %s: %w", dir, err)
	}
	if err := writeHolder(fs, name, holder); err != nil {
		return nil, errors.Join(fmt.Errorf("lock directory %s: %w", dir, err), lock.Close())
	}
	return &dirLock{fs: fs, name: name, lock: lock}, nil
}

// HolderOf reads who holds a directory, or held it when the process was killed, as the LOCK file
// says. It does not touch the lock: taking it, however briefly, could make a start fail. The zero
// Holder means that nobody is named.
func HolderOf(fs FS, dir string) Holder { return readHolder(fs, fs.PathJoin(dir, lockName)) }

// dirLock is a held directory lock.
type dirLock struct {
	fs   FS
	name string
	lock io.Closer
}

// Close releases the lock. The file stays: removing it would let two processes hold two files of
// the same name. It is emptied first, so that it never names a process that has let go.
func (d *dirLock) Close() error {
	return errors.Join(writeText(d.fs, d.name, ""), d.lock.Close())
}

// writeHolder writes the holder in place: the lock belongs to the file, so another file must not
// take its name. Nothing is synced; after a crash nobody holds the lock.
func writeHolder(fs FS, name string, h Holder) error {
	return writeText(fs, name, fmt.Sprintf("pid %d\nstarted %s\n",
		h.Pid, h.Started.UTC().Format(time.RFC3339)))
}

func writeText(fs FS, name, text string) error {
	f, err := fs.OpenLog(name)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil && text != "" {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// readHolder reads who holds the lock. What cannot be read is left zero: the holder may be just
// about to write it, and the file only informs.
func readHolder(fs FS, name string) Holder {
	var h Holder
	data, err := fs.ReadFile(name)
	if err != nil {
		return h
	}
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case "pid":
			if pid, err := strconv.Atoi(value); err == nil {
				h.Pid = pid
			}
		case "started":
			if t, err := time.Parse(time.RFC3339, value); err == nil {
				h.Started = t
			}
		}
	}
	return h
}

package log

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	formatName   = "FORMAT"
	formatPrefix = "chronosdb "
	// formatVersion is the version of everything below a data directory. It rises when an older
	// version of the program could misread what a newer one writes.
	formatVersion = 2
	formatText    = formatPrefix + "2\n"
)

// Dir is a data directory that this process has locked.
type Dir struct {
	lock io.Closer
}

// OpenDir makes the directory when it is missing, locks it, and checks its format version. A
// directory that another process holds is a *vfs.HeldError, one of a newer version ErrFormatNewer.
func OpenDir(fs vfs.FS, dir string, now time.Time) (*Dir, error) {
	if err := makeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	lock, err := vfs.LockDir(fs, dir, vfs.Holder{Pid: os.Getpid(), Started: now})
	if err != nil {
		return nil, err
	}
	if err := checkFormat(fs, dir); err != nil {
		_ = lock.Close() // the error that matters is the other one
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return &Dir{lock: lock}, nil
}

// Close unlocks the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// makeDir makes the directory and those above it, and syncs the name of each one it has made.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	} else if !isNotExist(err) {
		return err
	}
	above := fs.PathDir(dir)
	if above != dir {
		if err := makeDir(fs, above); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, dirPerm); err != nil {
		return err
	}
	return fs.SyncDir(above)
}

// checkFormat reads the version, or writes it into a directory that is new.
func checkFormat(fs vfs.FS, dir string) error {
	path := fs.PathJoin(dir, formatName)
	p, err := fs.ReadFile(path)
	if isNotExist(err) {
		return createFormat(fs, dir)
	}
	if err != nil {
		return err
	}
	if err := judgeFormat(path, p); err != nil || string(p) == formatText {
		return err
	}
	// All that an older version has written is read as it is. It must not be run again on what is
	// written now.
	return storeFormat(fs, dir)
}

// InspectFormat checks the version of a data directory and changes nothing: one without a version
// is none of ours.
func InspectFormat(fs vfs.FS, dir string) error {
	path := fs.PathJoin(dir, formatName)
	p, err := fs.ReadFile(path)
	if isNotExist(err) {
		return fmt.Errorf("there is no file %s; is this a data directory of ChronosDB? %w", path,
			ErrFormatUnknown)
	}
	if err != nil {
		return err
	}
	return judgeFormat(path, p)
}

// judgeFormat reads the content of the file at that path.
func judgeFormat(path string, p []byte) error {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(string(p), "\n"), formatPrefix)
	version, err := strconv.Atoi(digits)
	if !ok || err != nil || version < 1 {
		return fmt.Errorf("%s says %.40q; is this a data directory of ChronosDB? %w", path, p,
			ErrFormatUnknown)
	}
	if version > formatVersion {
		return fmt.Errorf("%s says version %d, this program knows up to %d; run a newer chronos: %w",
			path, version, formatVersion, ErrFormatNewer)
	}
	return nil
}

func storeFormat(fs vfs.FS, dir string) error {
	return fs.WriteFileAtomic(fs.PathJoin(dir, formatName), []byte(formatText))
}

// createFormat writes the version before anything else is written. Data without it is not ours to
// guess about.
func createFormat(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range []string{"topics", "metadata", "index", "journal"} {
		if slices.Contains(names, name) {
			return fmt.Errorf("there is a folder %s but no file %s: %w", name, formatName,
				ErrFormatUnknown)
		}
	}
	// A crash may have come after an earlier run made the directory and before its name was synced.
	if err := fs.SyncDir(fs.PathDir(dir)); err != nil {
		return err
	}
	return storeFormat(fs, dir)
}

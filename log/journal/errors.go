package journal

import (
	"errors"
	"fmt"
)

// The errors of this package. Each comes wrapped with what was tried and on which file.
var (
	// ErrClosed: the journal has been closed.
	ErrClosed = errors.New("commit journal is closed")
	// ErrFailed: a write or fdatasync of the journal has failed. It is final for this process, as
	// nobody knows what is on the disk.
	ErrFailed = errors.New("commit journal failed and takes no more commits until a restart")
	// ErrNoSpace: the disk has no room for the first file.
	ErrNoSpace = errors.New("no space left for the commit journal")
	// ErrFull: every file is full and none has been released. Nothing was written; drain what
	// OldestFileEnd names, Release it, and commit again.
	ErrFull = errors.New("every file of the commit journal is full")
	// ErrTooLarge: a commit has more bytes than one record may have. Nothing was written.
	ErrTooLarge = errors.New("commit is too large for one record")
	// ErrCorrupt is wrapped by every CorruptError.
	ErrCorrupt = errors.New("commit journal is corrupt")
	// ErrNotRecovered: a commit before Recovered.
	ErrNotRecovered = errors.New("commit journal has not been recovered from")
)

// CorruptError says where a record is not what was once written and synced. It wraps ErrCorrupt.
type CorruptError struct {
	File     string // File is the path of the damaged file.
	Position int64  // Position is the byte at which the damage begins.
	Err      error  // Err says what is wrong there.
}

// Error names the file and the byte, and what to do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %v; restore it from a copy, nothing was cut",
		e.File, e.Position, e.Err)
}

// Unwrap returns ErrCorrupt and what is wrong.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

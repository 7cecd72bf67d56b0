package log

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The errors of this package. Each comes wrapped with what was tried and on which file.
var (
	// ErrOffsetOutOfRange: the offset lies below the log's start or above its end.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrNoSpace: the disk is full, or file handles ran out. Nothing was appended and the log goes
	// on working: appends succeed again once there is space.
	ErrNoSpace = errors.New("no space left for the log")
	// ErrFailed: a write or fdatasync of this log has failed. It is final for this process: what
	// is on disk is known again only after a restart. Reads still work.
	ErrFailed = errors.New("log failed and takes no more writes until a restart")
	// ErrClosed: the log, the directory or the committer has been closed.
	ErrClosed = errors.New("log is closed")
	// ErrCorrupt is wrapped by every CorruptError.
	ErrCorrupt = errors.New("log is corrupt")
	// ErrUnreadable: the disk refused to read bytes of a segment. What they are is unknown.
	ErrUnreadable = errors.New("log cannot be read")
	// ErrStaleEpoch: an append under a leader epoch older than one that the log has seen.
	ErrStaleEpoch = errors.New("leader epoch is older than the log's")
	// ErrTooLarge: one append is larger than AppendBytesMax.
	ErrTooLarge = errors.New("append is too large for a segment")
	// ErrBadBatch: an append is no sequence of whole batches. Nothing was written.
	ErrBadBatch = errors.New("append is no sequence of whole batches")
	// ErrNotReplayed: what the commit journal has of the log could not be brought into its segments.
	// The journal must be kept as it is.
	ErrNotReplayed = errors.New("journal was not replayed")
	// ErrFormatNewer: the data directory was written by a newer version of ChronosDB.
	ErrFormatNewer = errors.New("data directory has a newer format")
	// ErrFormatUnknown: the directory's FORMAT file is not one of ChronosDB's.
	ErrFormatUnknown = errors.New("data directory has an unknown format")
)

// IsTransient reports whether an error may go away by itself: a want of space or of file handles,
// which has done nothing. A log that has failed does not come back, not even if a full disk was
// what failed its fsync.
func IsTransient(err error) bool {
	return !errors.Is(err, ErrFailed) && (vfs.IsShortage(err) || errors.Is(err, ErrNoSpace))
}

// CorruptError says which bytes of which file are not what was once written and synced. It wraps
// ErrCorrupt and Err.
type CorruptError struct {
	File     string // File is the path of the damaged file.
	Position int64  // Position is the byte at which the damaged batch begins.
	Err      error  // Err says what is wrong there.
}

// Error names the file and the byte, and what to do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %v; restore it from a copy, nothing was cut",
		e.File, e.Position, e.Err)
}

// Unwrap returns ErrCorrupt and what is wrong.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

package batch

import (
	"errors"
	"fmt"
)

// The reasons why bytes are not a batch that can be used. Each comes wrapped in a
// sentence that names the field, what it holds and what was expected.
var (
	// ErrShort: the bytes end before the batch does. More bytes may cure it.
	ErrShort = errors.New("batch is cut short")
	// ErrCorrupt: the length field or the CRC contradicts the bytes.
	ErrCorrupt = errors.New("batch is corrupt")
	// ErrMagic: a message set of an old format (magic 0 or 1), or one never seen.
	ErrMagic = errors.New("batch format is not v2")
	// ErrTooLarge: the batch is larger than the topic's max.message.bytes.
	ErrTooLarge = errors.New("batch is too large")
	// ErrInvalid: the bytes are intact but break a rule of the format.
	ErrInvalid = errors.New("batch is invalid")
	// ErrTransactional: a transactional batch, and transactions are not served yet.
	ErrTransactional = errors.New("transactional batches are not supported by this version")
	// ErrTimestampType: a client claims LogAppendTime, which only a broker sets.
	ErrTimestampType = errors.New("a client may not set the timestamp type LogAppendTime")
	// ErrBomb: the records inflate to more than the limit.
	ErrBomb = errors.New("records inflate beyond the limit")
	// ErrBadCompression: the compressed bytes cannot be inflated.
	ErrBadCompression = errors.New("records cannot be decompressed")
)

// RecordError says which record of a batch is at fault.
type RecordError struct {
	Index int   // Index counts the records of the batch from 0.
	Err   error // Err wraps ErrInvalid, or is a *ControlError or the caller's own.
}

// Error names the record and what is wrong with it.
func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Err) }

// Unwrap returns what is wrong with the record.
func (e *RecordError) Unwrap() error { return e.Err }

// ControlError is the refusal of a control header. Its text is meant for the person
// who wrote the producer: it says what to write instead.
type ControlError struct {
	Header string // Header is the name of the header, made printable and bounded.
	Reason string // Reason is a sentence without the name.
}

// Error returns the header and the sentence.
func (e *ControlError) Error() string { return e.Header + ": " + e.Reason }

// invalid returns an ErrInvalid with the rule that is broken.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

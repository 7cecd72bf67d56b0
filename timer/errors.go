package timer

import "errors"

// The errors of this package. Each comes wrapped in a sentence that says what, which and what to
// do.
var (
	// ErrBadDecision: a staged record's decision is damaged, or of a version not known here.
	ErrBadDecision = errors.New("decision of a staged record cannot be read")
	// ErrBadSettlement: a settlement batch is damaged, or of a version not known here.
	ErrBadSettlement = errors.New("settlement cannot be read")
	// ErrBadCommand: a command batch is damaged, or of a version not known here.
	ErrBadCommand = errors.New("command cannot be read")
	// ErrFenced: a delivery was not made, because one of its records was cancelled or replaced
	// while it was built.
	ErrFenced = errors.New("a record of the delivery was cancelled or replaced")
	// ErrBadDelivery: a marked batch has a record without a readable position.
	ErrBadDelivery = errors.New("delivered record has no position")
	// ErrIndex: the schedule index failed. It is derived data: a restart opens or rebuilds it.
	ErrIndex = errors.New("schedule index failed")
	// ErrClosed: the schedule or the index was closed.
	ErrClosed = errors.New("schedule is closed")
)

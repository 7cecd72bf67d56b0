package oracle

import "errors"

// One sentinel for each way to be wrong.
var (
	ErrLost      = errors.New("acknowledged, or seen, and lost")
	ErrTwice     = errors.New("shown twice")
	ErrEarly     = errors.New("shown before it was due")
	ErrLate      = errors.New("due and not shown although the server was idle")
	ErrChanged   = errors.New("an offset holds another record than before")
	ErrNotDense  = errors.New("offsets have a gap or overlap")
	ErrWentBack  = errors.New("a mark that clients rely on went back")
	ErrOrder     = errors.New("shown out of its producer's order")
	ErrHole      = errors.New("a producer's batch survived one that came before it")
	ErrDueOrder  = errors.New("shown out of due order")
	ErrAnswer    = errors.New("a wrong answer to a producer")
	ErrPhantom   = errors.New("shown and never sent, or refused")
	ErrContent   = errors.New("shown with another content than was sent")
	ErrBadBatch  = errors.New("not a whole and intact batch")
	ErrPosition  = errors.New("a position is malformed or names two deliveries")
	ErrUnreadKey = errors.New("a test mistake: the value is not unique")
)

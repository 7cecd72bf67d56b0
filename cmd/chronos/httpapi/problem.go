package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

// Problem is how the API says no: problem details of RFC 9457.
type Problem struct {
	Type   string `json:"type"` // constant for a kind of problem, for programs
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"` // a sentence for a person: what, which, and what to do
	// Progress is what an order on many records had done before it met the problem.
	Progress *ManyAnswer `json:"progress,omitempty"`
}

// Error is the sentence.
func (p *Problem) Error() string { return p.Detail }

// problemKind is one type of problem.
type problemKind struct {
	name, title string
	status      int
}

const problemTypePrefix = "urn:chronosdb:problem:"

// The kinds of problems. The description names the same.
var (
	kindInvalid     = problemKind{"invalid", "The request is not valid", http.StatusBadRequest}
	kindForbidden   = problemKind{"forbidden", "Not from there", http.StatusForbidden}
	kindUnknownPath = problemKind{"unknown-path", "Nothing is served there", http.StatusNotFound}
	kindNotPending  = problemKind{"not-pending", "No such record is pending", http.StatusNotFound}
	kindUnknown     = problemKind{"unknown-topic", "No such topic or partition", http.StatusNotFound}
	kindMethod      = problemKind{"method", "Not with that method", http.StatusMethodNotAllowed}
	kindTooLarge    = problemKind{
		"too-large", "The body is too large", http.StatusRequestEntityTooLarge,
	}
	kindMediaType = problemKind{
		"media-type", "The body is not JSON", http.StatusUnsupportedMediaType,
	}
	kindBusy        = problemKind{"busy", "Too many requests at once", http.StatusServiceUnavailable}
	kindUnavailable = problemKind{"unavailable", "Not served now", http.StatusServiceUnavailable}
	kindTimedOut    = problemKind{"timed-out", "Not durable in time", http.StatusServiceUnavailable}
	kindInternal    = problemKind{"internal", "The server failed", http.StatusInternalServerError}

	problemKinds = []problemKind{
		kindInvalid, kindForbidden, kindUnknownPath, kindNotPending, kindUnknown, kindMethod,
		kindTooLarge, kindMediaType, kindBusy, kindUnavailable, kindTimedOut, kindInternal,
	}
)

func problemf(k problemKind, format string, args ...any) *Problem {
	return &Problem{
		Type: problemTypePrefix + k.name, Title: k.title, Status: k.status,
		Detail: fmt.Sprintf(format, args...),
	}
}

func invalidf(format string, args ...any) error { return problemf(kindInvalid, format, args...) }

// problemOf says what an error is to a client. The text of one that is not expected stays here: it
// may name what is no client's business.
func problemOf(err error) *Problem {
	var p *Problem
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return problemf(kindTooLarge, "a body may have %d bytes", large.Limit)
	case errors.Is(err, replication.ErrNotPending):
		return problemf(kindNotPending, "%v", err)
	case errors.Is(err, metadata.ErrUnknownTopic), errors.Is(err, metadata.ErrUnknownTopicID),
		errors.Is(err, replication.ErrUnknownPartition):
		return problemf(kindUnknown, "%v", err)
	case errors.Is(err, replication.ErrBadCursor), errors.Is(err, replication.ErrBadFilter),
		errors.Is(err, replication.ErrInvalidDue):
		return problemf(kindInvalid, "%v", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problemf(kindTimedOut, perhaps)
	case errors.Is(err, replication.ErrClosed), errors.Is(err, timer.ErrClosed),
		errors.Is(err, replication.ErrOffline), errors.Is(err, replication.ErrStorage),
		errors.Is(err, replication.ErrNotEnoughReplicas):
		return problemf(kindUnavailable, "%v", err)
	default:
		return problemf(kindInternal, "the server's log says why")
	}
}

// perhaps is all that is known of an order whose end was not waited for.
const perhaps = "what was asked for may still happen or not; to be sure, ask again: it will not " +
	"happen twice"

// retryAfter is what a client that cannot be served now is told to wait, in seconds.
const retryAfter = "1"

func writeProblem(w http.ResponseWriter, p *Problem) {
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

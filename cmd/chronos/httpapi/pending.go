package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer"
)

// ErrNotPending means that no record of that position is pending.
var ErrNotPending = errors.New("not pending")

// ErrBadCursor means that a cursor is not one of this server's.
var ErrBadCursor = errors.New("bad cursor")

// PendingFilter says which pending records are meant.
type PendingFilter struct {
	Topic     string       // empty: all topics
	Partition int32        // -1: all
	Key       []byte       // nil: any
	ID        string       // empty: any
	DueFrom   timer.UnixMs // [from, to)
	DueTo     timer.UnixMs
	Limit     int
	Cursor    string
}

// PendingRecord is a record that waits.
type PendingRecord struct {
	Topic             string
	Partition         int32
	Position          timer.Position
	Due               timer.UnixMs
	ID                string
	Key               []byte
	State             string
	Appended, Created timer.UnixMs
	Expire            timer.UnixMs
	Cron, Tz          string
	Every             time.Duration
	Count             int32
	Until             timer.UnixMs
	Bytes             int32
	Value             []byte
	Headers           []batch.Header
}

// PendingCount counts one partition.
type PendingCount struct {
	Topic     string
	Partition int32
	Pending   int64
	NextDue   timer.UnixMs
	Paused    bool
}

// HistogramBucket counts what is due within a time from now.
type HistogramBucket struct {
	Within  time.Duration
	Pending int64
}

// SteerVerb is what is to become of a pending record.
type SteerVerb int

// The verbs.
const (
	SteerCancel SteerVerb = iota + 1
	SteerMove
	SteerNow
)

// SteerResult says whether an order has changed anything.
type SteerResult struct {
	Done   bool
	Reason string
}

// Schedules is what the API shows and steers.
type Schedules interface {
	ListPending(f PendingFilter) (records []PendingRecord, next string, err error)
	GetPending(topic string, partition int32, p timer.Position) (PendingRecord, error)
	CountPending(topic string) ([]PendingCount, error)
	PendingHistogram(topic string, now timer.UnixMs) ([]HistogramBucket, error)
	Steer(ctx context.Context, topic string, partition int32, verb SteerVerb, p timer.Position,
		due timer.UnixMs) (SteerResult, error)
	PauseTopic(ctx context.Context, topic string, pause bool) error
}

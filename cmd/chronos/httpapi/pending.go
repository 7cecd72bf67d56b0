package httpapi

import (
	"context"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

// Schedules is what the API shows and steers: a *replication.Manager, whose methods say more.
type Schedules interface {
	ListPending(replication.PendingFilter) (page []replication.PendingRecord, next string, err error)
	GetPending(
		topic string, partition int32, p timer.Position,
	) (replication.PendingRecord, error)
	CountPending(topic string) ([]replication.PendingCount, error)
	PendingHistogram(topic string, now timer.UnixMs) ([]replication.HistogramBucket, error)
	Steer(
		ctx context.Context, topic string, partition int32, verb replication.SteerVerb,
		p timer.Position, due timer.UnixMs,
	) (replication.SteerResult, error)
	PauseTopic(ctx context.Context, topic string, pause bool) error
}

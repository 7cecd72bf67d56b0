package replication

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

// arriving counts the records of staged batches that the schedule has not followed yet, and so does
// not count itself. It belongs to the partition's mutex.
type arriving struct {
	batches []arrived // from first on, oldest first
	first   int
	records int64 // in all of them
}

// arrived is one staged batch.
type arrived struct {
	end     batch.Offset // in the staging log
	records int64
}

// arrivingMax bounds the batches that are told apart: beyond it the last one stands for more, as
// when a full disk keeps the schedule from following.
const arrivingMax = 4096

// add takes a staged batch.
func (a *arriving) add(end batch.Offset, records int64) {
	a.records += records
	if n := len(a.batches); n-a.first >= arrivingMax {
		a.batches[n-1].end = end
		a.batches[n-1].records += records
		return
	}
	if a.first > 0 && len(a.batches) == cap(a.batches) {
		a.batches = a.batches[:copy(a.batches, a.batches[a.first:])]
		a.first = 0
	}
	a.batches = append(a.batches, arrived{end, records})
}

// followed forgets what lies below an offset that the schedule has followed to.
func (a *arriving) followed(to batch.Offset) {
	for a.first < len(a.batches) && a.batches[a.first].end <= to {
		a.records -= a.batches[a.first].records
		a.first++
	}
	if a.first == len(a.batches) {
		a.batches, a.first = a.batches[:0], 0
	}
}

// admitLocked refuses a batch that would make more records wait than the topic lets. A record that
// takes the place of one that waits makes no more. Those that are due at once wait only while the
// deliveries are paused.
//
// It returns how many there are that will wait.
func (p *Partition) admitLocked(
	info *timer.StageInfo, cfg *metadata.TopicConfig,
) (waits int64, err error) {
	s := p.stage.Load().schedule
	waiting, to := s.Waiting()
	p.mu.arriving.followed(to)
	waiting += p.mu.arriving.records
	more := int64(info.Count - info.Cancels)
	if !s.IsPaused() {
		more -= int64(info.DueNow)
	}
	waits = more
	most := cfg.ScheduleMaxPending
	if more <= 0 || more <= most && waiting <= most-more {
		return waits, nil
	}
	for id := range info.Names {
		_, ok, err := s.NamedPending(id)
		if err != nil {
			return 0, p.scheduleError(err)
		}
		if ok {
			more--
		}
	}
	if more <= 0 || more <= most && waiting <= most-more {
		return waits, nil
	}
	return 0, fmt.Errorf("%w: %d records wait in partition %s, and the batch brings %d more;"+
		" %s is %d: send it later, or raise the limit", ErrTooManyPending, waiting, p.Name(), more,
		metadata.ConfigScheduleMaxPending, most)
}

// refusals counts the batches of scheduled records that were not taken.
type refusals struct{ invalid, limit atomic.Int64 }

func (r *refusals) count(err error) {
	if errors.Is(err, ErrTooManyPending) {
		r.limit.Add(1)
	} else {
		r.invalid.Add(1)
	}
}

// controlNames are the topic's own control headers.
func controlNames(cfg *metadata.TopicConfig) batch.ControlNames {
	return batch.ControlNames{Ts: cfg.ScheduleHeaderTs}
}

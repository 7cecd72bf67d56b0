package replication

import (
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Metrics is a snapshot of what a node's partitions hold and have done.
type Metrics struct {
	Partitions        int
	OfflinePartitions int
	LogBytes          int64 // of all partition logs
	StagingBytes      int64 // of all staging logs
	Pending           int64
	HasNextDue        bool
	NextDue           clock.UnixMs
	Schedules         timer.Stats // summed over all partitions
	Commits           log.CommitterStats
}

// Metrics sums up the node. It takes short locks only.
func (m *Manager) Metrics() Metrics {
	s := Metrics{Commits: m.committer.Stats()}
	m.mu.RLock()
	for _, slots := range m.mu.slots {
		for _, one := range slots {
			s.Partitions++
			if one.offline != nil {
				s.OfflinePartitions++
			}
		}
	}
	m.mu.RUnlock()
	for _, p := range m.partitions() {
		s.LogBytes += p.log.Size()
		stage := p.stage.Load()
		if stage == nil {
			continue
		}
		s.StagingBytes += stage.log.Size()
		addStats(&s.Schedules, stage.schedule.Stats())
	}
	s.Pending = s.Schedules.Pending
	s.NextDue, s.HasNextDue = s.Schedules.NextDue, s.Schedules.HasNext
	return s
}

// addStats adds one partition's counters to a sum.
func addStats(sum *timer.Stats, one timer.Stats) {
	if one.HasNext && (!sum.HasNext || one.NextDue < sum.NextDue) {
		sum.NextDue, sum.HasNext = one.NextDue, true
	}
	sum.Pending += one.Pending
	sum.Delivered += one.Delivered
	sum.Settled += one.Settled
	sum.Retries += one.Retries
	sum.HeldBack += one.HeldBack
	sum.Rewinds += one.Rewinds
	sum.NearLength += one.NearLength
	sum.NearBytes += one.NearBytes
	sum.InFlight += one.InFlight
	for i, n := range one.LatenessCount {
		sum.LatenessCount[i] += n
	}
	sum.LatenessSumMs += one.LatenessSumMs
}

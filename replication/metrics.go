package replication

import (
	"slices"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	// TopicMetricsMax bounds the topics that have figures of their own: those that were there first.
	// The others are summed up as OtherTopics, so that whoever makes topics does not make time series.
	TopicMetricsMax = 100
	// OtherTopics is what the sum of the topics beyond TopicMetricsMax is called. No topic is: a
	// name begins with no parenthesis.
	OtherTopics = "(other)"
	// OfflineMetricsMax bounds the partitions that are named as offline.
	OfflineMetricsMax = 100
	// metricsScanMax bounds the entries of the index that a snapshot looks at.
	metricsScanMax = 50_000
)

// Metrics is a snapshot of what a node's partitions hold and have done.
type Metrics struct {
	Partitions        int
	OfflinePartitions int
	Offline           []string // names of the first OfflineMetricsMax of them, sorted
	LogBytes          int64    // of all partition logs
	StagingBytes      int64    // of all staging logs
	LogSegments       int
	StagingSegments   int
	Topics            []TopicMetrics // at most TopicMetricsMax, and one of the others
	Counts
	Pending   int64
	ClockJump time.Duration // by which the clock is not trusted; 0: it is
	// PendingDue says how soon what is pending is due; only the soonest are told apart.
	PendingDue       []HistogramBucket
	PausedPartitions int   // whose deliveries an operator has paused
	RefusedInvalid   int64 // batches of scheduled records with control headers that make no sense
	RefusedLimit     int64 // batches beyond chronos.schedule.max.pending
	HasNextDue       bool
	NextDue          clock.UnixMs
	Schedules        timer.Stats // summed over all partitions
	Commits          log.CommitterStats
	Buffers          log.BuffersStats // zero in periodic mode
	Journal          journal.Stats    // zero in periodic mode
}

// Counts is what logs have counted since the start, those included that are gone.
type Counts struct {
	IndexRebuilds int64 // of segments whose index was damaged or missing
	CutBytes      int64 // torn tails that the start has cut
	Compaction    CompactionMetrics
}

// CompactionMetrics is what compaction has done to all logs since the start.
type CompactionMetrics struct {
	Passes                  int64
	ReadBytes, WrittenBytes int64
	RemovedRecords          int64
	Took                    time.Duration
}

// TopicMetrics are one topic's figures.
type TopicMetrics struct {
	Topic string
	Traffic
	LogBytes int64 // of the partition logs
	Segments int
}

// topicParts are the partitions of one topic that are in service.
type topicParts struct {
	topic *metadata.Topic
	own   bool    // whether it has figures of its own
	gone  Traffic // of its partitions that are offline; of such a topic only
	parts []*Partition
}

// Metrics sums up the node. It takes short locks only.
func (m *Manager) Metrics() Metrics {
	s := Metrics{Commits: m.committer.Stats(), ClockJump: m.guard.Jump()}
	if m.buffers != nil {
		s.Buffers = m.buffers.Stats()
	}
	if m.journal != nil {
		s.Journal = m.journal.Stats()
	}
	topics, others := m.topicParts(&s)
	for _, t := range topics {
		one := TopicMetrics{Topic: t.topic.Name, Traffic: t.gone}
		for _, p := range t.parts {
			p.addMetrics(&s, &one)
		}
		if t.own {
			s.Topics = append(s.Topics, one)
		} else {
			others.add(one)
		}
	}
	if len(topics) > len(s.Topics) || others.Traffic != (Traffic{}) {
		s.Topics = append(s.Topics, others)
	}
	s.Pending = s.Schedules.Pending
	s.RefusedInvalid = m.deps.refused.invalid.Load()
	s.RefusedLimit = m.deps.refused.limit.Load()
	// Without an index there is nothing to count; what is wrong with it is said elsewhere.
	s.PendingDue, _ = m.histogram("", clock.ToMs(m.o.Clock.Now()), metricsScanMax)
	s.NextDue, s.HasNextDue = s.Schedules.NextDue, s.Schedules.HasNext
	return s
}

// topicParts collects the partitions by topic, the oldest topic first, counts them in s, and adds
// what is gone to s and to the others.
func (m *Manager) topicParts(s *Metrics) (all []topicParts, others TopicMetrics) {
	m.mu.RLock()
	image := m.Image() // under the lock, as a deletion changes both
	gone := &m.mu.tally
	for id, slots := range m.mu.slots {
		t := topicParts{topic: image.TopicByID(id)}
		if retired := gone.retired[id]; retired != nil {
			t.own, t.gone = true, *retired
		}
		for _, one := range slots {
			s.Partitions++
			if one.offline == nil {
				t.parts = append(t.parts, one.partition)
				continue
			}
			s.OfflinePartitions++
			s.Offline = append(s.Offline, one.offline.Partition)
		}
		if t.topic != nil && len(t.topic.Partitions) > 0 {
			all = append(all, t)
		}
	}
	s.Counts, s.Schedules = gone.counts, gone.schedules
	others = TopicMetrics{Topic: OtherTopics, Traffic: gone.others}
	m.mu.RUnlock()
	slices.Sort(s.Offline)
	s.Offline = s.Offline[:min(len(s.Offline), OfflineMetricsMax)]
	slices.SortFunc(all, func(a, b topicParts) int { return byAge(a.topic, b.topic) })
	return all, others
}

// addMetrics adds one partition to the node's figures and to those of its topic.
func (p *Partition) addMetrics(s *Metrics, t *TopicMetrics) {
	p.traffic.addTo(&t.Traffic)
	size, segments := p.log.Size(), p.log.Segments()
	t.LogBytes += size
	t.Segments += segments
	s.LogBytes += size
	s.LogSegments += segments
	s.addLog(p.log)
	stage := p.stage.Load()
	if stage == nil {
		return
	}
	s.StagingBytes += stage.log.Size()
	s.StagingSegments += stage.log.Segments()
	s.addLog(stage.log)
	stats := stage.schedule.Stats()
	addStats(&s.Schedules, stats)
	if stats.Paused {
		s.PausedPartitions++
	}
}

// addLog adds what either kind of log counts.
func (s *Metrics) addLog(l *log.Log) {
	stats := l.Stats()
	s.Counts.add(Counts{
		IndexRebuilds: stats.IndexRebuilds, CutBytes: stats.CutBytes,
		Compaction: CompactionMetrics{
			Passes: stats.Compactions, ReadBytes: stats.CompactionReadBytes,
			WrittenBytes:   stats.CompactionWrittenBytes,
			RemovedRecords: stats.CompactionRemoved, Took: stats.CompactionTime,
		},
	})
}

// add adds what other logs have counted.
func (c *Counts) add(o Counts) {
	c.IndexRebuilds += o.IndexRebuilds
	c.CutBytes += o.CutBytes
	c.Compaction.Passes += o.Compaction.Passes
	c.Compaction.ReadBytes += o.Compaction.ReadBytes
	c.Compaction.WrittenBytes += o.Compaction.WrittenBytes
	c.Compaction.RemovedRecords += o.Compaction.RemovedRecords
	c.Compaction.Took += o.Compaction.Took
}

// add adds another topic's figures.
func (t *TopicMetrics) add(o TopicMetrics) {
	t.Traffic.add(o.Traffic)
	t.LogBytes += o.LogBytes
	t.Segments += o.Segments
}

// addStats adds one partition's counters and gauges to a sum.
func addStats(sum *timer.Stats, one timer.Stats) {
	if one.HasNext && (!sum.HasNext || one.NextDue < sum.NextDue) {
		sum.NextDue, sum.HasNext = one.NextDue, true
	}
	sum.Pending += one.Pending
	sum.NearLength += one.NearLength
	sum.NearBytes += one.NearBytes
	sum.InFlight += one.InFlight
	addCounters(sum, one)
}

// addCounters adds what only grows.
func addCounters(sum *timer.Stats, one timer.Stats) {
	sum.Delivered += one.Delivered
	sum.Settled += one.Settled
	sum.Retries += one.Retries
	sum.HeldBack += one.HeldBack
	sum.Rewinds += one.Rewinds
	sum.Cancelled += one.Cancelled
	sum.IdleCancel += one.IdleCancel
	sum.Replaced += one.Replaced
	sum.Expired += one.Expired
	sum.Moved += one.Moved
	for i, n := range one.LatenessCount {
		sum.LatenessCount[i] += n
	}
	sum.LatenessSumMs += one.LatenessSumMs
}

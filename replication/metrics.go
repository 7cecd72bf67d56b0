package replication

import (
	"cmp"
	"slices"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	// TopicMetricsMax bounds the topics that have figures of their own: the oldest ones. The others
	// are summed up as OtherTopics, so that whoever makes topics does not make time series.
	TopicMetricsMax = 100
	// OtherTopics is what the sum of the topics beyond TopicMetricsMax is called. No topic is: a
	// name begins with no parenthesis.
	OtherTopics = "(other)"
	// OfflineMetricsMax bounds the partitions that are named as offline.
	OfflineMetricsMax = 100
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
	IndexRebuilds     int64          // of segments whose index was damaged or missing
	CutBytes          int64          // torn tails that the start has cut
	Compaction        CompactionMetrics
	Pending           int64
	HasNextDue        bool
	NextDue           clock.UnixMs
	Schedules         timer.Stats // summed over all partitions
	Commits           log.CommitterStats
	Buffers           log.BuffersStats // zero in periodic mode
	Journal           journal.Stats    // zero in periodic mode
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
	parts []*Partition
}

// Metrics sums up the node. It takes short locks only.
func (m *Manager) Metrics() Metrics {
	s := Metrics{Commits: m.committer.Stats()}
	if m.buffers != nil {
		s.Buffers = m.buffers.Stats()
	}
	if m.journal != nil {
		s.Journal = m.journal.Stats()
	}
	topics := m.topicParts(&s)
	for i, t := range topics {
		one := TopicMetrics{Topic: t.topic.Name}
		for _, p := range t.parts {
			p.addMetrics(&s, &one)
		}
		if i < TopicMetricsMax {
			s.Topics = append(s.Topics, one)
			continue
		}
		if i == TopicMetricsMax {
			s.Topics = append(s.Topics, TopicMetrics{Topic: OtherTopics})
		}
		s.Topics[TopicMetricsMax].add(one)
	}
	s.Pending = s.Schedules.Pending
	s.NextDue, s.HasNextDue = s.Schedules.NextDue, s.Schedules.HasNext
	return s
}

// topicParts collects the partitions by topic, the oldest topic first, and counts them in s. A new
// topic so never takes the place of one that has figures of its own.
func (m *Manager) topicParts(s *Metrics) []topicParts {
	var all []topicParts
	image := m.Image()
	m.mu.RLock()
	for id, slots := range m.mu.slots {
		t := topicParts{topic: image.TopicByID(id)}
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
	m.mu.RUnlock()
	slices.Sort(s.Offline)
	s.Offline = s.Offline[:min(len(s.Offline), OfflineMetricsMax)]
	slices.SortFunc(all, func(a, b topicParts) int {
		return cmp.Compare(a.topic.Partitions[0].Number, b.topic.Partitions[0].Number)
	})
	return all
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
	addStats(&s.Schedules, stage.schedule.Stats())
}

// addLog adds what either kind of log counts.
func (s *Metrics) addLog(l *log.Log) {
	stats := l.Stats()
	s.IndexRebuilds += stats.IndexRebuilds
	s.CutBytes += stats.CutBytes
	s.Compaction.Passes += stats.Compactions
	s.Compaction.ReadBytes += stats.CompactionReadBytes
	s.Compaction.WrittenBytes += stats.CompactionWrittenBytes
	s.Compaction.RemovedRecords += stats.CompactionRemoved
	s.Compaction.Took += stats.CompactionTime
}

// add adds another topic's figures.
func (t *TopicMetrics) add(o TopicMetrics) {
	t.BytesIn += o.BytesIn
	t.RecordsIn += o.RecordsIn
	t.BytesOut += o.BytesOut
	t.RecordsOut += o.RecordsOut
	t.DeletedBytes += o.DeletedBytes
	t.DeletedSegments += o.DeletedSegments
	t.LogBytes += o.LogBytes
	t.Segments += o.Segments
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

package httpapi

import (
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// countedPartitionsMax bounds the partitions of one answer.
const countedPartitionsMax = 10_000

// Counts says how much is pending.
type Counts struct {
	Pending int64 `json:"pending"` // in all
	// Partitions are those in which something is pending, or whose deliveries are paused.
	Partitions []PartitionCount `json:"partitions"`
	More       bool             `json:"more,omitempty"` // than an answer takes
}

// PartitionCount says how much is pending in one partition.
type PartitionCount struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Pending   int64  `json:"pending"`
	// NextDue and NextDueMs are when the next one is due, or earlier: the record that was due then
	// may have been moved or cancelled.
	NextDue   string       `json:"next_due,omitempty"`
	NextDueMs timer.UnixMs `json:"next_due_ms,omitempty"`
	Paused    bool         `json:"paused"`
}

// Histogram says how much is due how soon.
type Histogram struct {
	NowMs   timer.UnixMs `json:"now_ms"` // from where the buckets count
	Buckets []Bucket     `json:"buckets"`
}

// Bucket is what is due within WithinMs, and not within that of the bucket before.
type Bucket struct {
	WithinMs *int64 `json:"within_ms"` // null: the rest
	Pending  int64  `json:"pending"`
}

func countSchedules(c *call) (any, error) {
	topic, err := c.topicQuery()
	if err != nil {
		return nil, err
	}
	all, err := c.schedules.CountPending(topic)
	if err != nil {
		return nil, err
	}
	answer := Counts{Partitions: []PartitionCount{}}
	for _, p := range all {
		answer.Pending += p.Pending
		if p.Pending == 0 && !p.Paused {
			continue
		}
		if len(answer.Partitions) == countedPartitionsMax {
			answer.More = true
			continue
		}
		one := PartitionCount{
			Topic: p.Topic, Partition: p.Partition, Pending: p.Pending, Paused: p.Paused,
		}
		if p.Pending > 0 {
			one.NextDue, one.NextDueMs = FormatMoment(p.NextDue), p.NextDue
		}
		answer.Partitions = append(answer.Partitions, one)
	}
	return answer, nil
}

func histogramOfSchedules(c *call) (any, error) {
	topic, err := c.topicQuery()
	if err != nil {
		return nil, err
	}
	now := clock.ToMs(c.api.o.Clock.Now())
	buckets, err := c.schedules.PendingHistogram(topic, now)
	if err != nil {
		return nil, err
	}
	answer := Histogram{NowMs: now, Buckets: make([]Bucket, 0, len(buckets))}
	for i, b := range buckets {
		one := Bucket{Pending: b.Pending}
		if i < len(buckets)-1 {
			ms := b.Within.Milliseconds()
			one.WithinMs = &ms
		}
		answer.Buckets = append(answer.Buckets, one)
	}
	return answer, nil
}

// topicQuery returns the topic that is asked for; empty: all.
func (c *call) topicQuery() (string, error) {
	topic, err := c.query.text("topic", false)
	if topic == nil {
		return "", err
	}
	return *topic, err
}

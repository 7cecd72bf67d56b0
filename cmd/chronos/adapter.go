package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// offsetsTopicName is Kafka's name of the topic that holds groups and their offsets.
const offsetsTopicName = "__consumer_offsets"

// offsetsBatchMax bounds what one batch of the topic may inflate to; ours are not compressed.
const offsetsBatchMax = 64 << 20

// offsetsConfigs are the topic's settings, Kafka's own. Nothing in it may age away: the newest
// record of a key is what a group has committed.
var offsetsConfigs = map[string]string{
	metadata.ConfigCleanupPolicy:   "compact",
	metadata.ConfigSegmentBytes:    "104857600", // Kafka's offsets.topic.segment.bytes
	metadata.ConfigScheduleEnable:  "false",
	metadata.ConfigMaxMessageBytes: "10485760",
}

// offsetsTopic gives package groups its logs: the partitions of __consumer_offsets. The topic is
// made when the first group writes, so that a server without groups does not carry it.
type offsetsTopic struct {
	replicas *replication.Manager
}

func newOffsetsTopic(replicas *replication.Manager) *offsetsTopic {
	return &offsetsTopic{replicas: replicas}
}

// partitions is how many there are, or will be: the number decides where a group is kept, so it is
// never another one than the topic's.
func (t *offsetsTopic) partitions() int32 {
	if topic := t.replicas.Image().Topic(offsetsTopicName); topic != nil {
		return int32(len(topic.Partitions))
	}
	return groups.PartitionsDefault
}

// open returns one partition's log, which may not exist yet.
func (t *offsetsTopic) open(partition int32) (groups.OffsetsLog, error) {
	return &offsetsLog{topic: t, index: partition}, nil
}

// find returns a partition of the topic, nil while the topic does not exist.
func (t *offsetsTopic) find(index int32) (*replication.Partition, error) {
	topic := t.replicas.Image().Topic(offsetsTopicName)
	if topic == nil {
		return nil, nil
	}
	return t.replicas.Partition(topic.ID, index)
}

// create makes the topic, unless another group was first.
func (t *offsetsTopic) create() error {
	_, err := t.replicas.CreateTopic(replication.TopicSpec{
		Name: offsetsTopicName, Partitions: groups.PartitionsDefault, ReplicationFactor: -1,
		Configs: offsetsConfigs, Internal: true,
	}, false)
	if err != nil && !errors.Is(err, metadata.ErrTopicExists) {
		return fmt.Errorf("create topic %s: %w", offsetsTopicName, err)
	}
	return nil
}

// offsetsLog is one partition of __consumer_offsets as package groups sees it.
type offsetsLog struct {
	topic *offsetsTopic
	index int32
	found atomic.Pointer[replication.Partition] // set once the topic exists
}

// partition returns the partition, or nil while the topic does not exist.
func (l *offsetsLog) partition() (*replication.Partition, error) {
	if p := l.found.Load(); p != nil {
		return p, nil
	}
	p, err := l.topic.find(l.index)
	if p != nil {
		l.found.Store(p)
	}
	return p, err
}

// Append writes the records as one batch.
func (l *offsetsLog) Append(records []groups.Record) (groups.Pending, error) {
	p, err := l.partition()
	if err == nil && p == nil {
		if err = l.topic.create(); err == nil {
			p, err = l.partition()
		}
	}
	if err != nil {
		return nil, err
	}
	b, err := offsetsBatch(records)
	if err != nil {
		return nil, fmt.Errorf("encode %d records for %s: %w", len(records), p.Name(), err)
	}
	ack, err := p.AppendLocal(b)
	if err != nil {
		return nil, err
	}
	return pending{ack}, nil
}

// Replay reads every record up to the high watermark. A log that does not exist yet has none.
func (l *offsetsLog) Replay(fn func(key, value []byte) error) error {
	p, err := l.partition()
	if err != nil || p == nil {
		return err
	}
	return p.ReadAll(p.LogStart(), func(b batch.Batch) error { return replayBatch(b, fn) })
}

// offsetsBatch encodes records for the log. It is not compressed: most hold a single small record.
func offsetsBatch(records []groups.Record) (batch.Batch, error) {
	if len(records) == 0 {
		return nil, errors.New("a batch needs a record")
	}
	builder := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: records[0].Timestamp,
	}.NoProducer())
	for _, r := range records {
		err := builder.Append(batch.RecordFields{TimestampMs: r.Timestamp, Key: r.Key, Value: r.Value})
		if err != nil {
			return nil, err
		}
	}
	return builder.Build(nil)
}

func replayBatch(b batch.Batch, fn func(key, value []byte) error) error {
	reader, err := batch.NewReader(b, offsetsBatchMax)
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		record, ok, err := reader.Next()
		if err != nil || !ok {
			return err
		}
		if err := fn(record.Key, record.Value); err != nil {
			return err
		}
	}
}

// pending is a replication ack as package groups sees it.
type pending struct{ ack *replication.Ack }

// Done is closed when the records are below the high watermark, or never will be.
func (p pending) Done() <-chan struct{} { return p.ack.Done() }

// Err is nil when the records are durable.
func (p pending) Err() error {
	_, err := p.ack.Result()
	return err
}

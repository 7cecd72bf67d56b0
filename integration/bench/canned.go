package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

const (
	// cannedPrefix begins the name of a topic that the reference serves records of; the size of
	// their values follows.
	cannedPrefix = "canned-"
	// cannedBatchBytes is about what the values of the canned batch take, as in a batch of a client.
	cannedBatchBytes = clientBatchBytes
	// cannedEnd is the high watermark of every canned topic: no consumer comes near it.
	cannedEnd = int64(1) << 40
	// baseOffsetBytes is what differs between two copies of a batch.
	baseOffsetBytes = 8
)

// cannedTopic is the topic of the reference whose values have that size.
func cannedTopic(size int) string { return cannedPrefix + strconv.Itoa(size) }

// canned makes the batches that the reference sends to consumers, one for each size of values. All
// connections send the same bytes: only the base offset before them is made for each answer.
type canned struct {
	mu struct {
		sync.Mutex
		batches map[int]cannedBatch
	}
}

type cannedBatch struct {
	raw     []byte
	records int64
}

// of returns the batch for a topic.
func (c *canned) of(topic string) (cannedBatch, error) {
	size, err := strconv.Atoi(strings.TrimPrefix(topic, cannedPrefix))
	if err != nil || size < 1 || size > cannedBatchBytes {
		return cannedBatch{}, fmt.Errorf("topic %q names no size of canned values", topic)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.mu.batches[size]; ok {
		return b, nil
	}
	records := make([]kmsg.Record, max(1, cannedBatchBytes/(size+10)))
	for i := range records {
		records[i] = harness.Record(strings.Repeat("x", size))
	}
	raw, err := harness.PlainBatch(0, records...).Encode()
	if err != nil {
		return cannedBatch{}, fmt.Errorf("make a batch: %w", err)
	}
	if c.mu.batches == nil {
		c.mu.batches = map[int]cannedBatch{}
	}
	b := cannedBatch{raw: raw, records: int64(len(records))}
	c.mu.batches[size] = b
	return b, nil
}

// fetch answers for one partition with as many batches as it asks for.
func (c *canned) fetch(a *dropAnswer, req *kmsg.FetchRequest) (kmsg.Response, error) {
	if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("a fetch of %d topics; the reference serves one partition",
			len(req.Topics))
	}
	rt := &req.Topics[0]
	rp := &rt.Partitions[0]
	b, err := c.of(rt.Topic)
	if err != nil {
		return nil, err
	}
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.HighWatermark, p.LastStableOffset = rp.Partition, cannedEnd, cannedEnd
	p.LogStartOffset, p.PreferredReadReplica = 0, -1
	at := rp.FetchOffset
	for range max(1, int(min(rp.PartitionMaxBytes, req.MaxBytes))/len(b.raw)) {
		a.records = append(a.records, binary.BigEndian.AppendUint64(nil, uint64(at)),
			b.raw[baseOffsetBytes:])
		at += b.records
	}
	t := kmsg.NewFetchResponseTopic()
	t.Topic = rt.Topic
	t.Partitions = append(t.Partitions, p)
	resp := kmsg.NewPtrFetchResponse()
	resp.Topics = append(resp.Topics, t)
	return resp, nil
}

// listStart says that every partition begins at 0.
func listStart(req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, rt := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = rp.Partition, 0, -1
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

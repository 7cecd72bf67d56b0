package integration

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// fetchVersion is the newest version of Fetch that names topics.
const fetchVersion = 12

// fetchRaw asks once for partition 0 from an offset, waiting fetchWaitMs for data.
func fetchRaw(
	t *testing.T, c *harness.Conn, topic string, from int64,
) kmsg.FetchResponseTopicPartition {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(fetchVersion)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchWaitMs, 1, 64<<20
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.FetchOffset, rp.PartitionMaxBytes = from, 64<<20
	rp.CurrentLeaderEpoch = -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	topics := resp.(*kmsg.FetchResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		t.Fatalf("fetch answered %d topics, want one partition of one topic", len(topics))
	}
	p := topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		t.Fatalf("fetch %s from %d: %v", topic, from, err)
	}
	return p
}

// storedBatches reads partition 0 from its start until it has n records, as the server stores
// them: batch by batch, with their attributes.
func storedBatches(t *testing.T, addr, topic string, n int) []kmsg.RecordBatch {
	t.Helper()
	c := dial(t, addr)
	var all []kmsg.RecordBatch
	next := int64(0)
	for deadline := time.Now().Add(testMax); next < int64(n); {
		if time.Now().After(deadline) {
			t.Fatalf("%s holds %d records after %s, want %d", topic, next, testMax, n)
		}
		p := fetchRaw(t, c, topic, next)
		batches, err := harness.SplitBatches(p.RecordBatches)
		if err != nil {
			t.Fatalf("fetch %s from %d: %v", topic, next, err)
		}
		for _, b := range batches {
			if b.FirstOffset != next {
				t.Fatalf("batch at %d, want %d: offsets are dense", b.FirstOffset, next)
			}
			next = b.FirstOffset + int64(b.LastOffsetDelta) + 1
			all = append(all, b)
		}
	}
	if next != int64(n) {
		t.Fatalf("%s holds %d records, want %d", topic, next, n)
	}
	return all
}

// stored is one record as it lies in a partition.
type stored struct {
	kmsg.Record
	offset      int64
	timestampMs int64
	marked      bool // its batch carries the server's mark
}

// storedRecords reads n records of partition 0 as they are stored.
func storedRecords(t *testing.T, addr, topic string, n int) []stored {
	t.Helper()
	var all []stored
	for _, b := range storedBatches(t, addr, topic, n) {
		records, err := harness.Records(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			all = append(all, stored{
				Record:      r,
				offset:      b.FirstOffset + int64(r.OffsetDelta),
				timestampMs: b.FirstTimestamp + r.TimestampDelta64,
				marked:      b.Attributes&harness.MarkBit != 0,
			})
		}
	}
	return all
}

// headers returns the values of all headers of one name.
func (s stored) headers(name string) []string {
	var values []string
	for _, h := range s.Headers {
		if h.Key == name {
			values = append(values, string(h.Value))
		}
	}
	return values
}

// highWatermark asks for the high watermark of partition 0.
func highWatermark(t *testing.T, c *harness.Conn, topic string) int64 {
	t.Helper()
	return listOffset(t, c, topic, -1)
}

// listOffset asks partition 0 for the offset of a timestamp, or of one of Kafka's special ones.
func listOffset(t *testing.T, c *harness.Conn, topic string, timestamp int64) int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(7)
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp, rp.CurrentLeaderEpoch = timestamp, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	p := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		t.Fatalf("list offsets of %s at %d: %v", topic, timestamp, err)
	}
	return p.Offset
}

// arrival is a consumed record and when the consumer had it.
type arrival struct {
	*kgo.Record
	at time.Time
}

// consume reads n records of a topic from its start and fails on an error or when the test ends.
func consume(t *testing.T, addr, topic string, n int) []arrival {
	t.Helper()
	cl := newClient(t, addr, kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	return poll(testContext(t), t, cl, n)
}

// poll reads exactly n records from a client.
func poll(ctx context.Context, t *testing.T, cl *kgo.Client, n int) []arrival {
	t.Helper()
	var all []arrival
	for len(all) < n {
		fetches := cl.PollRecords(ctx, n-len(all))
		at := time.Now()
		if err := fetches.Err0(); isUnreached(err) {
			continue
		} else if err != nil {
			t.Fatalf("poll after %d of %d records: %v", len(all), n, err)
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			t.Fatalf("poll %s/%d after %d of %d records: %v", topic, partition, len(all), n, err)
		})
		fetches.EachRecord(func(r *kgo.Record) { all = append(all, arrival{r, at}) })
	}
	return all
}

// isUnreached says that a client has not reached its group's coordinator, whose server is being
// started again. It goes on by itself. What a server has answered is not that.
func isUnreached(err error) bool {
	var session *kgo.ErrGroupSession
	var answered *kerr.Error
	return errors.As(err, &session) && !errors.As(err, &answered)
}

// header returns the only value of a header, and fails when there is none or more than one.
func header(t *testing.T, r *kgo.Record, name string) string {
	t.Helper()
	var values []string
	for _, h := range r.Headers {
		if h.Key == name {
			values = append(values, string(h.Value))
		}
	}
	if len(values) != 1 {
		t.Fatalf("record at %d has %d headers %s: %q", r.Offset, len(values), name, r.Headers)
	}
	return values[0]
}

// headerMs returns the only value of a header that holds Unix milliseconds.
func headerMs(t *testing.T, r *kgo.Record, name string) int64 {
	t.Helper()
	ms, err := strconv.ParseInt(header(t, r, name), 10, 64)
	if err != nil {
		t.Fatalf("header %s: %v", name, err)
	}
	return ms
}

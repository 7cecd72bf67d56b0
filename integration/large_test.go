package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestManyHotPartitions: a client that writes to many partitions fills its requests up to its
// default of 100 MiB, and repeats for ever what is refused. Everything is acknowledged.
func TestManyHotPartitions(t *testing.T) {
	t.Parallel()
	const partitions, each = 200, 600
	addr := sharedAddr(t)
	topic := createTopic(t, addr, partitions)
	// A linger lets the batches of all partitions become full before the first request.
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(2*time.Second),
		kgo.MaxBufferedRecords(partitions*each))
	value := bytes.Repeat([]byte("v"), 1024)
	var done, failed atomic.Int64
	for i := range partitions * each {
		cl.Produce(testContext(t), &kgo.Record{Partition: int32(i % partitions), Value: value},
			func(_ *kgo.Record, err error) {
				if err != nil && failed.Add(1) == 1 {
					t.Errorf("produce: %v", err)
				}
				done.Add(1)
			})
	}
	if err := cl.Flush(testContext(t)); err != nil {
		t.Fatalf("%d of %d records are acknowledged: %v", done.Load(), partitions*each, err)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(testContext(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset != each {
			t.Errorf("partition %d ends at %d", o.Partition, o.Offset)
		}
	})
}

// largeMemoryMax is the bound of resident memory under load.
const largeMemoryMax = 400_000_000

// TestLargeRequestsTakeBoundedMemory sends requests of 60 MB over many connections at once: they
// take turns, and the server stays small.
func TestLargeRequestsTakeBoundedMemory(t *testing.T) {
	const partitions, connections = 60, 24
	server := harness.Start(t, harness.Options{})
	topic := createTopic(t, server.Addr(), partitions)
	frame := largeFrame(t, topic, partitions, 1_000_000)
	deadline, _ := testContext(t).Deadline()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			if err := sendFrame(server.Addr(), frame, deadline); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	peak, err := harness.Peak(server.Process().Pid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak of resident memory: %d MB", peak/1_000_000)
	if peak > largeMemoryMax {
		t.Errorf("it is above %d MB", largeMemoryMax/1_000_000)
	}
}

// largeFrame is a produce request with a batch of one record for each partition.
func largeFrame(t *testing.T, topic string, partitions, size int) []byte {
	t.Helper()
	record := harness.Record(strings.Repeat("v", size))
	r := produceRequest(topic, encode(t, harness.PlainBatch(time.Now().UnixMilli(), record)))
	for i := 1; i < partitions; i++ {
		p := r.Topics[0].Partitions[0]
		p.Partition = int32(i)
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	}
	return kmsg.NewRequestFormatter().AppendRequest(nil, r, 1)
}

// sendFrame sends one request and reads its answer, which it does not look at.
func sendFrame(addr string, frame []byte, deadline time.Time) error {
	c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.Write(frame); err != nil {
		return fmt.Errorf("send %d bytes: %w", len(frame), err)
	}
	var length [4]byte
	_, err = io.ReadFull(c, length[:])
	return err
}

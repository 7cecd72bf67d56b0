package main

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// startTestDrop serves the reference in this process and returns its address.
func startTestDrop(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	d := &dropServer{host: "127.0.0.1", port: int32(l.Addr().(*net.TCPAddr).Port)}
	// Closing the listener ends this goroutine; the cleanup waits for it.
	go func() { done <- d.accept(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestDropServesProducers lets a real client produce to the reference, in every way the benchmark
// does.
func TestDropServesProducers(t *testing.T) {
	addr := startTestDrop(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, codec := range benchCodecs {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("t"),
			kgo.ProducerBatchCompression(codec.kgo))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r := &kgo.Record{Value: make([]byte, 1000)}
			if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatalf("%s: %v", codec.name, err)
			}
		}
		cl.Close()
	}
}

// TestDropSpreads lets a client write to every partition that the topic's name promises.
func TestDropSpreads(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(startTestDrop(t)),
		kgo.DefaultProduceTopic("t"+partitionsMark+"10"),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	seen := map[int32]int{}
	for range 20 {
		r, err := cl.ProduceSync(ctx, &kgo.Record{Value: []byte("x")}).First()
		if err != nil {
			t.Fatal(err)
		}
		seen[r.Partition]++
	}
	if len(seen) != 10 {
		t.Errorf("records went to the partitions %v, want 2 to each of 10", seen)
	}
}

// TestDropServesConsumers reads canned records: whole, in order, without a gap between batches.
func TestDropServesConsumers(t *testing.T) {
	addr := startTestDrop(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, size := range []int{100, 1024} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(cannedTopic(size)),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		const want = 100_000
		next := int64(0)
		for next < want {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("%d B: %v", size, err)
			}
			for it := fetches.RecordIter(); !it.Done(); next++ {
				if r := it.Next(); r.Offset != next || len(r.Value) != size {
					t.Fatalf("record at %d with %d bytes, want %d with %d", r.Offset, len(r.Value), next, size)
				}
			}
		}
		cl.Close()
	}
}

// TestDropChecksBatches sends a wrong checksum: a reference that did not look would be no
// reference.
func TestDropChecksBatches(t *testing.T) {
	raw, err := harness.PlainBatch(1, harness.Record("a")).Encode()
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks = -1
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = "t"
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = raw
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	c, err := harness.Dial(startTestDrop(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if resp, err := c.Do(req); err == nil {
		t.Fatalf("answered %+v to a wrong checksum, want the connection closed", resp)
	}
}

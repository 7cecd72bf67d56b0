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

package integration

import (
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestIdleCostsNothing parks a thousand fetches and one record due in an hour: over some seconds
// the server must use next to no CPU, and a record for now must still wake a parked fetch.
func TestIdleCostsNothing(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads CPU time from /proc, which only Linux has")
	}
	const (
		fetches = 1000
		window  = 2 * time.Second
		allowed = 50 * time.Millisecond // the kernel counts in steps of 10 ms
	)
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), 1)
	writer := dial(t, s.Addr())
	mustProduceRaw(t, writer, topic, encode(t, harness.PlainBatch(time.Now().UnixMilli(),
		harness.Record("later", headerDelay, "1h"))))
	parked := make([]*harness.Conn, fetches)
	for i := range parked {
		parked[i] = dial(t, s.Addr())
		if err := parked[i].Send(parkedFetch(topic)); err != nil {
			t.Fatal(err)
		}
	}
	// A round trip on the last connection cannot come back before its fetch does, so the server
	// gets a moment to park them all; what it still does after it, the bound allows for.
	<-time.After(window / 4)
	used := cpuOver(t, s, window)
	t.Logf("%s of CPU in %s with %d parked fetches", used, window, fetches)
	if used > allowed {
		t.Errorf("idle, the server used %s of CPU in %s, want %s at most", used, window, allowed)
	}
	mustProduceRaw(t, writer, topic, encode(t, harness.PlainBatch(time.Now().UnixMilli(),
		harness.Record("now"))))
	for i, c := range parked {
		resp, err := c.Receive()
		if err != nil {
			t.Fatalf("parked fetch %d: %v", i, err)
		}
		p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if len(p.RecordBatches) == 0 {
			t.Fatalf("parked fetch %d woke up with nothing", i)
		}
	}
}

// cpuOver returns the CPU time that the server uses within a window.
func cpuOver(t *testing.T, s *harness.Server, window time.Duration) time.Duration {
	t.Helper()
	before, err := harness.CPU(s.Process().Pid())
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(window)
	after, err := harness.CPU(s.Process().Pid())
	if err != nil {
		t.Fatal(err)
	}
	return after - before
}

// parkedFetch waits for data for longer than the test runs.
func parkedFetch(topic string) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(fetchVersion)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 60_000, 1, 1<<20
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

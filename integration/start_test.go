package integration

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// How much a start finds. The default is for every run of the tests; `make start` is the promise.
var (
	startMiB        = flag.Int("start.mib", 64, "MiB of log that a start finds in all partitions")
	startPartitions = flag.Int("start.partitions", 200, "partitions that a start finds")
	startDir        = flag.String("start.dir", "", "where the data goes; default: the temporary folder")
)

const (
	// startMax is how long a start may take until every partition is served.
	startMax = 5 * time.Second
	// startFillMax bounds the filling, which is as fast as the disk.
	startFillMax = 10 * time.Minute
	startTopic   = "many"
	// startRecordBytes is the size of a record that fills the logs.
	startRecordBytes = 8 << 10
	// startRequestBytes bounds a produce request.
	startRequestBytes = 16 << 20
)

// TestStartServesManyPartitionsSoon fills many partitions and times two starts: after a kill in the
// middle of the load, and after a clean stop.
func TestStartServesManyPartitionsSoon(t *testing.T) {
	dir := *startDir
	if dir == "" {
		dir = t.TempDir()
	}
	s := harness.Start(t, harness.Options{DataDir: dir})
	admin := kadm.NewClient(newClient(t, s.Addr()))
	_, err := admin.CreateTopic(testContext(t), int32(*startPartitions), -1, nil, startTopic)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	bytes := int64(*startMiB) << 20
	fillUntilKilled(t, s, bytes)
	t.Logf("%d MiB in %d partitions written in %v", *startMiB, *startPartitions, time.Since(began))
	for _, after := range []string{"a kill under load", "a kill without load", "a clean stop"} {
		switch after {
		case "a kill without load":
			s.Kill()
		case "a clean stop":
			s.Stop()
		}
		took := timedStart(t, s)
		t.Logf("served %v after the start, which came after %s", took, after)
		if took > startMax {
			t.Errorf("served %v after the start, which came after %s; it may take %v", took, after, startMax)
		}
	}
}

// fillUntilKilled writes so many bytes to all partitions in turn, and kills the server while more
// are on their way.
func fillUntilKilled(t *testing.T, s *harness.Server, bytes int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startFillMax)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.DefaultProduceTopic(startTopic),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchMaxBytes(1_000_000),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		// The client would fill a request with a batch for each partition, beyond what a server takes.
		kgo.BrokerMaxWriteBytes(startRequestBytes))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	value := make([]byte, startRecordBytes)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(value) // it never fails
	var failed struct {
		sync.Mutex
		err error
	}
	promise := func(_ *kgo.Record, err error) {
		failed.Lock()
		defer failed.Unlock()
		if failed.err == nil && !errors.Is(err, context.Canceled) {
			failed.err = err
		}
	}
	for range bytes / startRecordBytes {
		client.Produce(ctx, &kgo.Record{Value: value}, promise)
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	failed.Lock()
	err = failed.err
	failed.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		client.TryProduce(ctx, &kgo.Record{Value: value}, promise)
	}
	s.Kill()
	cancel()
	client.PurgeTopicsFromClient(startTopic)
}

// timedStart starts the server and returns how long it took until it had told the end of every
// partition and shown the last record of one.
func timedStart(t *testing.T, s *harness.Server) time.Duration {
	t.Helper()
	began := time.Now()
	s.Up()
	admin := kadm.NewClient(newClient(t, s.Addr()))
	ends, err := admin.ListEndOffsets(testContext(t), startTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	sum, count := int64(0), 0
	ends.Each(func(o kadm.ListedOffset) {
		sum += o.Offset
		count++
	})
	written := int64(*startMiB) << 20 / startRecordBytes
	if count != *startPartitions || sum < written {
		t.Errorf("%d partitions with %d records, want %d with at least %d", count, sum,
			*startPartitions, written)
	}
	return took
}

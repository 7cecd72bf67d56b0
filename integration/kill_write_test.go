package integration

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
	"github.com/chronosdb/chronosdb/integration/history"
)

// The shape of the loop that kills a server under writers.
const (
	writeKills      = 5
	writePartitions = 4
	writeAcksMin    = 1500 // acknowledgements between two kills: at least, and at random up to
	writeAcksMax    = 4000
	writeLoopMax    = 3 * time.Minute
)

// writeStyle is how one producer's records fall into batches. The batches of a producer alternate
// between plain and staged.
type writeStyle struct {
	run       int // records of a partition in a row that are all plain, or all staged
	valueSize int
	batchMax  int32
	control   kgo.RecordHeader // stages a record and makes it due at once
}

// writeStyles has one producer each: single-record batches, where every batch changes the log, and
// runs, where batches of several records do and the borders of runs make mixed batches.
var writeStyles = []writeStyle{
	{run: 1, valueSize: 700, batchMax: 1024, control: controlHeader(headerTs, "1600000000000")},
	{run: 1, valueSize: 600, batchMax: 1024, control: controlHeader(headerDelay, "0")},
	{run: 20, valueSize: 60, batchMax: 2048, control: controlHeader(headerTs, "1600000000000")},
	{run: 50, valueSize: 20, batchMax: 4096, control: controlHeader(headerDelay, "0s")},
}

func controlHeader(name, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: name, Value: []byte(value)}
}

// TestKillUnderWriters kills the server five times under idempotent producers at full rate, whose
// batches alternate between the two logs with five requests in flight. Afterwards every number
// that was acknowledged is there once, in its producer's order, and nothing else is.
func TestKillUnderWriters(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), writePartitions)
	ctx, cancel := context.WithTimeout(context.Background(), writeLoopMax)
	defer cancel()

	var to writing
	var writers sync.WaitGroup
	for id, style := range writeStyles {
		cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchMaxBytes(style.batchMax),
			kgo.ProducerBatchCompression(kgo.NoCompression()),
			kgo.MaxBufferedRecords(2000))
		// Setting stop ends these goroutines; the wait group waits for them.
		writers.Go(func() { to.write(ctx, cl, id) })
	}
	for kill := range writeKills + 1 {
		n := writeAcksMin + rng.IntN(writeAcksMax-writeAcksMin)
		select {
		case <-to.book.after(n):
		case <-ctx.Done():
			t.Fatalf("waiting for %d acknowledgements before kill %d: %v", n, kill, ctx.Err())
		}
		if _, err := to.book.result(); err != nil {
			t.Fatalf("a producer gave up: %v", err)
		}
		if kill < writeKills {
			s.Restart()
		}
	}
	to.stop.Store(true)
	writers.Wait()
	acked, err := to.book.result()
	if err != nil {
		t.Fatalf("a producer gave up: %v", err)
	}
	reads := readAll(t, s.Addr(), topic)
	t.Logf("%d acknowledged over %d kills, %d read", len(acked), writeKills, len(reads))
	judge(t, history.Lost(acked, reads), history.Duplicate(reads), history.Phantom(acked, reads),
		history.OutOfOrder(reads), history.Dense(reads))
	checkBothLogs(t, s.Addr(), topic)
}

// writing is what the producers of one loop share.
type writing struct {
	book ledger
	stop atomic.Bool
}

// write produces numbers over all partitions until it is told to stop, then flushes.
func (to *writing) write(ctx context.Context, cl *kgo.Client, id int) {
	style := writeStyles[id]
	padding := strings.Repeat("x", style.valueSize)
	for number := 0; !to.stop.Load() && ctx.Err() == nil; number++ {
		w := history.Write{
			Key:       history.Key{Producer: id, Number: number},
			Partition: int32(number % writePartitions),
		}
		r := &kgo.Record{Partition: w.Partition, Value: valueOf(w, padding)}
		if number/writePartitions/style.run%2 == 1 {
			r.Headers = []kgo.RecordHeader{style.control}
		}
		cl.Produce(ctx, r, to.book.promise(w))
	}
	_ = cl.Flush(ctx) // what it could not flush, its promise reports
}

// checkBothLogs proves that the run went through both logs: partition 0 must hold batches with
// the server's mark and batches without, many of each, or the loop tested something else.
func checkBothLogs(t *testing.T, addr, topic string) {
	t.Helper()
	const batchesMin = 50
	hw := highWatermark(t, dial(t, addr), topic)
	marked, plain := 0, 0
	for _, b := range storedBatches(t, addr, topic, int(hw)) {
		if b.Attributes&harness.MarkBit != 0 {
			marked++
		} else {
			plain++
		}
	}
	if marked < batchesMin || plain < batchesMin {
		t.Errorf("invalid run: %d delivered and %d plain batches in partition 0, want %d of each",
			marked, plain, batchesMin)
	}
}

package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
	"github.com/chronosdb/chronosdb/integration/history"
)

const (
	failPartitions = 4
	failAcksMin    = 300 // acknowledgements before the disk fails, and again after the next start
	exitMax        = time.Second
	// straceSlack is what strace, which stops the process at every system call, may add to its end.
	straceSlack = time.Second
	failLoopMax = 2 * time.Minute
)

// TestDiskErrorEndsTheServer spoils system calls of a server under writers, each kind in a test of its
// own. The server exits with an error within a second of the first one, acknowledges nothing that it
// was sent after it, and its next start serves every record that was acknowledged.
func TestDiskErrorEndsTheServer(t *testing.T) {
	t.Parallel()
	harness.NeedStrace(t)
	for name, calls := range map[string]string{
		"fdatasync EIO":    "fsync,fdatasync:error=EIO",
		"fdatasync ENOSPC": "fsync,fdatasync:error=ENOSPC",
		"pwrite EIO":       "pwrite64,pwritev,pwritev2:error=EIO",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			diskErrorEndsTheServer(t, calls)
		})
	}
}

func diskErrorEndsTheServer(t *testing.T, calls string) {
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), failPartitions)
	ctx, cancel := context.WithTimeout(context.Background(), failLoopMax)
	defer cancel()
	to := &failing{stop: make(chan struct{})}
	var writers sync.WaitGroup
	for id := range 3 {
		cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(500),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond))
		// Closing stop ends these goroutines; the wait group waits for them.
		writers.Go(func() { to.write(ctx, cl, id) })
	}
	to.await(ctx, t, failAcksMin)
	spoiled := harness.Inject(t, s.Process().Pid(), "", calls)
	code, gone := s.AwaitExit(failLoopMax)
	spoiled.End()
	first, ok, err := spoiled.First()
	if err != nil || !ok {
		t.Fatalf("no call was spoiled: %v", err)
	}
	if took := gone.Sub(first); took > exitMax+straceSlack {
		t.Errorf("the server ended %s after its disk had failed, %s at most", took, exitMax)
	}
	if code <= 0 {
		t.Errorf("exit code %d, want an error's", code)
	}
	restarted := time.Now()
	s.Up()
	to.await(ctx, t, failAcksMin)
	close(to.stop)
	writers.Wait()
	acked, err := to.book.result()
	if err != nil {
		t.Fatalf("a producer gave up: %v", err)
	}
	if late := to.ackedBetween(first, restarted); late > 0 {
		t.Errorf("%d records were sent after the disk had failed and acknowledged before the next start", late)
	}
	reads := readAll(t, s.Addr(), topic)
	t.Logf("%d acknowledged, %d read; ended %s after the first error", len(acked), len(reads), gone.Sub(first))
	judge(t, history.Lost(acked, reads), history.Duplicate(reads), history.Phantom(acked, reads),
		history.OutOfOrder(reads), history.Dense(reads))
}

// failing is what the producers of one test share.
type failing struct {
	book ledger
	stop chan struct{}

	times struct {
		sync.Mutex
		spans []span
	}
}

// span is when a record was sent and when it was acknowledged.
type span struct{ sent, acked time.Time }

// await waits for so many more acknowledgements.
func (to *failing) await(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	select {
	case <-to.book.after(n):
	case <-ctx.Done():
		t.Fatalf("waiting for %d acknowledgements: %v", n, ctx.Err())
	}
}

// write produces numbers until it is told to stop, then flushes.
func (to *failing) write(ctx context.Context, cl *kgo.Client, id int) {
	for number := 0; ctx.Err() == nil; number++ {
		select {
		case <-to.stop:
			_ = cl.Flush(ctx) // what it could not flush, its promise reports
			return
		default:
		}
		w := history.Write{
			Key:       history.Key{Producer: id, Number: number},
			Partition: int32(number % failPartitions),
		}
		sent, promise := time.Now(), to.book.promise(w)
		r := &kgo.Record{Partition: w.Partition, Value: valueOf(w, "padding")}
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err == nil {
				to.times.Lock()
				to.times.spans = append(to.times.spans, span{sent, time.Now()})
				to.times.Unlock()
			}
			promise(r, err)
		})
	}
}

// ackedBetween counts records that were sent after one time and acknowledged before another.
func (to *failing) ackedBetween(after, before time.Time) (n int) {
	to.times.Lock()
	defer to.times.Unlock()
	for _, s := range to.times.spans {
		if s.sent.After(after) && s.acked.Before(before) {
			n++
		}
	}
	return n
}

// The slow disk.
const (
	slowSync       = 100 * time.Millisecond
	slowProducers  = 8
	slowRecords    = 60 // of each producer
	slowValueBytes = 512 << 10
	slowGrowthMax  = 128 << 20 // resident memory
)

// TestSlowSyncs makes every fdatasync take a while, under producers that send as fast as they are
// answered: they wait, and the server's memory does not grow with what waits.
func TestSlowSyncs(t *testing.T) {
	t.Parallel()
	harness.NeedStrace(t)
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), failPartitions)
	produceSync(t, newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic)), &kgo.Record{Value: []byte("warm")})
	before, err := harness.Resident(s.Process().Pid())
	if err != nil {
		t.Fatal(err)
	}
	harness.Inject(t, s.Process().Pid(), "", fmt.Sprintf("fsync,fdatasync:delay_enter=%d", slowSync.Microseconds()))
	latencies := make([][]time.Duration, slowProducers)
	var writers sync.WaitGroup
	for id := range slowProducers {
		cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
		// Each ends when its records are sent; the wait group waits for them.
		writers.Go(func() { latencies[id] = sendSlowly(t, cl, int32(id%failPartitions)) })
	}
	writers.Wait()
	peak, err := harness.Peak(s.Process().Pid())
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
	if len(all) != slowProducers*slowRecords {
		t.Fatalf("%d records answered, %d sent", len(all), slowProducers*slowRecords)
	}
	t.Logf("latency %s to %s; resident %d MiB, at most %d MiB", all[0], all[len(all)-1], before>>20, peak>>20)
	if all[0] < slowSync {
		t.Errorf("an answer after %s, an fdatasync takes %s", all[0], slowSync)
	}
	if peak-before > slowGrowthMax {
		t.Errorf("resident memory grew from %d to %d MiB", before>>20, peak>>20)
	}
}

// sendSlowly sends records with no wait between them and returns how long each answer took.
func sendSlowly(t *testing.T, cl *kgo.Client, partition int32) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	for range slowRecords {
		sent := time.Now()
		r := &kgo.Record{Partition: partition, Value: make([]byte, slowValueBytes)}
		cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("produce to a slow disk: %v", err)
			}
			took = append(took, time.Since(sent))
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Errorf("produce to a slow disk: %v", err)
	}
	return took
}

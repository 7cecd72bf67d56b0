package integration

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
	"github.com/chronosdb/chronosdb/integration/history"
)

// The shape of the loop that kills a server while records fall due.
const (
	dueRecords    = 20_000
	duePartitions = 4
	dueLead       = 4 * time.Second // from the first write to the first due time
	dueWindow     = 8 * time.Second // from the first due time to the last
	dueKills      = 5
	dueReadMin    = 600 // records read between two kills: at least, and at random up to
	dueReadMax    = 3000
	dueKillMin    = 500 // pending, and delivered since the last kill, at each kill
	dueLoopMax    = 2 * time.Minute
)

// TestKillWhileDue kills the server five times while 20,000 records fall due. Each is delivered
// once, none early, in due order within its partition, and a last restart delivers none again.
func TestKillWhileDue(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), duePartitions)
	ctx, cancel := context.WithTimeout(context.Background(), dueLoopMax)
	defer cancel()

	first := time.Now().Add(dueLead)
	writer := dueWriter{addr: s.Addr(), topic: topic}
	acked := writer.schedule(ctx, t, dueTimes(rng, first))
	if late := time.Since(first); late > 0 {
		t.Fatalf("invalid run: the records were accepted %s after the first due time", late)
	}
	reads := readUnderKills(ctx, t, s, rng, topic)
	judge(t, history.Lost(acked, reads), history.Duplicate(reads), history.Phantom(acked, reads),
		history.Early(reads), history.DueOrder(reads), history.Dense(reads))

	s.Restart()
	writer.producer++
	fences := writer.fence(ctx, t)
	again := readAll(t, s.Addr(), topic)
	all := append(acked, fences...)
	judge(t, history.Lost(all, again), history.Duplicate(again), history.Phantom(all, again),
		history.DueOrder(again), history.Dense(again))
}

// dueTimes draws the due times, in no order.
func dueTimes(rng *rand.Rand, first time.Time) []int64 {
	dues := make([]int64, dueRecords)
	for i := range dues {
		dues[i] = first.UnixMilli() + rng.Int64N(dueWindow.Milliseconds())
	}
	return dues
}

// dueWriter writes scheduled records over all partitions.
type dueWriter struct {
	addr, topic string
	producer    int
}

// schedule writes one record for each due time and returns when all are acknowledged.
func (d dueWriter) schedule(ctx context.Context, t *testing.T, dues []int64) []history.Write {
	t.Helper()
	cl := newClient(t, d.addr, kgo.DefaultProduceTopic(d.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(32<<10))
	var book ledger
	for i, due := range dues {
		w := history.Write{
			Key:       history.Key{Producer: d.producer, Number: i},
			Partition: int32(i % duePartitions), DueMs: due,
		}
		cl.Produce(ctx, &kgo.Record{
			Partition: w.Partition, Value: valueOf(w, "due"),
			Headers: []kgo.RecordHeader{{Key: headerTs, Value: strconv.AppendInt(nil, due, 10)}},
		}, book.promise(w))
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
	acked, err := book.result()
	if err != nil || len(acked) != len(dues) {
		t.Fatalf("%d of %d accepted: %v", len(acked), len(dues), err)
	}
	return acked
}

// readUnderKills reads everything with one consumer, killing the server in between; each kill must
// find enough records pending and enough delivered since the last one, or the run is invalid.
func readUnderKills(
	ctx context.Context, t *testing.T, s *harness.Server, rng *rand.Rand, topic string,
) []history.Read {
	t.Helper()
	cl := newClient(t, s.Addr(), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	reads := make([]history.Read, 0, dueRecords)
	kills, since := 0, 0
	goal := func() int { return dueReadMin + rng.IntN(dueReadMax-dueReadMin) }
	next := goal()
	for len(reads) < dueRecords {
		fetches := cl.PollRecords(ctx, dueReadMin)
		at := time.Now()
		if err := fetches.Err(); err != nil {
			t.Fatalf("poll after %d of %d records and %d kills: %v",
				len(reads), dueRecords, kills, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			reads = append(reads, readOf(t, arrival{r, at}))
			since++
		})
		if kills < dueKills && since >= next {
			checkKillCounts(t, s, since, dueRecords-len(reads))
			s.Restart()
			kills, since, next = kills+1, 0, goal()
		}
	}
	if kills != dueKills {
		t.Fatalf("invalid run: %d kills, want %d", kills, dueKills)
	}
	return reads
}

// checkKillCounts asks the server itself what is pending: what is in the log and not yet read
// counts as delivered. The bound on unread records holds whatever the server says.
func checkKillCounts(t *testing.T, s *harness.Server, read, unread int) {
	t.Helper()
	pending, err := s.Metrics().Sum("chronos_pending_records")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kill with %d read since the last, %.0f pending, %d unread", read, pending, unread)
	if read < dueKillMin || pending < dueKillMin || int(pending) > unread {
		t.Fatalf("invalid run: %d read since the last kill, %.0f pending and %d unread, "+
			"want at least %d read and pending", read, pending, unread, dueKillMin)
	}
}

// fence schedules one more record on each partition and waits for all of them: anything that a
// restart delivers again is in the log before they are.
func (d dueWriter) fence(ctx context.Context, t *testing.T) []history.Write {
	t.Helper()
	dues := make([]int64, duePartitions)
	for i := range dues {
		dues[i] = time.Now().Add(ahead).UnixMilli()
	}
	fences := d.schedule(ctx, t, dues)
	consume(t, d.addr, d.topic, dueRecords+duePartitions)
	return fences
}

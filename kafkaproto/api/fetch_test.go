package api_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
)

// fetchAt asks for partitions of topic "t" from the given offsets on.
func fetchAt(version int16, id [16]byte, offsets ...int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version = version
	populateFetch(r, id)
	r.Topics[0].Partitions = nil
	for i, o := range offsets {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), o, 1<<20
		p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	}
	return r
}

// fetched runs a fetch and returns the partitions of its answer.
func (b *bench) fetched(r *kmsg.FetchRequest) []kmsg.FetchResponseTopicPartition {
	b.t.Helper()
	out := b.do(r).(*kmsg.FetchResponse)
	if out.ErrorCode != 0 || out.SessionID != 0 || len(out.Topics) != 1 {
		b.t.Fatalf("fetch: %+v", out)
	}
	for _, p := range out.Topics[0].Partitions {
		if p.RecordBatches == nil {
			b.t.Errorf("partition %d: records are null, which kafka-python cannot read", p.Partition)
		}
	}
	return out.Topics[0].Partitions
}

// spans lists the offsets of the batches in some records, first and last of each.
func spans(t *testing.T, raw []byte) (out [][2]int64) {
	t.Helper()
	for len(raw) > 0 {
		b, rest, err := batch.Next(raw)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, [2]int64{int64(b.BaseOffset()), int64(b.LastOffset())})
		raw = rest
	}
	return out
}

func TestFetchStates(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	part := b.replicas.Of("t", 0)
	for range 3 {
		part.Put(records(t, 5, 10, batch.None))
	}
	for version := int16(4); version <= 18; version++ {
		p := b.fetched(fetchAt(version, id, 7))[0]
		if got := spans(t, p.RecordBatches); len(got) != 2 || got[0] != [2]int64{5, 9} {
			t.Errorf("v%d: from 7 came %v, want the batch that holds it and the next", version, got)
		}
		if p.ErrorCode != 0 || p.HighWatermark != 15 || p.LastStableOffset != 15 {
			t.Errorf("v%d: %+v", version, p)
		}
		if p.AbortedTransactions != nil || p.PreferredReadReplica != -1 {
			t.Errorf("v%d: aborted %v, preferred %d", version, p.AbortedTransactions, p.PreferredReadReplica)
		}
		if p = b.fetched(fetchAt(version, id, 15))[0]; p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
			t.Errorf("v%d: at the end: %+v", version, p)
		}
		for _, o := range []int64{16, -1} {
			p = b.fetched(fetchAt(version, id, o))[0]
			if p.ErrorCode != kerr.OffsetOutOfRange.Code || p.HighWatermark != -1 || len(p.RecordBatches) != 0 {
				t.Errorf("v%d: from %d: %+v", version, o, p)
			}
		}
	}
	committed := fetchAt(12, id, 0)
	committed.IsolationLevel = 1
	if p := b.fetched(committed)[0]; p.AbortedTransactions == nil || len(p.AbortedTransactions) != 0 {
		t.Errorf("read_committed: aborted transactions are %v, want an empty list", p.AbortedTransactions)
	}
}

func TestFetchRefusals(t *testing.T) {
	part := func(r *kmsg.FetchRequest) *kmsg.FetchRequestTopicPartition { return &r.Topics[0].Partitions[0] }
	for _, c := range []struct {
		name    string
		version int16
		change  func(r *kmsg.FetchRequest)
		want    *kerr.Error
	}{
		{"topic", 12, func(r *kmsg.FetchRequest) { r.Topics[0].Topic = "no" }, kerr.UnknownTopicOrPartition},
		{"topic id", 13, func(r *kmsg.FetchRequest) { r.Topics[0].TopicID[5]++ }, kerr.UnknownTopicID},
		{"partition", 13, func(r *kmsg.FetchRequest) { part(r).Partition = 9 }, kerr.UnknownTopicOrPartition},
		{"old epoch", 12, func(r *kmsg.FetchRequest) { part(r).CurrentLeaderEpoch = 2 }, kerr.FencedLeaderEpoch},
		{"new epoch", 12, func(r *kmsg.FetchRequest) { part(r).CurrentLeaderEpoch = 4 }, kerr.UnknownLeaderEpoch},
		{"follower", 12, func(r *kmsg.FetchRequest) { r.ReplicaID = 2 }, kerr.NotLeaderForPartition},
		{"new follower", 17, func(r *kmsg.FetchRequest) { r.ReplicaState.ID = 2 }, kerr.NotLeaderForPartition},
	} {
		b := newBench(t)
		id := b.topic("t", 1)
		r := fetchAt(c.version, id, 0)
		r.MinBytes, r.MaxWaitMillis = 1, 100_000 // an error is answered at once
		c.change(r)
		if p := b.fetched(r)[0]; p.ErrorCode != c.want.Code {
			t.Errorf("%s: code %d, want %v", c.name, p.ErrorCode, c.want)
		}
	}
}

// TestFetchNamesTheLeader: from version 16 on, with the errors after which a client looks for it.
func TestFetchNamesTheLeader(t *testing.T) {
	for version := int16(12); version <= 18; version++ {
		b := newBench(t)
		r := fetchAt(version, b.topic("t", 1), 0)
		r.Topics[0].Partitions[0].CurrentLeaderEpoch = 1
		out := b.do(r).(*kmsg.FetchResponse)
		leader, named := out.Topics[0].Partitions[0].CurrentLeader, version >= 16
		if (leader.LeaderID == apitest.Node && leader.LeaderEpoch == 3) != named {
			t.Errorf("v%d: leader %+v", version, leader)
		}
		if (len(out.Brokers) == 1 && out.Brokers[0].Host == "broker.test") != named {
			t.Errorf("v%d: nodes %+v", version, out.Brokers)
		}
	}
}

func TestFetchDiverging(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	b.replicas.Of("t", 0).Put(records(t, 5, 10, batch.None))
	r := fetchAt(12, id, 3)
	r.Topics[0].Partitions[0].LastFetchedEpoch = 1
	r.MinBytes, r.MaxWaitMillis = 1, 100_000
	p := b.fetched(r)[0]
	if p.ErrorCode != 0 || p.DivergingEpoch.Epoch != 1 || p.DivergingEpoch.EndOffset != 1 || len(p.RecordBatches) != 0 {
		t.Errorf("%+v", p)
	}
}

// TestFetchLimits: the first partition with data gives a whole batch, the limits hold for the rest.
func TestFetchLimits(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 3)
	size := 0
	for _, i := range []int32{1, 2} {
		for range 4 {
			raw := records(t, 1, 1000, batch.None)
			size = len(raw)
			b.replicas.Of("t", i).Put(raw)
		}
	}
	for _, c := range []struct {
		name             string
		request, per     int
		wantOne, wantTwo int // batches of partitions 1 and 2
	}{
		{"no room at all", 0, 0, 1, 0},
		{"one byte", 1, 1, 1, 0},
		{"one each", 10 * size, size, 1, 1},
		{"two and a bit", 10 * size, 2*size + 5, 2, 2},
		{"three in all", 3 * size, 2 * size, 2, 1},
		{"everything", 10 * size, 10 * size, 4, 4},
	} {
		r := fetchAt(13, id, 0, 0, 0)
		r.MaxBytes = int32(c.request)
		for i := range r.Topics[0].Partitions {
			r.Topics[0].Partitions[i].PartitionMaxBytes = int32(c.per)
		}
		p := b.fetched(r)
		one, two := len(spans(t, p[1].RecordBatches)), len(spans(t, p[2].RecordBatches))
		if len(p[0].RecordBatches) != 0 || one != c.wantOne || two != c.wantTwo {
			t.Errorf("%s: %d and %d batches, want %d and %d", c.name, one, two, c.wantOne, c.wantTwo)
		}
	}
}

// TestFetchEmptyBatches: compaction leaves batches without records, on which three clients go
// wrong when they come alone. They are skipped, and never end an answer.
func TestFetchEmptyBatches(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	part := b.replicas.Of("t", 0)
	part.Put(empty(t, 5))                   // 0-4
	part.Put(empty(t, 5))                   // 5-9
	part.Put(records(t, 2, 10, batch.None)) // 10-11
	part.Put(empty(t, 3))                   // 12-14
	part.Put(records(t, 1, 10, batch.None)) // 15
	part.Put(empty(t, 4))                   // 16-19
	r := fetchAt(13, id, 0)
	got := spans(t, b.fetched(r)[0].RecordBatches)
	if len(got) < 5 || got[len(got)-1] != [2]int64{15, 15} {
		t.Errorf("all at once: %v", got)
	}
	r.Topics[0].Partitions[0].PartitionMaxBytes = 1
	if got = spans(t, b.fetched(r)[0].RecordBatches); len(got) != 1 || got[0] != [2]int64{10, 11} {
		t.Errorf("one at a time from 0: %v", got)
	}
	r.Topics[0].Partitions[0].FetchOffset = 12
	if got = spans(t, b.fetched(r)[0].RecordBatches); len(got) != 1 || got[0] != [2]int64{15, 15} {
		t.Errorf("one at a time from 12: %v", got)
	}
	r.Topics[0].Partitions[0].FetchOffset = 16
	if got = spans(t, b.fetched(r)[0].RecordBatches); len(got) != 0 {
		t.Errorf("nothing but empty ones to the end: %v", got)
	}
}

func TestFetchZstdNeedsVersion10(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	b.replicas.Of("t", 0).Put(records(t, 9, 100, batch.Zstd))
	p := b.fetched(fetchAt(9, id, 0))[0]
	if p.ErrorCode != kerr.UnsupportedCompressionType.Code || len(p.RecordBatches) != 0 {
		t.Errorf("v9: %+v", p)
	}
	if p = b.fetched(fetchAt(10, id, 0))[0]; p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("v10: %+v", p)
	}
}

// waiting parks a fetch for a byte from the end of partition 0.
func (b *bench) waiting(id [16]byte, min int32, wait time.Duration) <-chan []byte {
	b.t.Helper()
	r := fetchAt(13, id, int64(b.replicas.Of("t", 0).HighWatermark()))
	r.MinBytes, r.MaxWaitMillis = min, int32(wait.Milliseconds())
	answer, err := b.start(r)
	if err != nil || answer.Ready() || answer.Held() <= 0 {
		b.t.Fatalf("ready %v, holds %d, %v", answer.Ready(), answer.Held(), err)
	}
	return b.parked(answer)
}

// TestFetchParks: a fetch waits without looking, is woken by data, and by nothing else.
func TestFetchParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.topic("t", 1)
		part := b.replicas.Of("t", 0)
		began := time.Now()
		done := b.waiting(id, 1, 10*second)
		synctest.Wait()
		still(t, done)
		if part.Reads() != 1 || part.Watchers() != 1 {
			t.Errorf("%d reads and %d watchers while parked", part.Reads(), part.Watchers())
		}
		part.Put(records(t, 1, 10, batch.None))
		if raw := <-done; len(raw) < batch.HeaderBytes {
			t.Errorf("woken with %d bytes", len(raw))
		}
		if time.Since(began) != 0 {
			t.Errorf("answered after %v", time.Since(began))
		}
		if part.Watchers() != 0 {
			t.Error("the watcher stays")
		}

		began = time.Now()
		done = b.waiting(id, 1, 10*second)
		if raw := <-done; len(raw) == 0 || len(raw) > batch.HeaderBytes+30 {
			t.Errorf("timed out with %d bytes", len(raw))
		}
		if waited := time.Since(began); waited != 10*second {
			t.Errorf("timed out after %v", waited)
		}
	})
}

// TestFetchMinBytes: what is too little is kept until there is more, or the time is over.
func TestFetchMinBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.topic("t", 1)
		part := b.replicas.Of("t", 0)
		raw := records(t, 1, 100, batch.None)
		done := b.waiting(id, int32(3*len(raw)), 10*second)
		for range 2 {
			part.Put(raw)
			<-time.After(second)
			synctest.Wait()
			still(t, done)
		}
		if part.Reads() != 1 {
			t.Errorf("looked %d times, though there cannot be enough", part.Reads())
		}
		part.Put(raw)
		if got := <-done; len(got) < 3*len(raw) {
			t.Errorf("answered %d bytes, asked for %d", len(got), 3*len(raw))
		}
		began := time.Now()
		done = b.waiting(id, int32(3*len(raw)), 10*second)
		part.Put(raw)
		if got := <-done; len(got) < len(raw) {
			t.Errorf("after the wait: %d bytes", len(got))
		}
		if waited := time.Since(began); waited != 10*second {
			t.Errorf("answered after %v", waited)
		}
	})
}

// TestFetchMinBytesAboveMax: a full answer is not held back because more was asked than may come.
func TestFetchMinBytesAboveMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.topic("t", 1)
		raw := records(t, 1, 100, batch.None)
		for range 3 {
			b.replicas.Of("t", 0).Put(raw)
		}
		r := fetchAt(13, id, 0)
		r.MinBytes, r.MaxBytes, r.MaxWaitMillis = 1<<20, int32(2*len(raw)), 10_000
		began := time.Now()
		if got := len(b.fetched(r)[0].RecordBatches); got != 2*len(raw) || time.Since(began) != 0 {
			t.Errorf("%d bytes after %v", got, time.Since(began))
		}
	})
}

// TestFetchEnds: a drain answers what is parked, a lost connection frees it.
func TestFetchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.topic("t", 1)
		ctx, cancel := context.WithCancel(t.Context())
		b.waiter.Ctx = ctx
		done := b.waiting(id, 1, 10*second)
		synctest.Wait()
		cancel()
		if raw := <-done; raw != nil {
			t.Errorf("answered a lost connection: % x", raw)
		}
		b.waiter.Ctx = t.Context()
		done = b.waiting(id, 1, 10*second)
		synctest.Wait()
		close(b.drain)
		if raw := <-done; len(raw) == 0 {
			t.Error("no answer while draining")
		}
		if b.replicas.Of("t", 0).Watchers() != 0 {
			t.Error("the watcher stays")
		}
	})
}

// scarce is a memory budget with a little left: of what all share, and for pieces.
type scarce struct{ left, pieces int64 }

func (s *scarce) TryAcquire(n int64) bool {
	if n > s.left {
		return false
	}
	s.left -= n
	return true
}

func (s *scarce) Release(n int64) { s.left += n }

func (s *scarce) AcquirePiece(_ context.Context, n int64) error {
	if n > s.pieces {
		return errors.New("none left")
	}
	s.pieces -= n
	return nil
}

func (s *scarce) ReleasePiece(n int64) { s.pieces += n }

// TestFetchWithoutMemory: the answer is as large as there is memory for, without waiting for more,
// one batch comes always, and all memory is given back.
func TestFetchWithoutMemory(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 2)
	for i := range int32(2) {
		for range 4 {
			b.replicas.Of("t", i).Put(records(t, 1, 100<<10, batch.None))
		}
	}
	batchBytes := len(records(t, 1, 100<<10, batch.None))
	for _, c := range []struct {
		have   scarce
		first  int // batches of the first partition
		second int
	}{
		{scarce{4 << 20, 0}, 4, 4},
		{scarce{1<<20 + 100, 0}, 4, 4}, // all of it for the first, then half of what that left
		{scarce{600 << 10, 0}, 4, 1},
		{scarce{300 << 10, 0}, 2, 0},
		{scarce{0, 1 << 20}, 4, 0},
		{scarce{0, 2 << 20}, 4, 0},
	} {
		have := c.have
		b.waiter.Memory = &have
		r := fetchAt(13, id, 0, 0)
		r.MaxBytes, r.MinBytes, r.MaxWaitMillis = 2<<20, 2<<20, 3_600_000
		for i := range r.Topics[0].Partitions {
			r.Topics[0].Partitions[i].PartitionMaxBytes = 1 << 20
		}
		if c.have.left > 2<<20 {
			r.MinBytes = 1
		}
		p := b.fetched(r)
		got := [2]int{len(p[0].RecordBatches) / batchBytes, len(p[1].RecordBatches) / batchBytes}
		if want := [2]int{c.first, c.second}; got != want || p[1].ErrorCode != 0 {
			t.Errorf("%+v: %d batches, want %d", c.have, got, want)
		}
		held := c.have.left + c.have.pieces - have.left - have.pieces
		if held < int64((got[0]+got[1])*batchBytes) {
			t.Errorf("%+v: %d bytes are held for %d batches", c.have, held, got)
		}
		if b.waiter.ReleaseReserved(); have != c.have {
			t.Errorf("%+v are left of %+v", have, c.have)
		}
	}
}

// TestFetchOfOneBatchIsCharged: a first batch comes whatever the limits, and is charged all the same,
// of what all share or as a piece.
func TestFetchOfOneBatchIsCharged(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	for _, c := range []struct {
		have scarce
		size int
	}{
		{scarce{4 << 20, 0}, 100 << 10},
		{scarce{4 << 20, 0}, 2 << 20},
		{scarce{300 << 10, 0}, 100 << 10},
		{scarce{0, 1 << 20}, 100 << 10},
	} {
		from := int64(b.replicas.Of("t", 0).HighWatermark())
		b.replicas.Of("t", 0).Put(records(t, 1, c.size, batch.None))
		have := c.have
		b.waiter.Memory = &have
		r := fetchAt(13, id, from)
		r.Topics[0].Partitions[0].PartitionMaxBytes = 1
		got := int64(len(b.fetched(r)[0].RecordBatches))
		held := c.have.left + c.have.pieces - have.left - have.pieces
		if got < int64(c.size) || held < got {
			t.Errorf("%+v: %d bytes are held for %d", c.have, held, got)
		}
		if b.waiter.ReleaseReserved(); have != c.have {
			t.Errorf("%+v are left of %+v", have, c.have)
		}
	}
}

package api_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// answered reads what parked has passed on.
func answered(t *testing.T, version int16, raw []byte) *kmsg.FetchResponse {
	t.Helper()
	header := 4
	if version >= 12 {
		header++
	}
	if len(raw) < header {
		t.Fatalf("no answer: % x", raw)
	}
	out := kmsg.NewPtrFetchResponse()
	out.Version = version
	if err := out.ReadFrom(raw[header:]); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFetchIsFullBeforeItsLimits: whole batches rarely fill a limit to the byte. Where the limits
// keep back what there is, waiting brings no more: a fetch whose min_bytes is its limit is answered
// at once (DelayedFetch.tryComplete in Kafka counts what is there, up to the partition's limit).
func TestFetchIsFullBeforeItsLimits(t *testing.T) {
	raw := records(t, 1, 1000, batch.None)
	most := int32(3*len(raw) + len(raw)/2)
	for name, change := range map[string]func(r *kmsg.FetchRequest){
		"of the partition": func(r *kmsg.FetchRequest) {
			r.Topics[0].Partitions = r.Topics[0].Partitions[:1]
			r.MinBytes, r.Topics[0].Partitions[0].PartitionMaxBytes = most, most
		},
		"of the response": func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxBytes = most, most },
		"of a batch that does not fit": func(r *kmsg.FetchRequest) {
			r.MinBytes = int32(4 * len(raw)) // three and a bit of the first, and a bit of the second
			r.Topics[0].Partitions[0].PartitionMaxBytes = most
			r.Topics[0].Partitions[1].PartitionMaxBytes = int32(len(raw) - 1)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			id := b.topic("t", 2)
			for range 5 {
				b.replicas.Of("t", 0).Put(raw)
				b.replicas.Of("t", 1).Put(raw)
			}
			r := fetchAt(13, id, 0, 0)
			r.MaxWaitMillis = 10_000
			change(r)
			began := time.Now()
			p := b.fetched(r)
			if got := len(p[0].RecordBatches); got != 3*len(raw) {
				t.Errorf("limit %s: %d bytes, want %d", name, got, 3*len(raw))
			}
			if waited := time.Since(began); waited != 0 {
				t.Errorf("limit %s: answered after %v", name, waited)
			}
		})
	}
}

// TestFetchIsNotWokenByWhatItCannotTake: a partition that has more than its limit lets in cannot
// make an answer larger, whatever comes to it; another one can.
func TestFetchIsNotWokenByWhatItCannotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.topic("t", 2)
		full, idle := b.replicas.Of("t", 0), b.replicas.Of("t", 1)
		raw := records(t, 1, 1000, batch.None)
		full.Put(raw)
		full.Put(raw)
		r := fetchAt(13, id, 0, 0)
		r.MinBytes, r.MaxWaitMillis = int32(3*len(raw)), 10_000
		r.Topics[0].Partitions[0].PartitionMaxBytes = int32(len(raw))
		answer, err := b.start(r)
		if err != nil {
			t.Fatal(err)
		}
		done := b.parked(answer)
		for range 10 {
			full.Put(raw)
			synctest.Wait()
			still(t, done)
		}
		if full.Reads() != 1 {
			t.Errorf("looked %d times at a partition that gives no more", full.Reads())
		}
		idle.Put(raw)
		synctest.Wait()
		still(t, done)
		idle.Put(raw)
		p := answered(t, 13, <-done).Topics[0].Partitions
		if len(p[0].RecordBatches) != len(raw) || len(p[1].RecordBatches) != 2*len(raw) {
			t.Errorf("answered %d and %d bytes", len(p[0].RecordBatches), len(p[1].RecordBatches))
		}
	})
}

// TestFetchOfDeletedTopic: whoever waits for a topic that goes learns it then, also when another
// one has its name by now.
func TestFetchOfDeletedTopic(t *testing.T) {
	for _, c := range []struct {
		version int16
		anew    bool
		want    *kerr.Error
	}{
		{12, false, kerr.UnknownTopicOrPartition},
		{13, false, kerr.UnknownTopicID},
		{12, true, kerr.OffsetOutOfRange},
		{13, true, kerr.UnknownTopicID},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			id := b.topic("t", 1)
			b.replicas.Of("t", 0).Put(records(t, 5, 10, batch.None))
			r := fetchAt(c.version, id, 5)
			r.MinBytes, r.MaxWaitMillis = 1, 10_000
			answer, err := b.start(r)
			if err != nil {
				t.Fatal(err)
			}
			began, done := time.Now(), b.parked(answer)
			synctest.Wait()
			if err := b.replicas.DeleteTopic(id); err != nil {
				t.Fatal(err)
			}
			if c.anew {
				b.topic("t", 1)
			}
			out := answered(t, c.version, <-done)
			if code := out.Topics[0].Partitions[0].ErrorCode; code != c.want.Code {
				t.Errorf("v%d, made anew %v: code %d, want %v", c.version, c.anew, code, c.want)
			}
			if waited := time.Since(began); waited != 0 {
				t.Errorf("v%d, made anew %v: told after %v", c.version, c.anew, waited)
			}
		})
	}
}

// TestFetchSeesWhatComesDuringItsLook: data that comes between the look at the high watermark and
// the read is not waited for.
func TestFetchSeesWhatComesDuringItsLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.topic("t", 1)
		part := b.replicas.Of("t", 0)
		part.OnRead(func() { part.Put(records(t, 1, 10, batch.None)) })
		r := fetchAt(13, id, 0)
		r.MinBytes, r.MaxWaitMillis = 1, 10_000
		began := time.Now()
		if got := b.fetched(r)[0].RecordBatches; len(got) == 0 || time.Since(began) != 0 {
			t.Errorf("%d bytes after %v", len(got), time.Since(began))
		}
	})
}

// TestFetchKeepsNoLargeBufferForLittle: what waits for a slow socket does not hold a buffer many times
// as large, which others could use.
func TestFetchKeepsNoLargeBufferForLittle(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	b.waiter.Shrink = func(p []byte) []byte { return append(make([]byte, 0, len(p)), p...) }
	part := b.replicas.Of("t", 0)
	part.Put(records(t, 1, 3<<20, batch.None))
	part.Put(records(t, 1, 100, batch.None))
	session := int32(0)
	for epoch, most := range []int{4 * (3 << 20), 4 * 300} {
		r := fetchAt(13, id, int64(epoch))
		r.SessionID, r.SessionEpoch, r.MaxBytes = session, int32(epoch), 4<<20
		r.Topics[0].Partitions[0].PartitionMaxBytes = 4 << 20
		answer, err := b.start(r)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := answer.AppendTo(&b.waiter, nil)
		if err != nil {
			t.Fatal(err)
		}
		session = answered(t, 13, raw).SessionID
		if cap(raw) > most {
			t.Errorf("%d bytes are answered in a buffer of %d", len(raw), cap(raw))
		}
	}
}

// TestFetchIsChargedForItsBuffer: what an answer holds while it waits for the socket is charged, also
// what its buffer does not use. Without memory for that, the buffer has no more than the answer.
func TestFetchIsChargedForItsBuffer(t *testing.T) {
	for _, size := range []int{100, 300 << 10, 600 << 10, 3 << 20} {
		for _, memory := range []int64{64 << 20, int64(size), 0} {
			b := newBench(t)
			id := b.topic("t", 1)
			b.replicas.Of("t", 0).Put(records(t, 1, size, batch.None))
			have := scarce{memory, 1 << 20}
			m := have
			b.waiter.Memory = &m
			r := fetchAt(13, id, 0)
			r.MaxBytes, r.Topics[0].Partitions[0].PartitionMaxBytes = 4<<20, 1<<20
			answer, err := b.start(r)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := answer.AppendTo(&b.waiter, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(answered(t, 13, raw).Topics[0].Partitions[0].RecordBatches); got < size {
				t.Errorf("%d bytes of %d", got, size)
			}
			held, charged := int64(cap(raw)), have.left+have.pieces-m.left-m.pieces
			// Without memory the first batch comes all the same, in as much as it takes.
			if held > charged && (memory > int64(size) || int(held) > len(raw)+len(raw)/8+1024) {
				t.Errorf("%d bytes with memory for %d: %d are held in a buffer of %d, %d are charged",
					size, memory, len(raw), held, charged)
			}
			if b.waiter.ReleaseReserved(); m != have {
				t.Errorf("%+v are left of %+v", m, have)
			}
		}
	}
}

// TestFetchSessionGoesOnElsewhere: whoever is parked when its session goes on with another request
// is refused; whoever is parked when it ends is answered. Neither changes what the session knows.
func TestFetchSessionGoesOnElsewhere(t *testing.T) {
	for _, c := range []struct {
		name       string
		epoch      int32 // of the other request
		want       int16
		then       int32 // epoch of the session's next request
		thenCode   int16
		thenTopics int
	}{
		{"goes on", 2, kerr.InvalidFetchSessionEpoch.Code, 3, 0, 1},
		{"ends", -1, 0, 2, kerr.FetchSessionIDNotFound.Code, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			id := b.topic("t", 1)
			opening := fetchAt(13, id, 0)
			opening.SessionID, opening.SessionEpoch = 0, 0
			session := b.do(opening).(*kmsg.FetchResponse).SessionID
			incremental := func(epoch, wait int32) *kmsg.FetchRequest {
				r := fetchAt(13, id)
				r.Topics = nil
				r.SessionID, r.SessionEpoch, r.MinBytes, r.MaxWaitMillis = session, epoch, 1, wait
				return r
			}
			answer, err := b.start(incremental(1, 10_000))
			if err != nil {
				t.Fatal(err)
			}
			done := b.parked(answer)
			synctest.Wait()
			other := &bench{t: t, replicas: b.replicas, service: b.service, session: b.session}
			other.waiter.Ctx, other.waiter.Clock, other.waiter.Memory = t.Context(), b.waiter.Clock, unbounded{}
			other.waiter.Grow, other.waiter.Shrink = b.waiter.Grow, b.waiter.Shrink
			other.waiter.Clip = b.waiter.Clip
			if out := other.do(incremental(c.epoch, 0)).(*kmsg.FetchResponse); out.ErrorCode != 0 {
				t.Errorf("%s: the other gets code %d", c.name, out.ErrorCode)
			}
			b.replicas.Of("t", 0).Put(records(t, 1, 10, batch.None))
			out := answered(t, 13, <-done)
			if out.ErrorCode != c.want || (len(out.Topics) != 0) != (c.want == 0) {
				t.Errorf("%s: the parked one gets code %d and %d topics", c.name, out.ErrorCode, len(out.Topics))
			}
			again := other.do(incremental(c.then, 0)).(*kmsg.FetchResponse)
			if again.ErrorCode != c.thenCode || len(again.Topics) != c.thenTopics {
				t.Errorf("%s: then comes code %d with %d topics", c.name, again.ErrorCode, len(again.Topics))
			}
		})
	}
}

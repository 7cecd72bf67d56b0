package replication

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// sent is a batch header as a producer would send it.
func sent(t *testing.T, id batch.ProducerID, epoch batch.ProducerEpoch, first batch.Sequence, n int) batch.Batch {
	t.Helper()
	builder := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: 1, ProducerID: id, ProducerEpoch: epoch, BaseSequence: first,
	})
	for range n {
		if err := builder.Append(batch.RecordFields{TimestampMs: 1, Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWindowJudges(t *testing.T) {
	const id = 7
	tests := []struct {
		name    string
		history [][2]int // first sequence, count; epoch 3
		epoch   batch.ProducerEpoch
		first   batch.Sequence
		count   int
		known   bool
		err     error
	}{
		{name: "unknown producer may begin anywhere", epoch: 3, first: 40, count: 2},
		{name: "follows", history: [][2]int{{0, 3}}, epoch: 3, first: 3, count: 1},
		{name: "gap", history: [][2]int{{0, 3}}, epoch: 3, first: 4, count: 1, err: ErrOutOfOrderSequence},
		{name: "duplicate of the last", history: [][2]int{{0, 3}}, epoch: 3, first: 0, count: 3, known: true},
		{
			name: "same first, other last", history: [][2]int{{0, 3}}, epoch: 3, first: 0, count: 2,
			err: ErrOutOfOrderSequence,
		},
		{
			name:    "duplicate of the fifth back",
			history: [][2]int{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}}, epoch: 3, first: 0, count: 1, known: true,
		},
		{
			name:    "duplicate of the sixth back is too old",
			history: [][2]int{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}}, epoch: 3, first: 0, count: 1,
			err: ErrOutOfOrderSequence,
		},
		{name: "older epoch", history: [][2]int{{0, 1}}, epoch: 2, first: 1, count: 1, err: ErrInvalidProducerEpoch},
		{name: "newer epoch at zero", history: [][2]int{{0, 1}}, epoch: 4, first: 0, count: 1},
		{
			name: "newer epoch not at zero", history: [][2]int{{0, 1}}, epoch: 4, first: 1, count: 1,
			err: ErrOutOfOrderSequence,
		},
		{
			name:    "sequence wraps to zero",
			history: [][2]int{{math.MaxInt32 - 1, 2}}, epoch: 3, first: 0, count: 1,
		},
		{
			name:    "a batch across the wrap is followed by what comes after it",
			history: [][2]int{{math.MaxInt32, 3}}, epoch: 3, first: 2, count: 1,
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newProducerWindow()
			for _, h := range tc.history {
				b := sent(t, id, 3, batch.Sequence(h[0]), h[1])
				e := windowEntry{first: b.BaseSequence(), last: b.LastSequence()}
				w.accept(b, e, 1)
			}
			known, err := w.judge(sent(t, id, tc.epoch, tc.first, tc.count))
			if !errors.Is(err, tc.err) || (known != nil) != tc.known {
				t.Fatalf("judge = %v, %v; want known %v, %v", known, err, tc.known, tc.err)
			}
		})
	}
}

func TestWindowExpires(t *testing.T) {
	w := newProducerWindow()
	w.accept(sent(t, 1, 0, 0, 1), windowEntry{}, 1000)
	w.accept(sent(t, 2, 0, 0, 1), windowEntry{}, 2000)
	if n := w.expire(1000 + producerExpirationMs); n != 0 {
		t.Fatalf("%d producers were forgotten at the limit, want none", n)
	}
	if n := w.expire(1001 + producerExpirationMs); n != 1 || w.byID[1] != nil || w.byID[2] == nil {
		t.Fatalf("%d producers were forgotten past the limit, want producer 1 only", n)
	}
}

// TestReplayMergesBothLogs lets a random producer write to either log and rebuilds its window from
// a snapshot at a random point and the two logs, each read in its own order.
func TestReplayMergesBothLogs(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		live := newProducerWindow()
		var logs [2][]batch.Batch
		var ends [2]batch.Offset
		var snap []byte
		first := batch.Sequence(rng.Uint32() & math.MaxInt32)
		if rng.IntN(2) == 0 {
			first = math.MaxInt32 - batch.Sequence(rng.IntN(20)) // It wraps within this history.
		}
		n := 1 + rng.IntN(30)
		cut := rng.IntN(n + 1)
		for i := range n {
			if i == cut {
				snap = encodeProducers(live, snapshotPoint{ends: ends})
			}
			count := 1 + rng.IntN(4)
			b := sent(t, 9, 2, first, count)
			kind := logKind(rng.IntN(2))
			b.SetBaseOffset(ends[kind])
			e := windowEntry{
				first: b.BaseSequence(), last: b.LastSequence(), kind: kind,
				base: ends[kind], end: ends[kind] + batch.Offset(count), appendMs: -1,
			}
			live.accept(b, e, 1)
			ends[kind] = e.end
			logs[kind] = append(logs[kind], b)
			first = nextSequence(b.LastSequence())
		}
		r := windowReplay{window: newProducerWindow()}
		if snap != nil {
			w, at, err := decodeProducers(snap)
			if err != nil {
				t.Fatal(err)
			}
			r = windowReplay{window: w, from: at.ends}
		}
		for _, kind := range []logKind{visible, staging} {
			for _, b := range logs[kind] {
				r.add(kind, b)
			}
		}
		r.finish()
		equalEntries(t, r.window.byID[9].entries, live.byID[9].entries)
	}
}

func equalEntries(t *testing.T, got, want []windowEntry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("replayed window has %d batches, want %d:\n%+v\n%+v", len(got), len(want), got, want)
	}
	for i := range got {
		want[i].replayed = got[i].replayed
		if got[i] != want[i] {
			t.Fatalf("replayed batch %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestProducersMaxForgetsTheIdlest(t *testing.T) {
	w := newProducerWindow()
	for id := range batch.ProducerID(10) {
		w.byID[id] = &producerState{activeMs: clock.UnixMs(id)}
	}
	w.forgetIdlest(3)
	if len(w.byID) != 7 || w.byID[2] != nil || w.byID[3] == nil {
		t.Fatalf("forgetIdlest kept %d producers, want the 7 that were active last", len(w.byID))
	}
}

func FuzzDecodeProducers(f *testing.F) {
	w := newProducerWindow()
	w.byID[4] = &producerState{epoch: 1, entries: []windowEntry{{first: 3, last: 5, kind: staging, end: 9}}}
	whole := encodeProducers(w, snapshotPoint{ends: [2]batch.Offset{5, 9}, lastDeliveryMs: 3})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(producerMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, at, err := decodeProducers(p)
		if err != nil {
			if !errors.Is(err, errNoSnapshot) {
				t.Fatalf("error %v is not errNoSnapshot", err)
			}
			return
		}
		again, at2, err := decodeProducers(encodeProducers(got, at))
		if err != nil || at2 != at || len(again.byID) != len(got.byID) {
			t.Fatalf("a decoded snapshot does not survive being written again: %v", err)
		}
	})
}

package timer

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

func TestSettlementRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var want []Position
		p := Position{Epoch: batch.LeaderEpoch(rng.IntN(3))}
		for range rng.IntN(50) {
			switch rng.IntN(8) {
			case 0:
				p.Epoch += 1 + batch.LeaderEpoch(rng.IntN(1000))
				p.Offset = Offset(rng.Int64N(1 << 40))
			case 1:
				p.Offset += Offset(rng.Int64N(1 << 20))
			}
			p.Offset++
			p.Occurrence = Occurrence(max(rng.IntN(4)-2, 0))
			want = append(want, p)
		}
		shuffled := slices.Clone(want)
		rng.Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		b := settle(99, keysOf(shuffled)).build(testNow)
		if err := batch.CheckStored(b); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if b.Kind() != batch.KindSettlement || b.ProducerID() != -1 || b.MaxTimestamp() != testNow {
			t.Fatalf("attributes %#x", b.Attributes())
		}
		got, err := settlementOf(b)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var positions []Position
		got.each(func(p Position) { positions = append(positions, p) })
		if got.settledTo != 99 || !reflect.DeepEqual(positions, want) {
			t.Fatalf("seed %d: %d %v, want %v", seed, got.settledTo, positions, want)
		}
	}
}

func TestNeighboursAreOneRange(t *testing.T) {
	s := settle(5, keysOf([]Position{{1, 7, 0}, {1, 5, 0}, {1, 6, 0}, {2, 8, 0}, {2, 9, 1}, {2, 10, 1}}))
	want := []settledRange{
		{1, 5, 7, 0, 0, 0}, {2, 8, 8, 0, 0, 0}, {2, 9, 9, 1, 900, 0}, {2, 10, 10, 1, 1000, 0},
	}
	if !reflect.DeepEqual(s.ranges, want) {
		t.Fatalf("ranges %v, want %v", s.ranges, want)
	}
}

// keysOf gives positions due times.
func keysOf(positions []Position) (keys []Key) {
	for _, p := range positions {
		keys = append(keys, Key{Due: UnixMs(p.Offset * 100), Position: p})
	}
	return keys
}

// settlementWith frames a settlement's value.
func settlementWith(value []byte) batch.Batch {
	p := beginBatch(nil)
	p = appendVarint(p, int64(3+1+bytesBytes(value)+1))
	p = append(p, 0, 0, 0, 1)
	p = appendBytes(p, value)
	p = append(p, 0)
	f := frame{attributes: batch.KindSettlement.Attributes(), count: 1}
	return f.noProducer().seal(p)
}

func FuzzSettlement(f *testing.F) {
	for _, positions := range [][]Position{nil, {{1, 5, 0}}, {{1, 5, 0}, {1, 6, 0}, {3, 1, 0}}, {{1, 5, 9}}} {
		rec, _, err := batch.ParseRecord(settle(5, keysOf(positions)).build(testNow).Records())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(rec.Value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := settlementOf(settlementWith(value))
		if err != nil {
			if !errors.Is(err, ErrBadSettlement) {
				t.Fatalf("err = %v", err)
			}
			return
		}
		again, err := settlementOf(s.build(0))
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v was read back as %+v, %v", s, again, err)
		}
	})
}

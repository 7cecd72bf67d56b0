package compaction

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// TestOffsetMapAgainstMap fills maps of random sizes to their limit and compares them with Go's.
func TestOffsetMapAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		m := NewOffsetMap(int64(rng.IntN(200*SlotBytes)), 1<<40)
		want := map[string]batch.Offset{}
		for o := batch.Offset(0); o < 1000; o++ {
			key := fmt.Sprint(rng.IntN(300))
			_, known := want[key]
			if ok := m.Put([]byte(key), o); ok != (known || len(want) < m.Max()) {
				t.Fatalf("put = %v with %d of %d keys, known %v", ok, len(want), m.Max(), known)
			} else if ok {
				want[key] = o
			}
		}
		for i := range 300 {
			o, ok := want[fmt.Sprint(i)]
			if !ok {
				o = batch.NoOffset
			}
			if got := m.Get([]byte(fmt.Sprint(i))); got != o {
				t.Fatalf("get %d = %d, want %d", i, got, o)
			}
		}
		if m.Len() != len(want) {
			t.Fatalf("len = %d, want %d", m.Len(), len(want))
		}
	}
}

// TestOffsetMapIsNoLargerThanNeeded makes sure that few records cost little memory.
func TestOffsetMapIsNoLargerThanNeeded(t *testing.T) {
	if m := NewOffsetMap(MapBytesDefault, 90); m.Max() < 90 || m.Max() > 100 {
		t.Errorf("a map for 90 records holds %d", m.Max())
	}
	if m := NewOffsetMap(1, 1<<40); m.Max() < 1 {
		t.Error("the smallest map holds nothing, so that no pass would get on")
	}
	m := NewOffsetMap(MapBytesDefault, 1<<60)
	if n := len(m.slots) * SlotBytes; n > MapBytesDefault || n < MapBytesDefault-SlotBytes {
		t.Errorf("the map takes %d bytes", n)
	}
}

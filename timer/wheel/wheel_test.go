package wheel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// place names where an entry lies, as in the package's worked example.
func placeOf[T any](w *Wheel[T], due UnixMs) string {
	holds := func(b bucket) bool {
		for l := b.head; l != noLink; l = w.slab.at(l).next {
			if w.slab.at(l).due == due {
				return true
			}
		}
		return false
	}
	if holds(w.ready) {
		return "ready"
	}
	if holds(w.far) {
		return "far"
	}
	for i, b := range w.fine {
		if holds(b) {
			return fmt.Sprintf("fine %d", i)
		}
	}
	for i, b := range w.coarse {
		if holds(b) {
			return fmt.Sprintf("coarse %d", i)
		}
	}
	return "none"
}

func dues[T any](items []Item[T]) []UnixMs {
	var d []UnixMs
	for _, it := range items {
		d = append(d, it.Due)
	}
	slices.Sort(d)
	return d
}

// TestWorkedExample follows the two tables of the package documentation.
func TestWorkedExample(t *testing.T) {
	w := New[int](65536)
	w.Advance(1000, nil)
	adds := []struct {
		due   UnixMs
		place string
	}{
		{1003, "fine 235"},
		{1020, "fine 252"},
		{1100, "fine 76"},
		{1600, "coarse 6"},
		{70000, "far"},
	}
	for _, a := range adds {
		w.Add(a.due, 0)
		if got := placeOf(w, a.due); got != a.place {
			t.Errorf("entry due %d lies in %q, want %q", a.due, got, a.place)
		}
	}
	steps := []struct {
		now      UnixMs
		returns  []UnixMs
		watch    UnixMs
		place    string
		next     UnixMs
		nonEmpty bool
	}{
		{1003, []UnixMs{1003}, 1600, "coarse 6", 1020, true},
		{1500, []UnixMs{1020, 1100}, 1600, "coarse 6", 1600, true},
		{1540, nil, 1600, "fine 64", 1600, true},
		{69900, []UnixMs{1600}, 70000, "fine 112", 70000, true},
		{69900, nil, 70000, "fine 112", 70000, true},
		{80000, []UnixMs{70000}, 70000, "none", 0, false},
	}
	for _, s := range steps {
		if got := dues(w.Advance(s.now, nil)); !slices.Equal(got, s.returns) {
			t.Errorf("Advance(%d) returned %v, want %v", s.now, got, s.returns)
		}
		if got := placeOf(w, s.watch); got != s.place {
			t.Errorf("after Advance(%d) entry %d lies in %q, want %q", s.now, s.watch, got, s.place)
		}
		if next, ok := w.Next(); next != s.next || ok != s.nonEmpty {
			t.Errorf("after Advance(%d) Next = %d, %v, want %d, %v",
				s.now, next, ok, s.next, s.nonEmpty)
		}
	}
}

func TestAdvance(t *testing.T) {
	const base = 1_700_000_000_000
	tests := []struct {
		name string
		at   UnixMs   // the wheel's time when the entries are added
		add  []UnixMs // due times
		now  UnixMs
		want []UnixMs
		next UnixMs // 0: empty
	}{
		{"empty", 0, nil, base, nil, 0},
		{"due exactly now", base, []UnixMs{base + 7}, base + 7, []UnixMs{base + 7}, 0},
		{"one tick short", base, []UnixMs{base + 7}, base + 6, nil, base + 7},
		{
			"overdue when added", base,
			[]UnixMs{base, base - 1, 1},
			base,
			[]UnixMs{1, base - 1, base},
			0,
		},
		{"negative", base, []UnixMs{-5, math.MinInt64}, base, []UnixMs{math.MinInt64, -5}, 0},
		{"before the first time", 0, []UnixMs{base}, base - 1, nil, base},
		{"last fine tick", base, []UnixMs{base + 255}, base + 255, []UnixMs{base + 255}, 0},
		{"first coarse tick", base, []UnixMs{base + 256}, base + 255, nil, base + 256},
		{
			"same due twice", base,
			[]UnixMs{base + 9, base + 9},
			base + 9,
			[]UnixMs{base + 9, base + 9},
			0,
		},
		{
			"a turn of the fine level", base,
			[]UnixMs{base + 1, base + 257},
			base + 1,
			[]UnixMs{base + 1},
			base + 257,
		},
		{
			"a turn of the coarse level", base,
			[]UnixMs{base + 70000},
			base + 4464, nil, base + 70000,
		},
		{
			"jump over everything", base,
			[]UnixMs{base + 1, base + 999, base + 1e9},
			base + 2e9,
			[]UnixMs{base + 1, base + 999, base + 1e9},
			0,
		},
		{"end of time", base, []UnixMs{math.MaxInt64}, math.MaxInt64, []UnixMs{math.MaxInt64}, 0},
		{"time goes back", base, []UnixMs{base + 5}, base - 1000, nil, base + 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := New[int](0)
			w.Advance(tt.at, nil)
			for _, due := range tt.add {
				w.Add(due, 0)
			}
			if got := dues(w.Advance(tt.now, nil)); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if next, ok := w.Next(); next != tt.next || ok != (tt.next != 0) {
				t.Errorf("Next = %d, %v, want %d", next, ok, tt.next)
			}
			if w.Len() != len(tt.add)-len(tt.want) {
				t.Errorf("Len = %d, want %d", w.Len(), len(tt.add)-len(tt.want))
			}
		})
	}
}

func TestNextForOverdueIsNow(t *testing.T) {
	w := New[int](0)
	w.Advance(5000, nil)
	w.Add(17, 1)
	if next, ok := w.Next(); next != 5000 || !ok {
		t.Fatalf("Next = %d, %v, want the wheel's time 5000", next, ok)
	}
}

func TestSlotsAreRoundedUp(t *testing.T) {
	for _, tt := range []struct{ slots, blocks int }{
		{-1, 256},
		{0, 256},
		{1, 2},
		{512, 2},
		{513, 4},
		{65536, 256},
		{65537, 512},
		{math.MaxInt, SlotsMax / 256},
	} {
		if got := len(New[int](tt.slots).coarse); got != tt.blocks {
			t.Errorf("New(%d) has %d coarse buckets, want %d", tt.slots, got, tt.blocks)
		}
	}
}

func TestMemoryIsGivenBack(t *testing.T) {
	w := New[int64](0)
	empty := w.Bytes()
	const entries = 40 * slabNodes
	for i := range entries {
		w.Add(UnixMs(i), 0)
	}
	if full := w.Bytes(); full-empty < entries*16 {
		t.Fatalf("%d entries take %d bytes: not counted", entries, full-empty)
	}
	n, earliest := w.DropFrom(math.MinInt64)
	if n != entries || earliest != 0 {
		t.Fatalf("DropFrom = %d, %d, want %d, 0", n, earliest, entries)
	}
	if kept := w.Bytes() - empty; kept > slabsKept*slabNodes*32 {
		t.Fatalf("the empty wheel keeps %d bytes", kept)
	}
}

// TestRandomModel compares the wheel with a plain list under random operations.
func TestRandomModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for run := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, run))
		runModel(t, rng, 1<<(9+rng.IntN(9)))
		if t.Failed() {
			t.Fatalf("seed %d, run %d", seed, run)
		}
	}
}

// model is the same thing as a wheel, slowly.
type model struct {
	now     UnixMs
	entries []Item[uint32]
}

// take removes and returns the entries for which f holds.
func (m *model) take(f func(UnixMs) bool) []Item[uint32] {
	var taken []Item[uint32]
	m.entries = slices.DeleteFunc(m.entries, func(it Item[uint32]) bool {
		if f(it.Due) {
			taken = append(taken, it)
		}
		return f(it.Due)
	})
	return taken
}

func (m *model) next() (UnixMs, bool) {
	if len(m.entries) == 0 {
		return 0, false
	}
	next := never
	for _, it := range m.entries {
		next = min(next, it.Due)
	}
	return max(next, m.now), true
}

func runModel(t *testing.T, rng *rand.Rand, slots int) {
	w := New[uint32](slots)
	m := &model{}
	if rng.IntN(2) == 0 {
		m.now = UnixMs(rng.Int64N(2e12))
		w.Advance(m.now, nil)
	}
	spans := []int64{3, 256, 300, int64(slots), 3 * int64(slots), 1e10}
	span := func() UnixMs { return UnixMs(rng.Int64N(spans[rng.IntN(len(spans))])) }
	for id := range uint32(3000) {
		switch op := rng.IntN(100); {
		case op < 60:
			due := m.now + span() - UnixMs(rng.IntN(4))
			m.entries = append(m.entries, Item[uint32]{Due: due, Value: id})
			w.Add(due, id)
		case op < 97:
			m.now = max(m.now, m.now+span()/UnixMs(1+rng.IntN(50))-UnixMs(rng.IntN(3)))
			want := m.take(func(due UnixMs) bool { return due <= m.now })
			compare(t, w.Advance(m.now, nil), want)
		default:
			from := m.now + span()
			want := m.take(func(due UnixMs) bool { return due >= from })
			n, earliest := w.DropFrom(from)
			if n != len(want) || n > 0 && earliest != slices.MinFunc(want, byDue).Due {
				t.Errorf("DropFrom(%d) = %d, %d, want %v", from, n, earliest, want)
			}
		}
		next, ok := w.Next()
		wantNext, wantOk := m.next()
		if next != wantNext || ok != wantOk || w.Len() != len(m.entries) {
			t.Errorf("Next = %d, %v, Len %d, want %d, %v, %d",
				next, ok, w.Len(), wantNext, wantOk, len(m.entries))
		}
		if t.Failed() {
			return
		}
	}
	compare(t, w.Advance(math.MaxInt64, nil), m.entries)
}

func byDue(a, b Item[uint32]) int {
	if a.Due != b.Due {
		return int(max(-1, min(1, a.Due-b.Due)))
	}
	return int(a.Value) - int(b.Value)
}

func compare(t *testing.T, got, want []Item[uint32]) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(got, byDue)
	slices.SortFunc(want, byDue)
	if !slices.Equal(got, want) {
		t.Errorf("Advance returned %v, want %v", got, want)
	}
}

func BenchmarkAddAndTake(b *testing.B) {
	const pending = 100_000
	w := New[[2]uint64](0)
	rng := rand.New(rand.NewPCG(1, 2))
	now := UnixMs(1_700_000_000_000)
	w.Advance(now, nil)
	for range pending {
		w.Add(now+1+UnixMs(rng.IntN(60_000)), [2]uint64{})
	}
	out := make([]Item[[2]uint64], 0, 4096)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		now++
		out = w.Advance(now, out[:0])
		for range out {
			w.Add(now+1+UnixMs(rng.IntN(60_000)), [2]uint64{})
			done++
		}
	}
}

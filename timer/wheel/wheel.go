package wheel

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/chronosdb/chronosdb/log/invariant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// UnixMs is clock.UnixMs: Unix milliseconds.
type UnixMs = clock.UnixMs

const (
	// SlotsDefault is the number of ticks that the two levels cover unless New is told otherwise.
	SlotsDefault = 65536
	// SlotsMax bounds the number of ticks that the two levels can cover: 4.6 hours.
	SlotsMax = 1 << 24

	blockBits   = 8
	fineBuckets = 1 << blockBits // one tick each
	never       = UnixMs(math.MaxInt64)
)

// Item is an entry that is due.
type Item[T any] struct {
	Due   UnixMs
	Value T
}

// Wheel holds entries until they are due. T should be free of pointers. It is owned by one
// goroutine at a time. Its memory grows with the number of entries; the caller bounds it by
// DropFrom.
type Wheel[T any] struct {
	now   UnixMs // the latest time given to Advance; nothing below is on a level
	len   int
	slab  slab[T]
	ready bucket // due <= now
	far   bucket // behind the coarse level when it was put there

	// fine holds due times in (now, now+255], each in bucket due mod 256: one due per bucket.
	fine     [fineBuckets]bucket
	fineBits [fineBuckets / 64]uint64

	// coarse holds due times of the blocks after now's own, up to len(coarse)-1 of them, each in
	// bucket block mod len(coarse): one block per bucket.
	coarse     []bucket
	coarseBits []uint64
}

// bucket is a list of entries.
type bucket struct {
	min  UnixMs // earliest due time; never when the list is empty
	head link
}

// New returns an empty wheel whose two levels cover the given number of ticks of one millisecond,
// rounded up to a power of two from 512 to SlotsMax; 0 means SlotsDefault. More slots take 16
// bytes for each 256 and let fewer entries wait in the far bucket. The wheel stands at time 0.
func New[T any](slots int) *Wheel[T] {
	if slots <= 0 {
		slots = SlotsDefault
	}
	blocks := max(min(slots, SlotsMax), 2*fineBuckets) - 1
	blocks = 1 << bits.Len(uint(blocks)) >> blockBits
	w := &Wheel[T]{
		ready:      bucket{min: never},
		far:        bucket{min: never},
		coarse:     make([]bucket, blocks),
		coarseBits: make([]uint64, (blocks+63)/64),
	}
	for i := range w.fine {
		w.fine[i].min = never
	}
	for i := range w.coarse {
		w.coarse[i].min = never
	}
	return w
}

// Add puts v into the wheel. An entry that is due already is returned by the next Advance.
func (w *Wheel[T]) Add(due UnixMs, v T) {
	l := w.slab.take()
	n := w.slab.at(l)
	n.due, n.value = due, v
	w.len++
	w.place(l, n)
}

// place puts a node that is in no bucket into the bucket where it belongs.
func (w *Wheel[T]) place(l link, n *node[T]) {
	b := &w.far
	blocks := n.due>>blockBits - w.now>>blockBits
	switch {
	case n.due <= w.now:
		b = &w.ready
	case n.due-w.now < fineBuckets:
		i := int(n.due & (fineBuckets - 1))
		b = &w.fine[i]
		w.fineBits[i/64] |= 1 << (i % 64)
	case blocks < UnixMs(len(w.coarse)):
		i := w.coarseBucket(n.due)
		b = &w.coarse[i]
		w.coarseBits[i/64] |= 1 << (i % 64)
	}
	n.next = b.head
	b.head = l
	b.min = min(b.min, n.due)
}

func (w *Wheel[T]) coarseBucket(due UnixMs) int {
	return int(due>>blockBits) & (len(w.coarse) - 1)
}

// Advance moves the wheel to now, takes every entry with due <= now out, in no particular order,
// and appends them to out. A now below an earlier one counts as that one: what was given back
// cannot be taken back.
func (w *Wheel[T]) Advance(now UnixMs, out []Item[T]) []Item[T] {
	out = w.takeAll(&w.ready, out)
	if now <= w.now {
		return out
	}
	before := w.now
	w.now = now
	out = w.advanceFine(before, out)
	out = w.advanceCoarse(before, out)
	if w.far.min>>blockBits <= now>>blockBits {
		out = w.spread(&w.far, out)
	}
	invariant.Check(w.ready.head == noLink, "wheel at %d keeps due entries", w.now)
	return out
}

// advanceFine takes out the due buckets of the fine level: the earliest ones after before.
func (w *Wheel[T]) advanceFine(before UnixMs, out []Item[T]) []Item[T] {
	for {
		i := nextSet(w.fineBits[:], int(before+1)&(fineBuckets-1))
		if i < 0 || w.fine[i].min > w.now {
			return out
		}
		w.fineBits[i/64] &^= 1 << (i % 64)
		out = w.takeAll(&w.fine[i], out)
	}
}

// advanceCoarse spreads the coarse buckets of the blocks that have been reached: the earliest ones
// after the block of before.
func (w *Wheel[T]) advanceCoarse(before UnixMs, out []Item[T]) []Item[T] {
	from := w.coarseBucket(before + fineBuckets)
	for {
		i := nextSet(w.coarseBits, from)
		if i < 0 || w.coarse[i].min>>blockBits > w.now>>blockBits {
			return out
		}
		w.coarseBits[i/64] &^= 1 << (i % 64)
		out = w.spread(&w.coarse[i], out)
	}
}

// takeAll empties a bucket into out.
func (w *Wheel[T]) takeAll(b *bucket, out []Item[T]) []Item[T] {
	for l := b.head; l != noLink; {
		n := w.slab.at(l)
		next := n.next
		out = append(out, Item[T]{Due: n.due, Value: n.value})
		w.slab.give(l, n)
		w.len--
		l = next
	}
	*b = bucket{min: never}
	w.slab.shrink(w.len)
	return out
}

// spread empties a bucket: due entries go to out, the others where they now belong.
func (w *Wheel[T]) spread(b *bucket, out []Item[T]) []Item[T] {
	l := b.head
	*b = bucket{min: never}
	for l != noLink {
		n := w.slab.at(l)
		next := n.next
		if n.due <= w.now {
			out = append(out, Item[T]{Due: n.due, Value: n.value})
			w.slab.give(l, n)
			w.len--
		} else {
			w.place(l, n)
		}
		l = next
	}
	w.slab.shrink(w.len)
	return out
}

// Next returns the earliest due time in the wheel, exactly, or false when the wheel is empty. For
// entries that were overdue when they were added it returns the wheel's present time: an Advance
// that does not move the wheel would return them.
func (w *Wheel[T]) Next() (UnixMs, bool) {
	if w.len == 0 {
		return 0, false
	}
	if w.ready.head != noLink {
		return w.now, true
	}
	next := w.far.min
	if i := nextSet(w.fineBits[:], int(w.now+1)&(fineBuckets-1)); i >= 0 {
		next = min(next, w.fine[i].min)
	}
	if i := nextSet(w.coarseBits, w.coarseBucket(w.now+fineBuckets)); i >= 0 {
		next = min(next, w.coarse[i].min)
	}
	return next, true
}

// Len returns the number of entries.
func (w *Wheel[T]) Len() int { return w.len }

// Bytes returns the memory that the wheel occupies, in bytes.
func (w *Wheel[T]) Bytes() int64 {
	fixed := unsafe.Sizeof(*w) + uintptr(len(w.coarse))*unsafe.Sizeof(bucket{}) +
		uintptr(len(w.coarseBits))*unsafe.Sizeof(uint64(0))
	return int64(fixed) + w.slab.bytes()
}

// DropFrom removes every entry due at or after from. It returns how many it removed and the
// earliest due time among them, which is where the caller must read on later; with n = 0, min has
// no meaning.
func (w *Wheel[T]) DropFrom(from UnixMs) (n int, earliest UnixMs) {
	before := w.len
	earliest = min(w.dropFrom(&w.ready, from), w.dropFrom(&w.far, from))
	earliest = min(earliest, w.dropLevel(w.fine[:], w.fineBits[:], from))
	earliest = min(earliest, w.dropLevel(w.coarse, w.coarseBits, from))
	w.slab.shrink(w.len)
	return before - w.len, earliest
}

// dropLevel is DropFrom for the buckets of one level.
func (w *Wheel[T]) dropLevel(buckets []bucket, set []uint64, from UnixMs) UnixMs {
	earliest := never
	for i := range buckets {
		b := &buckets[i]
		if b.head == noLink {
			continue
		}
		earliest = min(earliest, w.dropFrom(b, from))
		if b.head == noLink {
			set[i/64] &^= 1 << (i % 64)
		}
	}
	return earliest
}

// dropFrom is DropFrom for one bucket: it builds the list of the remaining entries anew.
func (w *Wheel[T]) dropFrom(b *bucket, from UnixMs) UnixMs {
	earliest := never
	kept := bucket{min: never}
	for l := b.head; l != noLink; {
		n := w.slab.at(l)
		next := n.next
		if n.due >= from {
			earliest = min(earliest, n.due)
			w.slab.give(l, n)
			w.len--
		} else {
			n.next = kept.head
			kept.head = l
			kept.min = min(kept.min, n.due)
		}
		l = next
	}
	*b = kept
	return earliest
}

// nextSet returns the first set bit at or after from, going round at the end, or -1.
func nextSet(set []uint64, from int) int {
	first := from / 64
	if word := set[first] >> (from % 64); word != 0 {
		return from + bits.TrailingZeros64(word)
	}
	for k := 1; k <= len(set); k++ { // the last turn sees the bits of the first word below from
		i := (first + k) % len(set)
		if set[i] != 0 {
			return i*64 + bits.TrailingZeros64(set[i])
		}
	}
	return -1
}

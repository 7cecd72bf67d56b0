package log

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The defaults of BuffersOptions.
const (
	undrainedBytesMaxDefault = 64 << 20
	recentBytesMaxDefault    = 16 << 20
)

// BuffersOptions configures Buffers. The zero value of each field means its default.
type BuffersOptions struct {
	// UndrainedBytesMax bounds the memory of bytes that are not in their segments yet. 64 MiB.
	UndrainedBytesMax int64
	// RecentBytesMax bounds the memory of bytes that are in their segments and kept for readers.
	// 16 MiB.
	RecentBytesMax int64
}

// EnsureDefaults fills every field that is zero.
func (o *BuffersOptions) EnsureDefaults() {
	if o.UndrainedBytesMax == 0 {
		o.UndrainedBytesMax = undrainedBytesMaxDefault
	}
	if o.RecentBytesMax == 0 {
		o.RecentBytesMax = recentBytesMaxDefault
	}
}

// Validate refuses what cannot work, with the rule in the text.
func (o *BuffersOptions) Validate() error {
	if o.UndrainedBytesMax < chunkBytesMin {
		return fmt.Errorf("log: UndrainedBytesMax is %d; use at least %d, or 0 for the default",
			o.UndrainedBytesMax, chunkBytesMin)
	}
	if o.RecentBytesMax < 0 {
		return fmt.Errorf("log: RecentBytesMax is %d; use a positive number, or 0 for the default",
			o.RecentBytesMax)
	}
	return nil
}

// Buffers is the memory of all logs of a node for bytes on their way to the segments: what is
// appended waits here until it is drained, and stays a while for readers.
type Buffers struct {
	o     BuffersOptions
	pools [16]sync.Pool // by bits.Len of the size, of *[]byte: memory at rest goes back by itself
	short chan struct{} // holds one value when memory gets short: somebody should drain

	mu struct { // short: never held during I/O or a wait
		sync.Mutex
		undrained int64 // memory of chunks that are not in their segments
		reserved  int64 // bytes of appends that were let in and have not said that they are done
		recent    int64 // memory of chunks kept for readers
		kept      []keptChunk
		waiting   []*reservation  // first come, first served
		throttled []chan struct{} // closed when undrained is within its bound
		dropped   int             // entries of kept whose chunk has gone
		shut      error
	}
}

// chunkPlace says by what account the memory of a chunk is counted.
type chunkPlace int8

const (
	placeUndrained chunkPlace = iota
	placeRecent
	placeDropped
)

// keptChunk is a chunk kept for readers. The oldest goes first, whatever log it is of.
type keptChunk struct {
	seg   *segment
	chunk *chunk
}

// reservation is an append that waits to be let in.
type reservation struct {
	n     int64
	ready chan struct{} // closed when it is let in, or when the buffers are shut
}

// NewBuffers returns empty buffers.
func NewBuffers(o BuffersOptions) (*Buffers, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Buffers{o: o, short: make(chan struct{}, 1)}, nil
}

// Reserve waits until n more bytes may be appended, so that memory stays bounded when the disk is
// slower than the producers. It is called before any lock is taken that an append needs; done is
// called when the append has returned. An append that is small and must not wait goes without.
func (b *Buffers) Reserve(ctx context.Context, n int) (done func(), err error) {
	b.mu.Lock()
	if err := b.mu.shut; err != nil {
		b.mu.Unlock()
		return nil, err
	}
	r := &reservation{n: int64(n)}
	if len(b.mu.waiting) == 0 && b.fitsLocked(r.n) {
		b.mu.reserved += r.n
		b.mu.Unlock()
		return func() { b.unreserve(r.n) }, nil
	}
	r.ready = make(chan struct{})
	b.mu.waiting = append(b.mu.waiting, r)
	b.mu.Unlock()
	b.wantDrain()
	select {
	case <-r.ready:
	case <-ctx.Done():
		if b.giveUp(r) {
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.shut != nil {
		return nil, b.mu.shut
	}
	return func() { b.unreserve(r.n) }, nil
}

// Fits reports whether Reserve would let in so many bytes at once.
func (b *Buffers) Fits(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mu.waiting) == 0 && b.fitsLocked(int64(n))
}

// AwaitDrain waits while more memory is used by bytes that are not drained than may be, whoever has
// reserved how much. It is for appends on whose end a reservation may depend.
func (b *Buffers) AwaitDrain() error {
	b.mu.Lock()
	if b.mu.shut != nil || b.mu.undrained <= b.o.UndrainedBytesMax {
		defer b.mu.Unlock()
		return b.mu.shut
	}
	c := make(chan struct{})
	b.mu.throttled = append(b.mu.throttled, c)
	b.mu.Unlock()
	b.wantDrain()
	<-c
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.shut
}

// fitsLocked lets the first one in, however large: it must be possible.
func (b *Buffers) fitsLocked(n int64) bool {
	used := b.mu.undrained + b.mu.reserved
	return used == 0 || used+n <= b.o.UndrainedBytesMax
}

// giveUp takes a reservation out of the queue. It is false when it was let in meanwhile.
func (b *Buffers) giveUp(r *reservation) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.mu.waiting {
		if other == r {
			b.mu.waiting = append(b.mu.waiting[:i:i], b.mu.waiting[i+1:]...)
			b.admitLocked() // a smaller one behind it may fit
			return true
		}
	}
	return false
}

func (b *Buffers) unreserve(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.reserved -= n
	b.admitLocked()
}

// admitLocked lets in who waits, in order, while there is room.
func (b *Buffers) admitLocked() {
	for len(b.mu.waiting) > 0 && b.fitsLocked(b.mu.waiting[0].n) {
		r := b.mu.waiting[0]
		b.mu.waiting = b.mu.waiting[1:]
		b.mu.reserved += r.n
		close(r.ready)
	}
	if b.mu.undrained <= b.o.UndrainedBytesMax {
		b.releaseThrottledLocked()
	}
	if len(b.mu.waiting) > 0 {
		b.wantDrain() // the drainer may have looked before there was something to drain
	}
}

func (b *Buffers) releaseThrottledLocked() {
	for _, c := range b.mu.throttled {
		close(c)
	}
	b.mu.throttled = nil
}

// Shut refuses every reservation from now on with err, also those that wait: the disk has failed,
// and nothing will be drained any more.
func (b *Buffers) Shut(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.shut != nil {
		return
	}
	b.mu.shut = err
	for _, r := range b.mu.waiting {
		close(r.ready)
	}
	b.mu.waiting = nil
	b.releaseThrottledLocked()
}

// wantDrain tells the drainer, if there is one.
func (b *Buffers) wantDrain() {
	select {
	case b.short <- struct{}{}:
	default:
	}
}

// excess returns how many bytes should be drained now: down to a share of the bound if more than
// another is used, and as many as it takes for the first that waits to be let in. 0 is none.
func (b *Buffers) excess(above, down float64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, bound := int64(0), float64(b.o.UndrainedBytesMax)
	if used := float64(b.mu.undrained); used > above*bound {
		n = int64(used - down*bound)
	}
	if len(b.mu.waiting) > 0 {
		missing := b.mu.undrained + b.mu.reserved + b.mu.waiting[0].n - b.o.UndrainedBytesMax
		n = max(n, missing, 1)
	}
	return min(n, b.mu.undrained)
}

// newChunk returns an empty chunk of n bytes, or less: what does not fit goes into another one.
func (b *Buffers) newChunk(n int64) *chunk {
	n = min(max(n, chunkBytesMin), chunkBytesMax)
	class := bits.Len64(uint64(n)) - 1
	c := &chunk{buffers: b}
	if p, ok := b.pools[class-classMin].Get().(*[]byte); ok {
		c.buf = *p
	} else {
		c.buf = vfs.AlignedBuffer(1 << class)
	}
	c.refs.Store(1)
	b.mu.Lock()
	b.mu.undrained += int64(len(c.buf))
	short := float64(b.mu.undrained) > drainAbove*float64(b.o.UndrainedBytesMax)
	b.mu.Unlock()
	if short {
		b.wantDrain()
	}
	return c
}

// classMin is the class of the smallest chunk.
const classMin = 13

// free puts the memory of a chunk that nobody reads any more back into its pool.
func (b *Buffers) free(buf []byte) {
	b.pools[bits.Len64(uint64(len(buf)-1))-classMin].Put(&buf)
}

// keep counts chunks as drained, and drops the oldest of those that are kept for readers.
func (b *Buffers) keep(s *segment, chunks []*chunk) {
	b.mu.Lock()
	for _, c := range chunks {
		if c.place != placeUndrained {
			continue // dropped with its segment
		}
		c.place = placeRecent
		b.mu.undrained -= int64(len(c.buf))
		b.mu.recent += int64(len(c.buf))
		b.mu.kept = append(b.mu.kept, keptChunk{s, c})
	}
	var gone []keptChunk
	for b.mu.recent > b.o.RecentBytesMax && len(b.mu.kept) > 0 {
		k := b.mu.kept[0]
		b.mu.kept = b.mu.kept[1:]
		if k.chunk.place == placeDropped {
			b.mu.dropped--
		}
		if k.chunk.place == placeRecent {
			k.chunk.place = placeDropped
			b.mu.recent -= int64(len(k.chunk.buf))
			gone = append(gone, k)
		}
	}
	b.admitLocked()
	b.mu.Unlock()
	for _, k := range gone {
		k.seg.dropChunk(k.chunk)
	}
}

// drop lets go of a chunk, drained or not.
func (b *Buffers) drop(s *segment, c *chunk) {
	b.mu.Lock()
	switch c.place {
	case placeUndrained:
		b.mu.undrained -= int64(len(c.buf))
	case placeRecent:
		b.mu.recent -= int64(len(c.buf))
		b.mu.dropped++
	case placeDropped:
		b.mu.Unlock()
		return // whoever did it takes it out of the segment
	}
	c.place = placeDropped
	if 2*b.mu.dropped > len(b.mu.kept) {
		b.mu.kept = slices.DeleteFunc(b.mu.kept, func(k keptChunk) bool {
			return k.chunk.place == placeDropped
		})
		b.mu.dropped = 0
	}
	b.admitLocked()
	b.mu.Unlock()
	s.dropChunk(c)
}

// BuffersStats is what the buffers hold.
type BuffersStats struct {
	UndrainedBytes int64 // UndrainedBytes is memory of bytes not in their segments yet.
	RecentBytes    int64 // RecentBytes is memory of bytes kept for readers.
	ReservedBytes  int64 // ReservedBytes is what appends under way may add.
	Waiting        int   // Waiting counts the appends that wait to be let in.
}

// Stats returns what the buffers hold.
func (b *Buffers) Stats() BuffersStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return BuffersStats{
		UndrainedBytes: b.mu.undrained, RecentBytes: b.mu.recent, ReservedBytes: b.mu.reserved,
		Waiting: len(b.mu.waiting),
	}
}

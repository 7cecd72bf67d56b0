package kafkaproto

import (
	"slices"
	"sync"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// bufferClasses are the sizes of pooled buffers. The 1 MiB class has room for a batch of the
// default max.message.bytes with its request around it, or for a fetched partition's default
// megabyte with its answer. Requests for many partitions are as large as a client makes them, and
// fresh memory for each would be cleared, and collected, more often than it is used.
var bufferClasses = [...]int{
	4 << 10, 16 << 10, 64 << 10, 256 << 10, 1<<20 + 64<<10, 4<<20 + 64<<10,
	8<<20 + 64<<10, 12<<20 + 64<<10, 16<<20 + 64<<10, 24<<20 + 64<<10, 32<<20 + 64<<10,
	48<<20 + 64<<10, 64<<20 + 64<<10, 80<<20 + 64<<10, maxRequestBytesMax,
}

// bufferBytes is what a buffer for n bytes takes.
func bufferBytes(n int) int {
	for _, size := range bufferClasses {
		if n <= size {
			return size
		}
	}
	return n
}

// growBytesMax bounds how far a buffer that grows runs ahead of what is needed.
const growBytesMax = 4 << 20

const (
	// largeBytes is from where on buffers that are not used are counted.
	largeBytes = 8 << 20
	// largeIdleBytesMax bounds those: one of the largest.
	largeIdleBytesMax = maxRequestBytesMax
	// largeStaleBytesMax bounds them once another size is asked for.
	largeStaleBytesMax = 32 << 20
)

// bufferPool hands out byte buffers by size class. Small ones that are not used stay in it until
// the garbage collector empties it; of large ones it keeps few. Anything larger than the last class
// is not kept.
type bufferPool struct {
	classes [len(bufferClasses)]sync.Pool // of *[]byte with exactly the class's capacity
	large   struct {
		sync.Mutex
		idle  [][]byte // at least largeBytes each, the last used last
		bytes int
	}
}

// get returns an empty buffer with room for at least n bytes.
func (p *bufferPool) get(n int) []byte {
	if size := bufferBytes(n); size >= largeBytes {
		return p.getLarge(size)
	}
	for i, size := range bufferClasses {
		if n > size {
			continue
		}
		if b, ok := p.classes[i].Get().(*[]byte); ok {
			return (*b)[:0]
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n) // Not reached: such a size is large.
}

func (p *bufferPool) getLarge(size int) []byte {
	p.large.Lock()
	defer p.large.Unlock()
	idle := p.large.idle
	for i := len(idle) - 1; i >= 0; i-- {
		if b := idle[i]; cap(b) == size {
			p.large.idle = slices.Delete(idle, i, i+1)
			p.large.bytes -= cap(b)
			return b
		}
	}
	p.dropLargeLocked(largeStaleBytesMax)
	return make([]byte, 0, size)
}

// dropLargeLocked leaves the oldest of the unused large buffers to the garbage collector, until the
// others take no more than so much.
func (p *bufferPool) dropLargeLocked(keep int) {
	n := 0
	for p.large.bytes > keep {
		p.large.bytes -= cap(p.large.idle[n])
		n++
	}
	p.large.idle = slices.Delete(p.large.idle, 0, n)
}

// put takes a buffer back. The caller must have no slice of it left; where invariants are checked
// its content is destroyed, so that a test sees who has.
func (p *bufferPool) put(b []byte) {
	if invariant.Enabled {
		poison(b[:cap(b)])
	}
	i := slices.Index(bufferClasses[:], cap(b))
	if i < 0 {
		return
	}
	b = b[:0]
	if cap(b) < largeBytes {
		p.classes[i].Put(&b)
		return
	}
	p.large.Lock()
	defer p.large.Unlock()
	p.large.idle = append(p.large.idle, b)
	p.large.bytes += cap(b)
	p.dropLargeLocked(largeIdleBytesMax)
}

// grow returns a buffer with the content of b and room for n more bytes, at least doubling, and
// takes b back if it was replaced.
func (p *bufferPool) grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return p.move(b, max(len(b)+n, min(2*cap(b), len(b)+n+growBytesMax)))
}

// move returns a buffer with the content of b and room for n bytes in all, and takes b back.
func (p *bufferPool) move(b []byte, n int) []byte {
	bigger := append(p.get(n), b...)
	p.put(b)
	return bigger
}

// shrink returns a small buffer with the content of b, and takes b back, unless b is small.
func (p *bufferPool) shrink(b []byte) []byte {
	if cap(b) <= bufferClasses[0] {
		return b
	}
	smaller := append(p.get(len(b)), b...)
	p.put(b)
	return smaller
}

// clip returns a buffer with the content of b and no more room, and takes b back. It is not pooled:
// a class would be up to four times as large.
func (p *bufferPool) clip(b []byte) []byte {
	if cap(b) <= bufferClasses[0] {
		return b
	}
	clipped := make([]byte, len(b))
	copy(clipped, b)
	p.put(b)
	return clipped
}

// poison copies, because the race detector looks at every single write.
func poison(b []byte) {
	for n := copy(b, []byte{0xDB}); n > 0 && n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

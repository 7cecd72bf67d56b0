package kafkaproto

import (
	"sync"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// bufferClasses are the sizes of pooled buffers. The 1 MiB class has room for a batch of the
// default max.message.bytes with its request around it, or for a fetched partition's default
// megabyte with its answer. Requests for many partitions are as large as a client makes them, and
// fresh memory for each would be cleared, and collected, more often than it is used.
var bufferClasses = [...]int{
	4 << 10, 16 << 10, 64 << 10, 256 << 10, 1<<20 + 64<<10, 4<<20 + 64<<10,
	8<<20 + 64<<10, 16<<20 + 64<<10, 32<<20 + 64<<10, 64<<20 + 64<<10, maxRequestBytesMax,
}

// growBytesMax bounds how far a buffer that grows runs ahead of what is needed.
const growBytesMax = 4 << 20

// bufferPool hands out byte buffers by size class. What is not used stays in it for a while: the
// garbage collector empties it. Anything larger than the last class is not kept.
type bufferPool struct {
	classes [len(bufferClasses)]sync.Pool // of *[]byte with exactly the class's capacity
}

// get returns an empty buffer with room for at least n bytes.
func (p *bufferPool) get(n int) []byte {
	for i, size := range bufferClasses {
		if n > size {
			continue
		}
		if b, ok := p.classes[i].Get().(*[]byte); ok {
			return (*b)[:0]
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// put takes a buffer back. The caller must have no slice of it left; where invariants are checked
// its content is destroyed, so that a test sees who has.
func (p *bufferPool) put(b []byte) {
	if invariant.Enabled {
		poison(b[:cap(b)])
	}
	for i, size := range bufferClasses {
		if cap(b) == size {
			b = b[:0]
			p.classes[i].Put(&b)
			return
		}
	}
}

// grow returns a buffer with the content of b and room for n more bytes, at least doubling, and
// takes b back if it was replaced.
func (p *bufferPool) grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	bigger := p.get(max(len(b)+n, min(2*cap(b), len(b)+n+growBytesMax)))
	bigger = append(bigger, b...)
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

func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

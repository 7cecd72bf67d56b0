package batch

import (
	"sync"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// maxPooledBytes is the largest buffer that goes back to the pool: one huge batch must
// not pin its memory for good.
const maxPooledBytes = 8 << 20

// poisonByte is what a returned buffer is filled with under invariant.Enabled.
const poisonByte = 0xdd

// buffers holds scratch space for inflated records.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(p *[]byte) {
	if invariant.Enabled {
		// A view that outlives its Reader must be seen in a test, not once a month.
		// It is copied, because the race detector looks at every single write.
		all := (*p)[:cap(*p)]
		for n := copy(all, []byte{poisonByte}); n > 0 && n < len(all); n *= 2 {
			copy(all[n:], all[:n])
		}
	}
	if cap(*p) > maxPooledBytes {
		return
	}
	*p = (*p)[:0]
	buffers.Put(p)
}

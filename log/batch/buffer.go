package batch

import "sync"

// maxPooledBytes is the largest buffer that goes back to the pool: one huge batch must
// not pin its memory for good.
const maxPooledBytes = 8 << 20

// buffers holds scratch space for inflated records.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(p *[]byte) {
	if cap(*p) > maxPooledBytes {
		return
	}
	*p = (*p)[:0]
	buffers.Put(p)
}

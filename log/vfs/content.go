package vfs

import "slices"

const (
	// chunkBytes is the page size of the crash file system.
	chunkBytes = 4096
	// fileBytesMax bounds a file's length: a write at a wild position must fail, not exhaust
	// memory.
	fileBytesMax = 1 << 33
)

// chunk is one page of a file. A shared chunk belongs to several contents and is never written
// again; a write copies it first.
type chunk struct {
	shared bool
	data   [chunkBytes]byte
}

// content is the bytes of a file: pages, of which a nil one is a hole of zeros. The bytes of the
// last page beyond the size are zero.
type content struct {
	size   int64
	chunks []*chunk
}

// clone returns a content that shares the pages of c, which must all be shared already.
func (c *content) clone() content {
	return content{size: c.size, chunks: slices.Clone(c.chunks)}
}

// share marks all pages as shared.
func (c *content) share() {
	for _, ch := range c.chunks {
		if ch != nil && !ch.shared {
			ch.shared = true
		}
	}
}

// writable returns page i for writing.
func (c *content) writable(i int64) *chunk {
	ch := c.chunks[i]
	switch {
	case ch == nil:
		ch = &chunk{}
	case ch.shared:
		ch = &chunk{data: ch.data}
	default:
		return ch
	}
	c.chunks[i] = ch
	return ch
}

// readAt reads what there is; it returns less than len(p) at the end of the file.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for n := 0; n < len(p); {
		at := off + int64(n)
		from := at % chunkBytes
		part := p[n:min(len(p), n+int(chunkBytes-from))]
		if ch := c.chunks[at/chunkBytes]; ch != nil {
			copy(part, ch.data[from:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	return len(p)
}

// writeAt writes p and extends the file as needed; a gap before off reads as zeros.
func (c *content) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	c.extend(off + int64(len(p)))
	for n := 0; n < len(p); {
		at := off + int64(n)
		n += copy(c.writable(at / chunkBytes).data[at%chunkBytes:], p[n:])
	}
}

// extend makes the file at least size bytes long.
func (c *content) extend(size int64) {
	if size <= c.size {
		return
	}
	c.size = size
	if missing := chunkCount(size) - int64(len(c.chunks)); missing > 0 {
		c.chunks = append(c.chunks, make([]*chunk, missing)...)
	}
}

// truncate sets the size.
func (c *content) truncate(size int64) {
	if size >= c.size {
		c.extend(size)
		return
	}
	c.size = size
	kept := chunkCount(size)
	clear(c.chunks[kept:])
	c.chunks = c.chunks[:kept]
	if rest := size % chunkBytes; rest != 0 && c.chunks[kept-1] != nil {
		clear(c.writable(kept - 1).data[rest:])
	}
}

// adopt makes the pages that cover [lo, hi) and the size those of from.
func (c *content) adopt(from *content, lo, hi int64) {
	c.truncate(from.size)
	for i := lo / chunkBytes; i < chunkCount(min(hi, from.size)); i++ {
		ch := from.chunks[i]
		if ch != nil {
			ch.shared = true
		}
		c.chunks[i] = ch
	}
}

// chunkCount returns how many pages size bytes take.
func chunkCount(size int64) int64 { return (size + chunkBytes - 1) / chunkBytes }

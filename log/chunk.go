package log

import (
	"io"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The sizes of chunks: powers of two, so that a chunk given back fits the next log that needs one.
const (
	chunkBytesMin = 8 << 10
	chunkBytesMax = 1 << 20
)

// chunk is memory with a range of a segment file that is not in the file yet, or was written a
// moment ago and is kept for readers. It begins at a multiple of vfs.DirectAlign, because it is
// written past the page cache.
//
// The log's appends fill it; once sealed it never changes, because a write that runs must not see
// its memory change. The chunk after it begins within the same block if the block is not full, and
// carries its bytes.
type chunk struct {
	buffers *Buffers
	buf     []byte // aligned; all of it counts as used memory
	pos     int64  // file position of buf[0]
	from    int64  // position of its first own byte: those before it belong to the chunk before
	fill    int64  // position behind its last byte; owned by Log.mu until sealed, then constant
	drained bool   // whether the file has it; owned by Log.flushing

	refs  atomic.Int32 // 1 for the segment and 1 for each reader; at 0 the memory is given back
	place chunkPlace   // owned by Buffers.mu
}

// acquire pins the memory. It fails when the segment has let go of the chunk.
func (c *chunk) acquire() bool {
	for {
		n := c.refs.Load()
		if n <= 0 {
			return false
		}
		if c.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release undoes acquire. The last one gives the memory back.
func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		c.buffers.free(c.buf)
		c.buf = nil
	}
}

// bytes returns the chunk's own bytes in [lo, hi) of the file.
func (c *chunk) bytes(lo, hi int64) []byte { return c.buf[lo-c.pos : hi-c.pos] }

// blocks returns the whole blocks up to a file position, with zeros behind the chunk's last byte.
// The chunk is sealed.
func (c *chunk) blocks(to int64) []byte {
	n := alignUp(to - c.pos)
	if used := c.fill - c.pos; used < n {
		clear(c.buf[used:n])
	}
	return c.buf[:n]
}

func alignUp(n int64) int64 {
	return (n + vfs.DirectAlign - 1) &^ (vfs.DirectAlign - 1)
}

func alignDown(n int64) int64 { return n &^ (vfs.DirectAlign - 1) }

// chunks returns the chunks of the segment, by position. They cover all from the first one's from
// on; what lies before is in the file. The slice is never changed.
func (s *segment) chunks() []*chunk {
	if w := s.window.Load(); w != nil {
		return *w
	}
	return nil
}

// addChunk puts a chunk behind the others. The caller owns Log.mu.
func (s *segment) addChunk(c *chunk) {
	for {
		old := s.window.Load()
		list := []*chunk{c}
		if old != nil {
			list = append(append(make([]*chunk, 0, len(*old)+1), *old...), c)
		}
		if s.window.CompareAndSwap(old, &list) {
			return
		}
	}
}

// dropChunk takes a chunk away from readers to come, and those before it, which somebody else is
// about to: what is left always covers all from its first position on. Their bytes are in the file,
// or gone with the file's end.
func (s *segment) dropChunk(c *chunk) {
	for {
		old := s.window.Load()
		if old == nil {
			return
		}
		i := slices.Index(*old, c)
		if i < 0 {
			return
		}
		var next *[]*chunk
		if rest := (*old)[i+1:]; len(rest) > 0 {
			next = &rest
		}
		if s.window.CompareAndSwap(old, next) {
			for _, gone := range (*old)[:i+1] {
				gone.release()
			}
			return
		}
	}
}

// dropChunks takes all chunks away, written or not: the segment is closed, removed or cut.
func (s *segment) dropChunks() {
	for _, c := range s.chunks() {
		c.buffers.drop(s, c)
	}
}

// chunkAt returns the index of the chunk that holds a position, or -1: the file has it.
func chunkAt(list []*chunk, pos int64) int {
	return sort.Search(len(list), func(i int) bool { return list[i].from > pos }) - 1
}

// readAt reads from memory what is there and the rest from the file; it returns what ReadAt of a
// file would. It takes no lock that an append or a sync holds. The caller holds a reference and
// asks for nothing behind the segment's size, loaded before.
func (s *segment) readAt(p []byte, pos int64) (int, error) {
	n := 0
	for n < len(p) {
		k, err := s.readPiece(p[n:], pos+int64(n))
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readPiece reads from one chunk, or from the file up to the first chunk.
func (s *segment) readPiece(p []byte, pos int64) (int, error) {
	list := s.chunks()
	i := chunkAt(list, pos)
	if i+1 < len(list) {
		p = p[:min(int64(len(p)), list[i+1].from-pos)]
	}
	if i < 0 {
		f, err := s.file()
		if err != nil {
			return 0, err
		}
		return f.ReadAt(p, pos)
	}
	c := list[i]
	if !c.acquire() {
		return 0, nil // dropped since the list was loaded: the file has it now
	}
	defer c.release()
	if pos-c.pos >= int64(len(c.buf)) {
		return 0, io.EOF
	}
	return copy(p, c.buf[pos-c.pos:]), nil
}

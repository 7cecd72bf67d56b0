package log

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// How much space of the disk a segment reserves ahead of its end: few calls for a busy log, little
// space for an idle one.
const (
	reserveStepMin = 64 << 10
	reserveStepMax = 4 << 20
)

// bufferLocked copies stamped batches into the newest chunks. It fails before it has changed
// anything: with ErrNoSpace if the segment has no room for them, so that what is taken here, and
// perhaps acknowledged by the journal, can always be drained.
func (l *Log) bufferLocked(s *segment, p []byte) error {
	pos := s.size.Load()
	if err := l.reserveLocked(s, pos+int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		c := s.tail.chunk
		if c == nil {
			var err error
			if c, err = l.addChunkLocked(s, pos, int64(len(p))); err != nil {
				return err
			}
		}
		n := copy(c.buf[pos-c.pos:], p)
		pos += int64(n)
		p = p[n:]
		c.fill = pos
		if pos-c.pos == int64(len(c.buf)) {
			s.tail.chunk = nil
		}
	}
	return nil
}

// chunkShare is which part of a log's undrained memory its next chunk is, unless the append needs
// more: the newest chunk has room that is not used yet, and memory that is not used makes every
// drain smaller.
const chunkShare = 4

// addChunkLocked begins a chunk at a position, with the bytes of the block that it begins within.
// Only the first chunk of an append can fail: the others begin at a block, or find it in memory.
func (l *Log) addChunkLocked(s *segment, pos, n int64) (*chunk, error) {
	from := alignDown(pos)
	c := l.o.Buffers.newChunk(max(pos-from+n, l.undrained.Load()/chunkShare))
	c.pos, c.from, c.fill = from, pos, pos
	if carry := c.buf[:pos-from]; len(carry) > 0 {
		if err := readFull(s, carry, from); err != nil {
			l.o.Buffers.drop(s, c)
			c.release()
			return nil, fmt.Errorf("append to segment %s: read its last block: %w", s.path, err)
		}
	}
	s.addChunk(c)
	s.tail.chunk = c
	l.undrained.Add(int64(len(c.buf)))
	return c, nil
}

// reserveLocked makes sure that the segment's file has space up to a position.
func (l *Log) reserveLocked(s *segment, to int64) error {
	to = alignUp(to)
	from := max(s.tail.reserved, alignDown(s.size.Load()))
	if to <= from && s.tail.reserved > 0 {
		return nil
	}
	f, err := s.file()
	if vfs.IsShortage(err) {
		return fmt.Errorf("append to segment %s: %w: %w", s.path, ErrNoSpace, err)
	}
	if err != nil {
		return l.failLocked(err)
	}
	s.tail.step = min(max(2*s.tail.step, reserveStepMin), reserveStepMax)
	// No further than the segment may grow.
	ahead := min(from+s.tail.step, alignUp(l.mu.segmentBytes))
	err = f.Allocate(from, max(to, ahead)-from)
	if vfs.IsNoSpace(err) && ahead > to {
		ahead = to
		err = f.Allocate(from, to-from)
	}
	if vfs.IsNoSpace(err) {
		return fmt.Errorf("append to segment %s: %w: %w", s.path, ErrNoSpace, err)
	}
	if err != nil {
		return l.failLocked(fmt.Errorf("reserve space for segment %s: %w", s.path, err))
	}
	s.tail.reserved = max(to, ahead)
	return nil
}

// undrained returns the chunks of a segment below a position that are not in the file yet. They are
// sealed, and the last one ends at the position. The caller owns flushing, and so they stay.
func (s *segment) undrained(limit int64) []*chunk {
	list := s.chunks()
	i := 0
	for i < len(list) && list[i].drained {
		i++
	}
	k := i
	for k < len(list) && list[k].from < limit {
		k++
	}
	return list[i:k]
}

// writeChunks writes chunks to the segment's file, past the page cache. Each begins in the block in
// which the one before it ends, so together they are one range of it.
func writeChunks(s *segment, f vfs.LogFile, chunks []*chunk) error {
	pieces := make([][]byte, 0, len(chunks))
	for i, c := range chunks {
		to := c.fill
		if i+1 < len(chunks) {
			to = chunks[i+1].pos // the next chunk carries the block in which this one ends
		}
		if to > c.pos {
			pieces = append(pieces, c.blocks(to))
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	if err := f.WriteDirectAll(pieces, chunks[0].pos); err != nil {
		return fmt.Errorf("write segment %s: %w", s.path, err)
	}
	return nil
}

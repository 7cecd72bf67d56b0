package log

import (
	"hash/crc32"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
)

// commitPart is what one commit makes durable of one log: what was appended since the last one. The
// log's committing is held while there is one.
type commitPart struct {
	log     *Log
	member  *Member
	tell    Offset // what the member is told
	from    mark
	to      mark
	entries []journal.Entry // one for each segment that the bytes lie in
	pinned  []*chunk        // what the entries' payloads point into
	bytes   int64
	direct  bool // the bytes go to the segment now, and the journal only says so
	partial bool // there is more, for another commit
}

// partLimits bound what one commit takes of a log.
type partLimits struct {
	directBytes int64 // from so many bytes on they go to their segments
	recordBytes int   // of all entries, beside the bytes of those that do not
}

// segments is how many segments a part may have entries of.
func (p partLimits) segments(name string) int {
	return max(1, p.recordBytes/journal.EntryBytes(name, 0))
}

// beginCommit takes what was appended and is not flushed, up to a mark if there is one. It returns
// nil if there is nothing. The caller ends a part with finish or abandon.
func (l *Log) beginCommit(upTo *endMark, limits partLimits) (*commitPart, error) {
	l.committing.Lock()
	p, err := l.takePart(upTo, limits)
	if p == nil {
		l.committing.Unlock()
		return nil, err
	}
	if p.direct {
		p.refer()
	}
	return p, nil
}

func (l *Log) takePart(upTo *endMark, limits partLimits) (*commitPart, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return nil, err
	}
	p := &commitPart{log: l, from: l.committing.at, to: l.endMarkLocked().mark}
	if upTo != nil && upTo.truncations == l.truncations.Load() && upTo.offset < p.to.offset {
		p.to = upTo.mark
	}
	if p.to.offset <= l.FlushedEnd() {
		return nil, nil
	}
	if l.mu.drainedAt.offset > p.from.offset {
		p.from = l.mu.drainedAt
	}
	if p.to.offset <= p.from.offset {
		// The segment has it all, durably; there must only be an entry that says so.
		p.to = p.from
		p.entries = []journal.Entry{p.entry(p.from.segment, p.from.offset, p.to.offset)}
		p.entries[0].Kind, p.entries[0].Position = journal.Ref, p.from.pos
		return p, nil
	}
	p.collectLocked(limits.segments(l.o.Name))
	p.direct = p.bytes >= limits.directBytes
	if p.direct {
		if err := l.sealLocked(); err != nil {
			p.unpin()
			return nil, err
		}
	}
	return p, nil
}

// endMark is where a log ended at some time. After a truncation it may be no batch boundary.
type endMark struct {
	mark
	truncations int64
}

// endMarkLocked returns the log's end.
func (l *Log) endMarkLocked() endMark {
	s := l.set.Load().active()
	at := mark{offset: l.End(), segment: s.base, pos: s.size.Load()}
	return endMark{at, l.truncations.Load()}
}

// endMark is endMarkLocked for one who holds no lock of the log.
func (l *Log) endMark() endMark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endMarkLocked()
}

func (p *commitPart) entry(segment, first, end Offset) journal.Entry {
	return journal.Entry{
		Kind: journal.Inline, Log: p.log.o.Name, Segment: int64(segment),
		First: int64(first), End: int64(end),
	}
}

// collectLocked makes an entry for each segment with the bytes in memory, which it pins. They are
// all there: what is not drained is in no other place.
//
// At most so many segments are taken: the entries of one part must fit a record.
func (p *commitPart) collectLocked(most int) {
	set := p.log.set.Load()
	for i := set.find(p.from.offset); i < len(set.list) && set.list[i].base <= p.to.segment; i++ {
		s := set.list[i]
		lo, hi, first, end := int64(0), s.size.Load(), s.base, Offset(s.end.Load())
		if s.base == p.from.segment {
			lo, first = p.from.pos, p.from.offset
		}
		if s.base == p.to.segment {
			hi, end = p.to.pos, p.to.offset
		}
		if lo == hi {
			continue
		}
		e := p.entry(s.base, first, end)
		e.Position, e.Length = lo, uint32(hi-lo)
		list := s.chunks()
		for k := chunkAt(list, lo); lo < hi; k++ {
			c, to := list[k], hi
			if k+1 < len(list) {
				to = min(hi, list[k+1].from)
			}
			c.refs.Add(1) // the segment holds it, because it is not drained
			p.pinned = append(p.pinned, c)
			e.Payload = append(e.Payload, c.bytes(lo, to))
			p.bytes += to - lo
			lo = to
		}
		p.entries = append(p.entries, e)
		if len(p.entries) >= most && s.base != p.to.segment {
			p.to, p.partial = mark{offset: Offset(s.end.Load()), segment: s.base, pos: s.size.Load()}, true
			return
		}
	}
}

// entryBytes is what the entries take in a commit record.
func (p *commitPart) entryBytes() int {
	sum := 0
	for _, e := range p.entries {
		n := 0
		if e.Kind == journal.Inline {
			n = int(e.Length)
		}
		sum += journal.EntryBytes(e.Log, n)
	}
	return sum
}

// refer makes the entries refer to what the segments will hold, instead of holding it.
func (p *commitPart) refer() {
	for i := range p.entries {
		e := &p.entries[i]
		e.Kind, e.Digest, e.Payload = journal.Ref, headersDigest(e.Payload), nil
	}
	p.unpin()
}

func (p *commitPart) unpin() {
	for _, c := range p.pinned {
		c.release()
	}
	p.pinned = nil
}

// began notes that the entries go to the journal under a sequence.
func (p *commitPart) began(seq journal.Sequence) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.mu.journaled.began(seq, p.to.offset)
}

// journaled notes that the journal has the entries, durably.
func (p *commitPart) journaled(seq journal.Sequence) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.mu.journaled.durable = seq
}

// finish moves the flushed end: all of the part is durable.
func (p *commitPart) finish() {
	p.unpin()
	p.log.committing.at = p.to
	p.log.raiseFlushed(p.to.offset)
	p.log.counters.commits.Add(1)
	p.log.committing.Unlock()
}

// abandon ends a part that failed. The log takes nothing any more.
func (p *commitPart) abandon(err error) {
	p.unpin()
	_ = p.log.fail(err) // the committer returns the error itself
	p.log.committing.Unlock()
}

// headersDigest is the checksum of the headers of batches that lie back to back in pieces. Each
// header holds the checksum of its batch, its offset and its epoch.
func headersDigest(pieces [][]byte) uint32 {
	var header [batch.HeaderBytes]byte
	sum, have, skip := uint32(0), 0, 0
	for _, p := range pieces {
		for len(p) > 0 {
			if skip > 0 {
				n := min(skip, len(p))
				skip, p = skip-n, p[n:]
				continue
			}
			n := copy(header[have:], p)
			have, p = have+n, p[n:]
			if have == len(header) {
				sum = crc32.Update(sum, castagnoli, header[:])
				have, skip = 0, batch.Batch(header[:]).Length()-len(header)
			}
		}
	}
	return sum
}

package log

import (
	"fmt"
	"math"
)

// tableFindingsMax bounds what is reported of one index: a wrong file has only wrong entries.
const tableFindingsMax = 8

// tableCheck compares an index file with the batches of its segment, which it is shown in order.
type tableCheck struct {
	table    *table
	kind     byte
	base     Offset
	interval int64
	// trusted is how many entries a checkpoint has synced. Of later ones a crash leaves anything,
	// and the next start makes them anew.
	trusted int

	entries  []IndexEntry
	i        int   // of the entry to come
	indexed  int64 // position of the last batch with an entry
	blind    bool  // damage was stepped over: the greatest timestamp is not known any more
	findings []Finding
	dropped  int // findings beyond tableFindingsMax
}

// allTrusted is for a segment that was sealed before the recovery point.
const allTrusted = math.MaxInt

// load reads the file. One that is not there is empty: a short segment has none.
func (c *tableCheck) load() {
	p, err := c.table.fs.ReadFile(c.table.path)
	if err != nil {
		if !isNotExist(err) {
			c.add(0, err)
		}
		p = nil
	}
	err = c.table.inspect(p, func(e IndexEntry) error {
		if e.Err != nil {
			c.add(e.Position, e.Err)
			return nil
		}
		c.entries = append(c.entries, e)
		return nil
	})
	if err != nil {
		c.add(0, err)
	}
	if n := len(p) / entryBytes; c.trusted != allTrusted && n < c.trusted {
		c.add(int64(len(p)), fmt.Errorf("it has %d entries, a checkpoint had synced %d", n, c.trusted))
	}
}

// add notes a finding at a byte of the index file.
func (c *tableCheck) add(pos int64, err error) {
	if len(c.findings) >= tableFindingsMax {
		c.dropped++
		return
	}
	f := Finding{Grade: GradeDerived, File: c.table.path, Position: pos, Err: err}
	if pos/entryBytes >= int64(c.trusted) {
		f.Grade = GradeRemark
	}
	c.findings = append(c.findings, f)
}

// batch compares the entries of the batch boundary at an offset and a position. maxTime is the
// greatest timestamp before it.
func (c *tableCheck) batch(at place, maxTime UnixMs) {
	want := IndexEntry{Key: int64(at.offset), Value: uint32(at.pos)}
	if c.kind == timeTable {
		want = IndexEntry{Key: int64(maxTime), Value: uint32(at.offset - c.base)}
	}
	matched := false
	for ; c.i < len(c.entries) && c.entries[c.i].Value <= want.Value; c.i++ {
		e := c.entries[c.i]
		switch {
		case e.Value < want.Value:
			c.add(e.Position, fmt.Errorf("it says %d and %d, where no batch begins", e.Key, e.Value))
		case e.Key != want.Key && !(c.blind && c.kind == timeTable):
			c.add(e.Position, fmt.Errorf("it says %d for the batch of offset %d at byte %d, expected %d",
				e.Key, at.offset, at.pos, want.Key))
		}
		matched = true
	}
	if c.kind != offsetTable {
		return
	}
	if !matched && at.pos-c.indexed >= c.interval && c.i < c.trusted {
		c.add(int64(c.i)*entryBytes, fmt.Errorf("there is no entry for offset %d at byte %d", at.offset,
			at.pos))
		matched = true
	}
	if matched {
		c.indexed = at.pos
	}
}

// skip passes over the entries of bytes that cannot be read.
func (c *tableCheck) skip(next place) {
	c.blind, c.indexed = true, next.pos
	until := uint32(next.pos)
	if c.kind == timeTable {
		until = uint32(next.offset - c.base)
	}
	for c.i < len(c.entries) && c.entries[c.i].Value < until {
		c.i++
	}
}

// end compares what is left with the segment's end. The time index of a sealed segment names it.
func (c *tableCheck) end(at place, maxTime UnixMs, sealed bool) {
	n := len(c.entries)
	if c.kind == timeTable {
		last := n > 0 && c.entries[n-1].Value == uint32(at.offset-c.base)
		if sealed && !last && !c.blind && n < c.trusted {
			c.add(int64(n)*entryBytes, fmt.Errorf("entries are missing: the last one does not name the"+
				" segment's end, offset %d", at.offset))
		}
		c.batch(at, maxTime)
	}
	for ; c.i < n; c.i++ {
		e := c.entries[c.i]
		c.add(e.Position, fmt.Errorf("it says %d and %d, behind the last batch", e.Key, e.Value))
	}
}

// namesEnd says whether the time index holds that the segment ends at an offset.
func (c *tableCheck) namesEnd(end Offset) bool {
	n := len(c.entries)
	return n > 0 && c.entries[n-1].Value == uint32(end-c.base)
}

// all returns what was found.
func (c *tableCheck) all() []Finding {
	if c.dropped > 0 && len(c.findings) > 0 {
		last := &c.findings[len(c.findings)-1]
		last.Err = fmt.Errorf("%w; and %d more of this index", last.Err, c.dropped)
		c.dropped = 0
	}
	return c.findings
}

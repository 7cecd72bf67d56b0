package vfs

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// powerCut builds the file system that a power cut leaves.
type powerCut struct {
	keep float64
	rng  *rand.Rand

	tables cutTables         // directory entries after the cut
	made   map[*inode]*inode // inode before -> inode after
	after  *Crash
	lost   int64 // bytes of unsynced writes that are gone
}

// cutLocked returns a new file system. It reads this one and changes nothing in it but the random
// numbers.
func (c *Crash) cutLocked(keep float64, rng *rand.Rand) *Crash {
	if rng == nil {
		rng = c.mu.rng
	}
	p := &powerCut{
		keep: keep, rng: rng, tables: cutTables{}, made: make(map[*inode]*inode),
		after: NewCrash(rng.Uint64()),
	}
	for _, op := range p.keptNames(c.mu.dirty) {
		op.apply(p.tables)
	}
	p.after.mu.seq = c.mu.seq
	p.after.mu.root = p.build(c.mu.root)
	p.after.mu.root.refs = 1
	for n := range c.mu.dirty {
		if p.made[n] == nil { // the name is gone, and the bytes with it
			p.lost += n.pendingBytes()
		}
	}
	p.after.count.dropped(p.lost)
	return p.after
}

// keptNames returns the unsynced name operations that are kept, in the order in which they were
// done. A rename between two directories stands in both and comes twice in a row, which does no
// harm.
func (p *powerCut) keptNames(dirty map[*inode]struct{}) []*nameOp {
	var dirs []*inode
	for n := range dirty {
		if n.dir {
			dirs = append(dirs, n)
		}
	}
	slices.SortFunc(dirs, func(a, b *inode) int { return cmp.Compare(a.id, b.id) })
	ends := make(map[*inode]uint64) // sequence number of the first operation that is lost
	var ops []*nameOp
	for _, dir := range dirs {
		pending := slices.DeleteFunc(slices.Clone(dir.pendingNames), func(op *nameOp) bool {
			return op.done
		})
		ends[dir] = p.end(pending)
		ops = append(ops, pending...)
	}
	slices.SortFunc(ops, func(a, b *nameOp) int { return cmp.Compare(a.seq, b.seq) })
	joinEnds(ops, ends)
	return slices.DeleteFunc(ops, func(op *nameOp) bool { return lost(op, ends) })
}

// end decides up to where a directory keeps its operations.
func (p *powerCut) end(pending []*nameOp) uint64 {
	n := len(pending)
	switch {
	case p.keep <= 0:
		n = 0
	case p.keep < 1:
		n = p.rng.IntN(n + 1)
	}
	if n == len(pending) {
		return math.MaxUint64
	}
	return pending[n].seq
}

// joinEnds moves the ends forward until each rename between two directories is kept by both or by
// neither: it is never half done.
func joinEnds(ops []*nameOp, ends map[*inode]uint64) {
	for moved := true; moved; {
		moved = false
		for _, op := range ops {
			if !op.joins() || !lost(op, ends) {
				continue
			}
			for _, dir := range []*inode{op.dir, op.from} {
				if end, ok := ends[dir]; ok && end > op.seq {
					ends[dir] = op.seq
					moved = true
				}
			}
		}
	}
}

// lost reports whether one of the operation's directories does not keep it. One without an end is
// out of reach and has no say.
func lost(op *nameOp, ends map[*inode]uint64) bool {
	for _, dir := range []*inode{op.dir, op.from} {
		if end, ok := ends[dir]; ok && op.seq >= end {
			return true
		}
	}
	return false
}

// build makes the inode and everything below it as the cut leaves them.
func (p *powerCut) build(old *inode) *inode {
	if n := p.made[old]; n != nil {
		return n
	}
	n := p.after.newInodeLocked(old.dir) // nobody else has the new file system yet
	n.modified = old.modified
	p.made[old] = n
	if !old.dir {
		left, lost := old.afterPowerCut(p.keep, p.rng)
		p.lost += lost
		n.durable, n.live = left, left.clone()
		return n
	}
	names := p.tables.names(old)
	for _, name := range sortedNames(names) {
		child := p.build(names[name])
		child.refs += 2
		n.names[name] = child
		n.durableNames[name] = child
	}
	return n
}

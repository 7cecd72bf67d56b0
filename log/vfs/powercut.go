package vfs

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// powerCut builds the file system that a power cut leaves.
type powerCut struct {
	keep float64
	rng  *rand.Rand

	kept   map[*nameOp]bool  // decided name operations
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
		keep: keep, rng: rng, kept: make(map[*nameOp]bool), tables: cutTables{},
		made: make(map[*inode]*inode), after: NewCrash(rng.Uint64()),
	}
	for _, op := range p.choose(c.mu.dirty) {
		op.apply(p.tables, func(o *nameOp) bool { return o.done || p.kept[o] })
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

// choose decides for each unsynced name operation whether it is kept, and returns those that are,
// in the order in which they were done.
func (p *powerCut) choose(dirty map[*inode]struct{}) []*nameOp {
	var dirs []*inode
	for n := range dirty {
		if n.dir {
			dirs = append(dirs, n)
		}
	}
	slices.SortFunc(dirs, func(a, b *inode) int { return cmp.Compare(a.id, b.id) })
	var kept []*nameOp
	for _, dir := range dirs {
		for i, keep := range choose(len(dir.pendingNames), p.keep, p.rng) {
			op := dir.pendingNames[i]
			if _, decided := p.kept[op]; decided || op.done {
				continue // a rename between two directories stands in both
			}
			p.kept[op] = keep
			if keep {
				kept = append(kept, op)
			}
		}
	}
	slices.SortFunc(kept, func(a, b *nameOp) int { return cmp.Compare(a.seq, b.seq) })
	return kept
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

package vfs

import (
	"math/rand/v2"
)

// inode is a file or a directory of the crash file system. Its fields belong to Crash.mu.
//
// For each kind it keeps two states, the live one that the process sees and the durable one that
// is on the disk for certain, and the operations between them, in order.
type inode struct {
	id   uint64
	dir  bool
	refs int // live and durable names and pending name operations that lead here

	modified uint64 // sequence number of the last change, which stands for the time
	locked   bool   // by Lock; a crash releases it

	// A file:
	live, durable content
	pending       []fileOp

	// A directory:
	names, durableNames map[string]*inode
	pendingNames        []*nameOp
}

// fileOp is one unsynced operation on a file: a write of data at off, or, with nil data, a
// truncation to off.
type fileOp struct {
	off    int64
	data   []byte
	lo, hi int64 // bytes that it changed
}

// record notes an operation that a power cut may lose. When nothing leads to the file any more,
// no power cut can bring it back and there is nothing to note.
func (n *inode) record(op fileOp) {
	if n.refs > 0 {
		n.pending = append(n.pending, op)
	}
}

// write changes the live content.
func (n *inode) write(p []byte, off int64) {
	n.live.writeAt(p, off)
	n.record(fileOp{
		off: off, data: append([]byte{}, p...),
		lo: off, hi: off + int64(len(p)),
	})
}

// truncate changes the live size.
func (n *inode) truncate(size int64) {
	lo, hi := min(size, n.live.size), max(size, n.live.size)
	n.live.truncate(size)
	n.record(fileOp{off: size, lo: lo, hi: hi})
}

// sync makes the live content durable.
func (n *inode) sync() {
	for _, op := range n.pending {
		n.durable.adopt(&n.live, op.lo, op.hi)
	}
	n.forget()
}

// forget drops the pending operations: after a sync, because they are durable; after a failed
// sync, because Linux marks the pages clean all the same and never writes them.
func (n *inode) forget() {
	clear(n.pending)
	n.pending = n.pending[:0]
}

// pendingBytes returns the number of bytes in unsynced writes.
func (n *inode) pendingBytes() int64 {
	var sum int64
	for _, op := range n.pending {
		sum += int64(len(op.data))
	}
	return sum
}

// afterPowerCut returns what a power cut leaves of the file, and how many written bytes are lost.
func (n *inode) afterPowerCut(keep float64, rng *rand.Rand) (left content, lost int64) {
	left = n.durable.clone()
	kept := choose(len(n.pending), keep, rng)
	last := -1 // the last write that is kept
	for i, op := range n.pending {
		if kept[i] && op.data != nil {
			last = i
		}
	}
	for i, op := range n.pending {
		switch {
		case !kept[i]:
			lost += int64(len(op.data))
		case op.data == nil:
			left.truncate(op.off)
		case i == last && keep < 1 && rng.IntN(2) == 0:
			lost += tear(&left, op, rng)
		default:
			left.writeAt(op.data, op.off)
		}
	}
	left.share()
	return left, lost
}

// tear applies the beginning of a write, up to any byte, and returns the length of the rest. In
// one half of the cases the file has grown for the whole write nevertheless and ends in zeros.
func tear(c *content, op fileOp, rng *rand.Rand) int64 {
	cut := rng.IntN(len(op.data) + 1)
	c.writeAt(op.data[:cut], op.off)
	if rng.IntN(2) == 0 {
		c.extend(op.off + int64(len(op.data)))
	}
	return int64(len(op.data) - cut)
}

// choose decides which of n unsynced operations on a file a cut keeps. With 0 < keep < 1, one half
// of the cuts keep each with that probability, as a disk does that reorders; the other half keep a
// beginning of any length.
func choose(n int, keep float64, rng *rand.Rand) []bool {
	kept := make([]bool, n)
	beginning := n
	if keep < 1 {
		beginning = 0
	}
	if keep > 0 && keep < 1 && n > 0 && rng.IntN(2) == 0 {
		beginning = rng.IntN(n + 1)
		keep = 0
	}
	for i := range kept {
		kept[i] = i < beginning || keep > 0 && rng.Float64() < keep
	}
	return kept
}

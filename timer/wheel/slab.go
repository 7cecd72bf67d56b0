package wheel

import (
	"unsafe"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// link is the number of a node in the slabs: half a pointer, and nothing to the garbage collector.
type link uint32

// noLink ends a list. Node 0 is never used.
const noLink link = 0

const (
	slabBits  = 12
	slabNodes = 1 << slabBits
	// slabsKept is how many slabs an empty wheel keeps, so that a wheel which often runs empty
	// does not allocate them anew each time.
	slabsKept = 16
	// nodesMax bounds the entries of one wheel: a link must be able to name each of them.
	nodesMax = 1<<32 - 1
)

// node is one entry.
type node[T any] struct {
	due   UnixMs
	value T
	next  link // in its bucket, or in the free list
}

// slab hands out nodes and takes them back.
type slab[T any] struct {
	slabs [][]node[T]
	used  uint64 // nodes ever handed out since the last shrink, with node 0
	free  link   // nodes given back, linked by next
}

func (s *slab[T]) at(l link) *node[T] { return &s.slabs[l>>slabBits][l&(slabNodes-1)] }

// take returns a node that is in no list.
func (s *slab[T]) take() link {
	if l := s.free; l != noLink {
		s.free = s.at(l).next
		return l
	}
	if s.used == 0 {
		s.used = 1 // node 0 stands for noLink
	}
	invariant.Check(s.used <= nodesMax, "wheel has more than %d entries", uint64(nodesMax))
	l := link(s.used)
	s.used++
	if int(l>>slabBits) == len(s.slabs) {
		s.slabs = append(s.slabs, make([]node[T], slabNodes))
	}
	return l
}

// give takes back a node that is in no list any more.
func (s *slab[T]) give(l link, n *node[T]) {
	n.next = s.free
	s.free = l
}

// shrink forgets the free list when no node is in use, and all but a few slabs: a burst of entries
// must not hold its memory for ever.
func (s *slab[T]) shrink(inUse int) {
	if inUse > 0 || s.used == 0 {
		return
	}
	s.used, s.free = 1, noLink
	if len(s.slabs) > slabsKept {
		clear(s.slabs[slabsKept:])
		s.slabs = s.slabs[:slabsKept]
	}
}

func (s *slab[T]) bytes() int64 {
	var n node[T]
	return int64(len(s.slabs)) * slabNodes * int64(unsafe.Sizeof(n))
}

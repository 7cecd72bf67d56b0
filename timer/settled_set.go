package timer

import "github.com/chronosdb/chronosdb/log/batch"

// settledSet is a set of positions, for a rebuild: one bit for each staging offset, in pages, for
// first occurrences. Of recurring records it keeps the latest one: they are delivered in order.
type settledSet struct {
	pages  map[pageKey]*page
	last   *page // the page of lastKey: neighbours come together
	lastK  pageKey
	latest map[Position]Occurrence // by the position of occurrence 0: the latest, above 0
}

const pageBits = 16

type page [1 << pageBits / 64]uint64

type pageKey struct {
	epoch batch.LeaderEpoch
	page  Offset
}

func newSettledSet() *settledSet {
	return &settledSet{
		pages: make(map[pageKey]*page), latest: make(map[Position]Occurrence),
	}
}

// page returns the page of a position, or nil when it is not there and make is false.
func (s *settledSet) page(p Position, create bool) *page {
	k := pageKey{p.Epoch, p.Offset >> pageBits}
	if s.last != nil && k == s.lastK {
		return s.last
	}
	pg := s.pages[k]
	if pg == nil {
		if !create {
			return nil
		}
		pg = new(page)
		s.pages[k] = pg
	}
	s.last, s.lastK = pg, k
	return pg
}

func (s *settledSet) add(p Position) {
	if n := p.Occurrence; n > 0 {
		p.Occurrence = 0
		s.latest[p] = max(s.latest[p], n)
		return
	}
	i := uint(p.Offset) & (1<<pageBits - 1)
	s.page(p, true)[i/64] |= 1 << (i % 64)
}

func (s *settledSet) has(p Position) bool {
	if n := p.Occurrence; n > 0 {
		p.Occurrence = 0
		return s.latest[p] >= n
	}
	pg := s.page(p, false)
	i := uint(p.Offset) & (1<<pageBits - 1)
	return pg != nil && pg[i/64]>>(i%64)&1 != 0
}

package timer

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"unsafe"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/wheel"
)

// slot is an entry in the wheel, which keeps its due time. It has no pointers.
type slot struct {
	offset     Offset
	epoch      batch.LeaderEpoch
	occurrence Occurrence
	delta      int32
	at         int32
	length     int32
	flags      EntryFlags
}

// near is the part of the schedule that is in memory: what is due soon (the wheel), what is due
// (ready), and what was delivered but is not below the partition log's high watermark (flights).
// The turn owns it.
//
// frontier divides the index: every entry below it is in near or gone from the index, no entry at
// or above it is in near.
type near struct {
	max  int    // most entries; see evict and Schedule.follow for how it is kept
	span UnixMs // how far ahead of now entries are loaded

	wheel *wheel.Wheel[slot]
	slots int                // of the wheel
	items []wheel.Item[slot] // scratch
	now   UnixMs             // where the wheel stands; never goes back

	ready  []Entry // from head on: due, in order when sorted is true
	head   int
	sorted bool

	dead      map[Key]struct{} // in the wheel or ready, and killed: they go when they are met
	deadReady bool             // one of them is ready

	flights  []flight // from first on: oldest first
	first    int
	inFlight int       // entries in flights
	spare    [][]flown // buffers of flights that are over

	frontier Key
	outside  Key // no entry of the index at or above frontier is below it; maxKey: there is none
}

// flight is one delivery batch on its way below the high watermark.
type flight struct {
	end     Offset // partition-log offset behind it
	low     Key    // its smallest key
	entries []flown
}

// flown is one record of a flight.
type flown struct {
	Key
	lateFrom UnixMs // lateness counts from here; noLateness: it is not observed
	flags    EntryFlags
}

const (
	noLateness UnixMs = math.MinInt64
	// sparesMax bounds the buffers kept for flights to come.
	sparesMax = 16
)

// newNear returns an empty window. Nothing of the index is in it.
func newNear(maxEntries, slots, tickMs int) *near {
	n := &near{max: maxEntries, slots: slots, span: UnixMs(slots) * UnixMs(tickMs)}
	n.dead = map[Key]struct{}{}
	n.reset(0, maxKey)
	return n
}

// reset throws everything away but the flights, and starts again at now. low is a bound of the
// index's keys.
func (n *near) reset(now UnixMs, low Key) {
	n.wheel = wheel.New[slot](n.slots)
	n.wheel.Advance(now, nil)
	n.now = now
	n.ready, n.head, n.sorted = n.ready[:0], 0, true
	clear(n.dead)
	n.deadReady = false
	n.frontier, n.outside = minKey, low
}

// readyLen returns how many entries are due.
func (n *near) readyLen() int { return len(n.ready) - n.head }

// length returns how many entries are in memory.
func (n *near) length() int { return n.wheel.Len() + n.readyLen() + n.inFlight }

// bytes returns the memory that the window holds.
func (n *near) bytes() int64 {
	b := n.wheel.Bytes() + int64(cap(n.ready))*int64(unsafe.Sizeof(Entry{})) +
		int64(cap(n.items))*int64(unsafe.Sizeof(wheel.Item[slot]{}))
	for i := range n.spare {
		b += int64(cap(n.spare[i])) * int64(unsafe.Sizeof(flown{}))
	}
	return b + int64(n.inFlight)*int64(unsafe.Sizeof(flown{}))
}

// idleBytesMax is how much memory an empty window keeps for what comes next.
const idleBytesMax = 1 << 20

// shed gives back what a burst has left behind, once nothing of it is in memory any more: many
// partitions that each had one would hold it for ever.
func (n *near) shed() {
	if n.length() > 0 || n.bytes() <= idleBytesMax {
		return
	}
	n.ready, n.head, n.sorted, n.items, n.spare = nil, 0, true, nil, nil
	n.dead, n.deadReady = map[Key]struct{}{}, false
	n.flights, n.first = nil, 0
	n.wheel = wheel.New[slot](n.slots)
	n.wheel.Advance(n.now, nil)
}

// arrive takes an entry that has just come into the index.
func (n *near) arrive(e Entry) {
	if !e.Key.Less(n.frontier) {
		n.outside = minOf(n.outside, e.Key)
		return
	}
	n.hold(e)
}

// hold keeps an entry in memory. What is ready or in flight is never due later than the wheel's
// time, even if the clock stepped back since: so evict, which pulls the frontier back to after that
// time, cannot make a load bring the same entry a second time.
func (n *near) hold(e Entry) {
	if e.Due <= n.now {
		n.pushReady(e)
		return
	}
	n.wheel.Add(e.Due, slot{
		offset: e.Offset, epoch: e.Epoch, occurrence: e.Occurrence,
		delta: e.Delta, at: e.At, length: e.Length, flags: e.Flags,
	})
}

func (n *near) pushReady(e Entry) {
	if n.head == len(n.ready) {
		n.ready, n.head, n.sorted = n.ready[:0], 0, true
	} else if n.sorted && e.Key.Less(n.ready[len(n.ready)-1].Key) {
		n.sorted = false
	}
	n.ready = append(n.ready, e)
}

// advance moves the wheel to now and what is due to ready.
func (n *near) advance(now UnixMs) {
	if now > n.now {
		n.now = now
		n.items = n.wheel.Advance(now, n.items[:0])
		for i := range n.items {
			v := &n.items[i].Value
			e := Entry{
				Key: Key{Due: n.items[i].Due, Position: Position{
					Epoch: v.epoch, Offset: v.offset, Occurrence: v.occurrence,
				}},
				Delta: v.delta, At: v.at, Length: v.length, Flags: v.flags,
			}
			if !n.isDead(e.Key) {
				n.pushReady(e)
			}
		}
	}
}

// kill takes an entry that is in the wheel or ready out of the window.
func (n *near) kill(k Key) {
	n.dead[k] = struct{}{}
	n.deadReady = n.deadReady || k.Due <= n.now
}

// isDead says whether an entry was killed; it is asked once, when the entry is met.
func (n *near) isDead(k Key) bool {
	if len(n.dead) == 0 {
		return false
	}
	_, ok := n.dead[k]
	delete(n.dead, k)
	return ok
}

// bury takes the killed ones out of ready.
func (n *near) bury() {
	if !n.deadReady {
		return
	}
	n.deadReady = false
	n.ready = append(n.ready[:n.head], slices.DeleteFunc(n.ready[n.head:],
		func(e Entry) bool { return n.isDead(e.Key) })...)
	if n.head == len(n.ready) {
		n.ready, n.head, n.sorted = n.ready[:0], 0, true
	}
}

// skip takes the first ready entry out.
func (n *near) skip() {
	n.head++
	if n.head == len(n.ready) {
		n.ready, n.head, n.sorted = n.ready[:0], 0, true
	}
}

// sortReady puts ready in order.
func (n *near) sortReady() {
	if !n.sorted {
		sortEntries(n.ready[n.head:])
		n.sorted = true
	}
}

// sortEntries sorts entries by key.
func sortEntries(entries []Entry) {
	inOrder := func(a, b Entry) int {
		if a.Due != b.Due {
			return cmp.Compare(a.Due, b.Due)
		}
		return a.Key.Compare(b.Key)
	}
	if !slices.IsSortedFunc(entries, inOrder) {
		slices.SortFunc(entries, inOrder)
	}
}

// isFull says whether what is due or in flight, and so cannot leave memory, fills it.
func (n *near) isFull() bool { return n.readyLen()+n.inFlight >= n.max }

// isStuck says whether memory is full of what was due before the clock stepped back to now.
func (n *near) isStuck(now UnixMs) bool {
	if !n.isFull() || n.readyLen() == 0 {
		return false
	}
	n.sortReady()
	return n.ready[n.head].Due > now
}

// due returns the entries that are due at now, in order.
func (n *near) due(now UnixMs, limit int) []Entry {
	n.sortReady()
	r := n.ready[n.head:]
	r = r[:min(len(r), limit)]
	return r[:sort.Search(len(r), func(i int) bool { return r[i].Due > now })]
}

// takeOff moves the first len(entries) ready entries into a flight that ends at end. lateFrom has
// one time for each.
func (n *near) takeOff(end Offset, lateFrom []UnixMs) {
	f := flight{end: end, low: n.ready[n.head].Key}
	if k := len(n.spare); k > 0 {
		f.entries, n.spare = n.spare[k-1][:0], n.spare[:k-1]
	}
	for i, from := range lateFrom {
		e := &n.ready[n.head+i]
		f.entries = append(f.entries, flown{e.Key, from, e.Flags})
	}
	n.head += len(lateFrom)
	n.inFlight += len(lateFrom)
	if n.first > 0 && len(n.flights) == cap(n.flights) {
		n.flights = n.flights[:copy(n.flights, n.flights[n.first:])]
		n.first = 0
	}
	n.flights = append(n.flights, f)
	if n.head == len(n.ready) {
		n.ready, n.head = n.ready[:0], 0
	}
}

// land removes the flights below the partition log's high watermark and calls fn for each entry.
func (n *near) land(visible Offset, fn func(f flown)) {
	for n.first < len(n.flights) && n.flights[n.first].end <= visible {
		f := &n.flights[n.first]
		for _, e := range f.entries {
			fn(e)
		}
		n.inFlight -= len(f.entries)
		if len(n.spare) < sparesMax {
			n.spare = append(n.spare, f.entries)
		}
		*f = flight{}
		n.first++
	}
	if n.first == len(n.flights) {
		n.flights, n.first = n.flights[:0], 0
	}
}

// flightOf returns the flight that has an entry, or nil.
func (n *near) flightOf(k Key) *flight {
	for i := n.first; i < len(n.flights); i++ {
		f := &n.flights[i]
		at, found := slices.BinarySearchFunc(f.entries, k, func(e flown, k Key) int {
			return e.Key.Compare(k)
		})
		if found && f.entries[at].Key == k {
			return f
		}
	}
	return nil
}

// rekey notes that the index has another key now for an entry that is on its way.
func (n *near) rekey(k, now Key) {
	if f := n.flightOf(k); f != nil {
		f.low = minOf(f.low, now)
	}
}

// nextLanding returns the partition-log offset whose passing by the high watermark lands a flight.
func (n *near) nextLanding() Offset {
	if n.first == len(n.flights) {
		return math.MaxInt64
	}
	return n.flights[n.first].end
}

// waiting returns a lower bound of the due times that are not delivered: exact but for what is
// outside memory. It is MaxInt64 when nothing waits.
func (n *near) waiting() UnixMs {
	due := n.outside.Due
	if n.readyLen() > 0 {
		n.sortReady()
		due = min(due, n.ready[n.head].Due)
	}
	if next, ok := n.wheel.Next(); ok {
		due = min(due, next)
	}
	return due
}

// low returns a bound below which the index has no entry.
func (n *near) low() Key {
	low := n.outside
	for i := n.first; i < len(n.flights); i++ {
		low = minOf(low, n.flights[i].low)
	}
	if n.readyLen() > 0 {
		n.sortReady()
		low = minOf(low, n.ready[n.head].Key)
	}
	if next, ok := n.wheel.Next(); ok {
		low = minOf(low, Key{Due: next, Position: minKey.Position})
	}
	return low
}

// wantsLoad says whether entries outside memory are due soon and there is room for them.
func (n *near) wantsLoad(now UnixMs) bool {
	return n.outside.Due <= now+n.span/2 && n.outside != maxKey && n.hasRoom()
}

// hasRoom says whether a load is worth its seek.
func (n *near) hasRoom() bool { return n.length() <= n.max/2 }

// loaded moves the frontier after a scan from it. last is the last entry taken, if any were; next
// is the first one not taken, or maxKey at the index's end; more says that the scan ended for want
// of room, so that next is not known.
func (n *near) loaded(last, next Key, more bool, horizon UnixMs) {
	if more {
		n.frontier = last
		n.frontier.Occurrence++ // the smallest key above last
		n.outside = n.frontier
		return
	}
	if beyond := (Key{Due: horizon + 1, Position: minKey.Position}); n.frontier.Less(beyond) {
		n.frontier = beyond
	}
	n.outside = next
}

// evict keeps memory bounded: it drops the far entries, which are in the index, and pulls the
// frontier back to them, to three quarters, so that it has not to be done for each arrival.
// Entries that are due stay; Schedule.follow stops taking more.
func (n *near) evict() {
	if n.length() <= n.max {
		return
	}
	from, to := n.now+1, n.now+1+2*n.span
	for n.length() > n.max/4*3 && from < to {
		to = from + (to-from)/2
		dropped, earliest := n.wheel.DropFrom(to)
		if dropped > 0 {
			n.frontier = minOf(n.frontier, Key{Due: earliest, Position: minKey.Position})
			n.outside = minOf(n.outside, n.frontier)
		}
	}
	for k := range n.dead {
		if !k.Less(n.frontier) {
			delete(n.dead, k)
		}
	}
}

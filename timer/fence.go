package timer

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
)

// fence knows the ids whose pending records were replaced or cancelled in the staging log where the
// schedule has not followed yet, and the positions of those that an operator's command names there:
// none of those may be delivered any more. A cancel that was appended before a delivery would be is
// seen by it, so that nothing is shown after its cancel was answered.
//
// It keeps hashes: two that share one only wait for each other.
type fence struct {
	mu struct {
		sync.Mutex
		ends  map[uint64]Offset // by id: staging offset behind the last record that names it
		queue []fencePost       // in the order of the log, from first on
		first int
		all   Offset // some were not noted for want of room: all are blocked up to here
		// positions is how many posts are positions: while there are none, records without an id
		// need not be looked up.
		positions int
	}
}

type fencePost struct {
	hash     uint64
	end      Offset
	position bool
}

// fenceMax bounds the hashes that are kept. Beyond it every record that is looked up waits until
// the schedule has followed.
const fenceMax = 1 << 20

var idSeed = maphash.MakeSeed()

// HashID returns the number under which StageInfo.IDs and a schedule's Fence know an id. It is
// another one in every process.
func HashID(id []byte) uint64 { return maphash.Bytes(idSeed, id) }

// hashPosition returns the number under which a fence knows a record, whatever its occurrence. One
// that is the hash of an id as well does no harm.
func hashPosition(p Position) uint64 {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(p.Epoch))
	binary.BigEndian.PutUint64(b[4:], uint64(p.Offset))
	return maphash.Bytes(idSeed, b[:])
}

func newFence() *fence {
	f := &fence{}
	f.mu.ends = map[uint64]Offset{}
	return f
}

// note takes the ids of a staged batch that ends at end.
func (f *fence) note(end Offset, ids []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, hash := range ids {
		if !f.postLocked(fencePost{hash: hash, end: end}) {
			return
		}
	}
}

// notePositions takes the positions that a command batch names, which ends at end. There is always
// room for them: a batch has few, and a record without an id that is not known here is not stopped.
func (f *fence) notePositions(end Offset, hashes []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, hash := range hashes {
		f.mu.positions++
		f.mu.ends[hash] = end
		f.mu.queue = append(f.mu.queue, fencePost{hash: hash, end: end, position: true})
	}
}

// postLocked adds a post, if there is room.
func (f *fence) postLocked(post fencePost) bool {
	if len(f.mu.queue)-f.mu.first >= fenceMax {
		f.mu.all = post.end
		return false
	}
	f.mu.ends[post.hash] = post.end
	f.mu.queue = append(f.mu.queue, post)
	return true
}

// hasPositions says whether records without an id may be blocked.
func (f *fence) hasPositions() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.positions > 0
}

// follow forgets what lies below an offset that the schedule has followed to.
func (f *fence) follow(to Offset) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if to >= f.mu.all {
		f.mu.all = 0
	}
	q := &f.mu.queue
	for f.mu.first < len(*q) && (*q)[f.mu.first].end <= to {
		post := (*q)[f.mu.first]
		if f.mu.ends[post.hash] == post.end {
			delete(f.mu.ends, post.hash)
		}
		if post.position {
			f.mu.positions--
		}
		f.mu.first++
	}
	switch {
	case f.mu.first == len(*q):
		*q, f.mu.first = (*q)[:0], 0
		if cap(*q) > fenceIdleMax {
			*q, f.mu.ends = nil, map[uint64]Offset{}
		}
	case f.mu.first > len(*q)/2:
		*q, f.mu.first = (*q)[:copy(*q, (*q)[f.mu.first:])], 0
	}
}

// fenceIdleMax is how many posts an empty fence keeps room for.
const fenceIdleMax = 1 << 12

// blocked says whether a record with that id, or position, which the schedule has followed, may not
// be delivered, and up to which staging offset it must follow to know why.
func (f *fence) blocked(hash uint64) (until Offset, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, ok = f.mu.ends[hash]
	if f.mu.all > until {
		return f.mu.all, true
	}
	return until, ok
}

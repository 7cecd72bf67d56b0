package timer

import (
	"hash/maphash"
	"sync"
)

// fence knows the ids whose pending records were replaced or cancelled in the staging log where the
// schedule has not followed yet: none of those may be delivered any more. A cancel that was
// appended before a delivery would be is seen by it, so that nothing is shown after its cancel was
// answered.
//
// It keeps hashes: two ids that share one only wait for each other.
type fence struct {
	mu struct {
		sync.Mutex
		ends  map[uint64]Offset // by id: staging offset behind the last record that names it
		queue []fencePost       // in the order of the log, from first on
		first int
		all   Offset // ids were not noted for want of room: all are blocked up to here
	}
}

type fencePost struct {
	hash uint64
	end  Offset
}

// fenceMax bounds the ids that are kept. Beyond it every record with an id waits until the schedule
// has followed.
const fenceMax = 1 << 20

var idSeed = maphash.MakeSeed()

// HashID returns the number under which StageInfo.IDs and a schedule's Fence know an id. It is
// another one in every process.
func HashID(id []byte) uint64 { return maphash.Bytes(idSeed, id) }

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
		if len(f.mu.queue)-f.mu.first >= fenceMax {
			f.mu.all = end
			return
		}
		f.mu.ends[hash] = end
		f.mu.queue = append(f.mu.queue, fencePost{hash, end})
	}
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

// blocked says whether a record with that id, which the schedule has followed, may not be
// delivered, and up to which staging offset it must follow to know why.
func (f *fence) blocked(hash uint64) (until Offset, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, ok = f.mu.ends[hash]
	if f.mu.all > until {
		return f.mu.all, true
	}
	return until, ok
}

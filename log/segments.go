package log

import (
	"sort"
	"strconv"
	"strings"
)

// segmentSet is the segments of a log, oldest first; the last one is active. It is immutable:
// readers hold it without a lock, writers replace it.
type segmentSet struct {
	list []*segment
}

// find returns the index of the segment that holds the offset, or would hold it; -1 when the
// offset lies before all of them.
func (s *segmentSet) find(o Offset) int {
	return sort.Search(len(s.list), func(i int) bool { return s.list[i].base > o }) - 1
}

// active is the segment that takes appends.
func (s *segmentSet) active() *segment { return s.list[len(s.list)-1] }

// with returns the set with one more segment at the end.
func (s *segmentSet) with(seg *segment) *segmentSet {
	list := make([]*segment, 0, len(s.list)+1)
	return &segmentSet{list: append(append(list, s.list...), seg)}
}

// from returns the set without its first n segments, upTo with only those.
func (s *segmentSet) from(n int) *segmentSet { return &segmentSet{list: s.list[n:]} }
func (s *segmentSet) upTo(n int) *segmentSet { return &segmentSet{list: s.list[:n:n]} }

// sizeBytes is the bytes of all batches.
func (s *segmentSet) sizeBytes() int64 {
	var sum int64
	for _, seg := range s.list {
		sum += seg.size.Load()
	}
	return sum
}

// parseSegmentName returns the base offset in the name of a log file.
func parseSegmentName(name string) (Offset, bool) {
	digits, ok := strings.CutSuffix(name, logSuffix)
	if !ok || len(digits) != baseDigits {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || base < 0 || digits[0] == '+' {
		return 0, false
	}
	return Offset(base), true
}

// pin returns the segment that holds the offset, pinned: the caller releases it.
func (l *Log) pin(o Offset) (*segment, error) {
	for {
		set := l.set.Load()
		i := set.find(o)
		if i < 0 {
			return nil, l.outOfRange(o)
		}
		if s := set.list[i]; s.acquire() {
			return s, nil
		}
		// The log has let go of it: retention has replaced the set, or Close has not.
		if l.set.Load() == set {
			return nil, ErrClosed
		}
	}
}

// endOf returns the first offset behind the segment, or behind what has been appended to it. The
// log's end is loaded first: if the segment is active after that, it was when the end was loaded.
func (l *Log) endOf(s *segment) Offset {
	end := l.End()
	if sealed := Offset(s.end.Load()); sealed != noOffset {
		return sealed
	}
	return end
}

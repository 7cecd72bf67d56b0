package compaction

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/chronosdb/chronosdb/log/batch"
)

const (
	// SlotBytes is the memory that one key takes, whatever its length.
	SlotBytes = 24
	// MapBytesDefault is the size of a map as in log.cleaner.dedupe.buffer.size.
	MapBytesDefault = 128 << 20
	// slotsMin is the size of the smallest map.
	slotsMin = 8
	// loadPercent is how full a map may get, as in log.cleaner.io.buffer.load.factor.
	loadPercent = 90
)

// OffsetMap holds the last offset of each key in memory of a fixed size. Keys are known by 16
// bytes of their SHA-256: nobody can make two that are taken for each other, which would delete
// the older one's record.
type OffsetMap struct {
	slots  []slot // open addressing, the next slot is tried next
	used   int
	max    int // keys that fit
	latest batch.Offset
}

// slot is one key; at is 0 while it is free.
type slot struct {
	hash [2]uint64
	at   batch.Offset // plus one
}

// NewOffsetMap returns an empty map that takes at most that many bytes, and no more than it needs
// for a number of records.
func NewOffsetMap(bytes, records int64) *OffsetMap {
	n := bytes / SlotBytes
	if records < n { // and so too few for the product to overflow
		n = min(n, records*100/loadPercent+1)
	}
	m := &OffsetMap{slots: make([]slot, max(n, slotsMin)), latest: batch.NoOffset}
	m.max = len(m.slots) * loadPercent / 100
	return m
}

// Len returns the number of keys.
func (m *OffsetMap) Len() int { return m.used }

// Max returns how many keys fit.
func (m *OffsetMap) Max() int { return m.max }

// Latest returns the offset up to which, inclusively, the map speaks of every record.
func (m *OffsetMap) Latest() batch.Offset { return m.latest }

// Put notes that a key was last seen at an offset, which is above those of all calls before. It is
// false when the key is new and there is no room.
func (m *OffsetMap) Put(key []byte, o batch.Offset) bool {
	h := hashOf(key)
	s := m.find(h)
	if s.at == 0 {
		if m.used == m.max {
			return false
		}
		m.used++
		s.hash = h
	}
	s.at = o + 1
	return true
}

// Get returns the last offset of a key, or NoOffset.
func (m *OffsetMap) Get(key []byte) batch.Offset { return m.find(hashOf(key)).at - 1 }

// find returns the key's slot, or the free one where it belongs. There is always a free one.
func (m *OffsetMap) find(h [2]uint64) *slot {
	at, _ := bits.Mul64(h[0], uint64(len(m.slots)))
	for i := int(at); ; {
		s := &m.slots[i]
		if s.at == 0 || s.hash == h {
			return s
		}
		if i++; i == len(m.slots) {
			i = 0
		}
	}
}

func hashOf(key []byte) [2]uint64 {
	sum := sha256.Sum256(key)
	return [2]uint64{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

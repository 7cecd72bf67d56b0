package timer

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
)

// The key spaces of the index, as the first byte of a key.
const (
	spaceApplied byte = 1 // + partition: Applied
	spaceEntries byte = 2 // + partition, due, epoch, offset, occurrence: where the record is
	spaceNames   byte = 3 // + partition, id: the rest of its entry's key
	spacePlaces  byte = 4 // + partition, epoch, offset: the rest of its entry's key
	spaceEnd     byte = 5
)

const (
	spaceKeyBytes = 1 + 8
	entryKeyBytes = spaceKeyBytes + 8 + 4 + 8 + 4
	// entryValueBytesMax is three uvarints of 32 bits and the flags.
	entryValueBytesMax = 1 + 3*5
	placeKeyBytes      = spaceKeyBytes + 4 + 8

	// appliedVersion 2 has flags, and the index has places.
	appliedVersion = 2
	appliedBytes   = 1 + 3*8 + 24 + 2*8 + 1
	appliedPaused  = 1 // flag
)

// putSpaceKey writes the beginning of a partition's keys in a space. Partition numbers are big
// endian, so that each partition is one range.
func putSpaceKey(k []byte, space byte, p PartitionNumber) {
	k[0] = space
	binary.BigEndian.PutUint64(k[1:], uint64(p))
}

// spaceKey returns the beginning of a partition's keys in a space.
func spaceKey(space byte, p PartitionNumber) []byte {
	k := make([]byte, spaceKeyBytes)
	putSpaceKey(k, space, p)
	return k
}

// putKey writes what is ordered: signed numbers with the sign bit turned, so that bytes sort as
// numbers do.
func putKey(k []byte, key Key) {
	be := binary.BigEndian
	be.PutUint64(k, uint64(key.Due)^1<<63)
	be.PutUint32(k[8:], uint32(key.Epoch)^1<<31)
	be.PutUint64(k[12:], uint64(key.Offset)^1<<63)
	be.PutUint32(k[20:], uint32(key.Occurrence)^1<<31)
}

// keyOf reads what putKey wrote.
func keyOf(k []byte) Key {
	be := binary.BigEndian
	return Key{
		Due: UnixMs(be.Uint64(k) ^ 1<<63),
		Position: Position{
			Epoch:      batch.LeaderEpoch(be.Uint32(k[8:]) ^ 1<<31),
			Offset:     Offset(be.Uint64(k[12:]) ^ 1<<63),
			Occurrence: Occurrence(be.Uint32(k[20:]) ^ 1<<31),
		},
	}
}

// putEntryKey writes the whole key of an entry.
func putEntryKey(k []byte, p PartitionNumber, key Key) {
	putSpaceKey(k, spaceEntries, p)
	putKey(k[spaceKeyBytes:], key)
}

// appendEntryValue appends where the record of an entry is.
func appendEntryValue(dst []byte, e *Entry) []byte {
	dst = append(dst, byte(e.Flags))
	dst = binary.AppendUvarint(dst, uint64(e.Delta))
	dst = binary.AppendUvarint(dst, uint64(e.At))
	return binary.AppendUvarint(dst, uint64(e.Length))
}

// entryOf reads an entry.
func entryOf(k, v []byte) (Entry, error) {
	d := varintReader{p: v}
	e := Entry{
		Flags:  EntryFlags(d.one()),
		Delta:  int32(d.unsigned(math.MaxInt32)),
		At:     int32(d.unsigned(math.MaxInt32)),
		Length: int32(d.unsigned(math.MaxInt32)),
	}
	if len(k) != entryKeyBytes || d.bad || len(d.p) != 0 || e.Flags&^entryFlagsAll != 0 {
		return e, fmt.Errorf("%w: entry %x = %x cannot be read", ErrIndex, k, v)
	}
	e.Key = keyOf(k[spaceKeyBytes:])
	return e, nil
}

// appendNameKey appends the key under which an id is found.
func appendNameKey(dst []byte, p PartitionNumber, id string) []byte {
	var k [spaceKeyBytes]byte
	putSpaceKey(k[:], spaceNames, p)
	return append(append(dst, k[:]...), id...)
}

// endOfNames is behind all names of a partition.
func endOfNames(p PartitionNumber) []byte {
	if p+1 == 0 {
		return []byte{spaceNames + 1}
	}
	return appendNameKey(nil, p+1, "")
}

// appendNameValue appends the key of the entry that has an id.
func appendNameValue(dst []byte, k Key) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.Due))
	dst = binary.AppendUvarint(dst, uint64(k.Epoch))
	dst = binary.AppendUvarint(dst, uint64(k.Offset))
	return binary.AppendUvarint(dst, uint64(k.Occurrence))
}

// nameOf reads what appendNameValue wrote.
func nameOf(v []byte) (Key, error) {
	if len(v) < 8 {
		return Key{}, fmt.Errorf("%w: name %x cannot be read", ErrIndex, v)
	}
	d := varintReader{p: v[8:]}
	k := Key{Due: UnixMs(binary.BigEndian.Uint64(v))}
	k.Epoch = batch.LeaderEpoch(d.unsigned(math.MaxInt32))
	k.Offset = Offset(d.unsigned(math.MaxInt64))
	k.Occurrence = Occurrence(d.unsigned(math.MaxInt32))
	if d.bad || len(d.p) != 0 {
		return Key{}, fmt.Errorf("%w: name %x cannot be read", ErrIndex, v)
	}
	return k, nil
}

// putPlaceKey writes the key under which a record's place is found.
func putPlaceKey(k []byte, p PartitionNumber, first Position) {
	putSpaceKey(k, spacePlaces, p)
	binary.BigEndian.PutUint32(k[spaceKeyBytes:], uint32(first.Epoch))
	binary.BigEndian.PutUint64(k[spaceKeyBytes+4:], uint64(first.Offset))
}

// appendPlaceValue appends what putPlaceKey does not say of a place.
func appendPlaceValue(dst []byte, pl *Place) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(pl.Key.Due))
	dst = binary.AppendVarint(dst, int64(pl.Scheduled))
	return binary.AppendUvarint(dst, uint64(pl.Key.Occurrence))
}

// placeOf reads what appendPlaceValue wrote for a record.
func placeOf(first Position, v []byte) (Place, error) {
	pl := Place{Key: Key{Position: first}}
	d := varintReader{bad: len(v) < 8}
	if !d.bad {
		pl.Key.Due, d.p = UnixMs(binary.BigEndian.Uint64(v)), v[8:]
	}
	pl.Scheduled = UnixMs(d.signed())
	pl.Key.Occurrence = Occurrence(d.unsigned(math.MaxInt32))
	if d.bad || len(d.p) != 0 {
		return Place{}, fmt.Errorf("%w: place %x cannot be read", ErrIndex, v)
	}
	return pl, nil
}

// appendApplied appends the value of an Applied.
func appendApplied(dst []byte, a Applied) []byte {
	be := binary.BigEndian
	var low [24]byte
	putKey(low[:], a.Low)
	dst = append(dst, appliedVersion)
	dst = be.AppendUint64(dst, uint64(a.Staging))
	dst = be.AppendUint64(dst, uint64(a.Visible))
	dst = be.AppendUint64(dst, uint64(a.SettledTo))
	dst = append(dst, low[:]...)
	dst = be.AppendUint64(dst, uint64(a.Pending))
	dst = be.AppendUint64(dst, uint64(a.OwedFrom))
	if a.Paused {
		return append(dst, appliedPaused)
	}
	return append(dst, 0)
}

// appliedOf reads an Applied; ok is false when it is of another version.
func appliedOf(v []byte) (a Applied, ok bool) {
	if len(v) != appliedBytes || v[0] != appliedVersion {
		return a, false
	}
	be := binary.BigEndian
	return Applied{
		Staging:   Offset(be.Uint64(v[1:])),
		Visible:   Offset(be.Uint64(v[9:])),
		SettledTo: Offset(be.Uint64(v[17:])),
		Low:       keyOf(v[25:]),
		Pending:   int64(be.Uint64(v[49:])),
		OwedFrom:  Offset(be.Uint64(v[57:])),
		Paused:    v[65]&appliedPaused != 0,
	}, true
}

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
	spaceEnd     byte = 4
)

const (
	spaceKeyBytes = 1 + 8
	entryKeyBytes = spaceKeyBytes + 8 + 4 + 8 + 4
	// entryValueBytesMax is three uvarints of 32 bits and the flags.
	entryValueBytesMax = 1 + 3*5

	appliedVersion = 1
	appliedBytes   = 1 + 3*8 + 24 + 2*8
)

// putSpaceKey writes the beginning of a partition's keys in a space. Partition numbers are big
// endian, so that each partition is one range.
func putSpaceKey(k []byte, space byte, p PartitionNumber) {
	k[0] = space
	binary.BigEndian.PutUint64(k[1:], uint64(p))
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
	return be.AppendUint64(dst, uint64(a.OwedFrom))
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
	}, true
}

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
	spaceEnd     byte = 3
)

const (
	spaceKeyBytes = 1 + 8
	entryKeyBytes = spaceKeyBytes + 8 + 4 + 8 + 4
	// entryValueBytesMax is three uvarints of 32 bits and the flags.
	entryValueBytesMax = 1 + 3*5

	appliedVersion = 1
	appliedBytes   = 1 + 3*8 + 24 + 2*8

	entryDueNow byte = 1
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
	var flags byte
	if e.DueNow {
		flags |= entryDueNow
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(e.Delta))
	dst = binary.AppendUvarint(dst, uint64(e.At))
	return binary.AppendUvarint(dst, uint64(e.Length))
}

// entryOf reads an entry.
func entryOf(k, v []byte) (Entry, error) {
	d := varintReader{p: v}
	flags := d.one()
	e := Entry{
		Delta:  int32(d.unsigned(math.MaxInt32)),
		At:     int32(d.unsigned(math.MaxInt32)),
		Length: int32(d.unsigned(math.MaxInt32)),
		DueNow: flags&entryDueNow != 0,
	}
	if len(k) != entryKeyBytes || d.bad || len(d.p) != 0 || flags&^entryDueNow != 0 {
		return e, fmt.Errorf("%w: entry %x = %x cannot be read", ErrIndex, k, v)
	}
	e.Key = keyOf(k[spaceKeyBytes:])
	return e, nil
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

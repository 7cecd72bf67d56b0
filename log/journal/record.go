package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/chronosdb/chronosdb/log/mutant"
)

// Sequence is the number of a commit record. The first one has 1.
type Sequence uint64

const (
	recordMagic uint32 = 0x434a5231 // "CJR1"
	// recordHeaderBytes stand before the entries of a record.
	recordHeaderBytes = 40
	// entryHeaderBytes stand before the name and the payload of an entry.
	entryHeaderBytes = 1 + 2 + 4*8 + 4 + 4
)

// recordHeader is what stands before the entries of a commit record.
type recordHeader struct {
	generation uint64
	sequence   Sequence
	position   int64 // in the file
	bodyBytes  int   // of the entries
	entries    int
	// unreleased counts the records before this one that were not released when it was written.
	// They must be there, as must this one: what is missing before them is of no use.
	unreleased uint32
	crc        uint32
}

// putRecordHeader writes the header of a record that is otherwise complete in p, and the checksum
// over all of it.
func putRecordHeader(p []byte, h recordHeader, salt uint64) {
	be := binary.BigEndian
	be.PutUint32(p[0:], recordMagic)
	be.PutUint64(p[8:], h.generation)
	be.PutUint64(p[16:], uint64(h.sequence))
	be.PutUint32(p[24:], uint32(h.position/blockBytes))
	be.PutUint32(p[28:], uint32(h.bodyBytes))
	be.PutUint32(p[32:], uint32(h.entries))
	be.PutUint32(p[36:], h.unreleased)
	be.PutUint32(p[4:], recordCRC(p[:recordHeaderBytes+h.bodyBytes], salt))
}

// recordCRC covers the salt and everything of a record but its checksum.
func recordCRC(p []byte, salt uint64) uint32 {
	var s [8]byte
	if !mutant.On(mutant.GenerationIgnored) {
		binary.BigEndian.PutUint64(s[:], salt)
	}
	crc := crc32.Update(0, castagnoli, s[:])
	crc = crc32.Update(crc, castagnoli, p[:4])
	return crc32.Update(crc, castagnoli, p[8:])
}

// decodeRecordHeader returns the header in p if it may be that of a record of this use of the file
// at this position. Only the checksum says whether it is.
func decodeRecordHeader(p []byte, f header, position int64) (recordHeader, bool) {
	be := binary.BigEndian
	if be.Uint32(p) != recordMagic {
		return recordHeader{}, false
	}
	h := recordHeader{
		crc:        be.Uint32(p[4:]),
		generation: be.Uint64(p[8:]),
		sequence:   Sequence(be.Uint64(p[16:])),
		position:   int64(be.Uint32(p[24:])) * blockBytes,
		bodyBytes:  int(be.Uint32(p[28:])),
		entries:    int(be.Uint32(p[32:])),
		unreleased: be.Uint32(p[36:]),
	}
	ours := h.generation == f.generation || mutant.On(mutant.GenerationIgnored)
	fits := h.bodyBytes <= RecordBytesMax && position+recordBytes(h.bodyBytes) <= f.fileBytes
	counts := h.sequence > 0 && uint64(h.unreleased) < uint64(h.sequence)
	return h, ours && h.position == position && counts && fits &&
		(h.entries > 0 || h.bodyBytes == 0) && h.entries <= h.bodyBytes/entryHeaderBytes
}

// recordBytes is how much of a file a record takes.
func recordBytes(bodyBytes int) int64 {
	return (int64(recordHeaderBytes+bodyBytes) + blockBytes - 1) &^ (blockBytes - 1)
}

// Kind says where the bytes of an entry are.
type Kind uint8

const (
	// Inline entries hold the bytes.
	Inline Kind = iota + 1
	// Ref entries tell of bytes that were written to the segment, in parallel with the record.
	Ref
)

// Entry is the part of a commit that one log has in one segment.
type Entry struct {
	Kind Kind
	// Log is the folder of the log, relative to the data directory. At most LogNameBytesMax.
	Log string
	// Segment is the base offset of the segment.
	Segment int64
	// Position is the byte in the segment at which the bytes lie.
	Position int64
	// First and End are the offsets that the bytes hold: First is in, End is not.
	First, End int64
	// Length is the number of bytes. Commit takes that of an inline entry from Payload.
	Length uint32
	// Digest says which batches they are: see package log. For Ref entries.
	Digest uint32
	// Payload are the bytes of an inline entry, in pieces that follow each other.
	Payload [][]byte
}

// encodedBytes is what the entry takes in a record.
func (e *Entry) encodedBytes() int {
	n := entryHeaderBytes + len(e.Log)
	for _, piece := range e.Payload {
		n += len(piece)
	}
	return n
}

// check refuses an entry that could not be read again.
func (e *Entry) check() error {
	switch {
	case e.Kind != Inline && e.Kind != Ref:
		return fmt.Errorf("entry of log %q has kind %d", e.Log, e.Kind)
	case e.Log == "" || len(e.Log) > LogNameBytesMax:
		return fmt.Errorf("entry has a log name of %d bytes, 1 to %d are allowed", len(e.Log),
			LogNameBytesMax)
	case e.Kind == Ref && len(e.Payload) > 0:
		return fmt.Errorf("entry of log %q is by reference and has a payload", e.Log)
	}
	return nil
}

// appendTo appends the entry's bytes.
func (e *Entry) appendTo(p []byte) []byte {
	be := binary.BigEndian
	length := e.Length
	if e.Kind == Inline {
		length = 0
		for _, piece := range e.Payload {
			length += uint32(len(piece))
		}
	}
	p = append(p, byte(e.Kind))
	p = be.AppendUint16(p, uint16(len(e.Log)))
	p = be.AppendUint64(p, uint64(e.Segment))
	p = be.AppendUint64(p, uint64(e.Position))
	p = be.AppendUint64(p, uint64(e.First))
	p = be.AppendUint64(p, uint64(e.End))
	p = be.AppendUint32(p, length)
	p = be.AppendUint32(p, e.Digest)
	p = append(p, e.Log...)
	for _, piece := range e.Payload {
		p = append(p, piece...)
	}
	return p
}

// errEntry means that a record with a good checksum has nonsense in it. No crash leads there.
var errEntry = errors.New("malformed entry")

// decodeEntry returns the first entry in p, which aliases p, and what follows it.
func decodeEntry(p []byte) (Entry, []byte, error) {
	if len(p) < entryHeaderBytes {
		return Entry{}, nil, fmt.Errorf("%w: %d bytes are left", errEntry, len(p))
	}
	be := binary.BigEndian
	e := Entry{
		Kind:    Kind(p[0]),
		Segment: int64(be.Uint64(p[3:])), Position: int64(be.Uint64(p[11:])),
		First: int64(be.Uint64(p[19:])), End: int64(be.Uint64(p[27:])),
		Length: be.Uint32(p[35:]), Digest: be.Uint32(p[39:]),
	}
	name := int(be.Uint16(p[1:]))
	rest := p[entryHeaderBytes:]
	payload := 0
	if e.Kind == Inline {
		payload = int(e.Length)
	}
	if name+payload > len(rest) {
		return Entry{}, nil, fmt.Errorf("%w: it says %d bytes, %d are left", errEntry, name+payload,
			len(rest))
	}
	e.Log = string(rest[:name])
	if e.Kind == Inline {
		e.Payload = [][]byte{rest[name : name+payload]}
	}
	if err := e.check(); err != nil {
		return Entry{}, nil, fmt.Errorf("%w: %w", errEntry, err)
	}
	return e, rest[name+payload:], nil
}

// entrySpan returns how long the entry says that it is whose header is in p, or 0.
func entrySpan(p []byte) int {
	if len(p) < entryHeaderBytes {
		return 0
	}
	be := binary.BigEndian
	n := entryHeaderBytes + int(be.Uint16(p[1:]))
	if Kind(p[0]) == Inline {
		n += int(be.Uint32(p[35:]))
	}
	return n
}

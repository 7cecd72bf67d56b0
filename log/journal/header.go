package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	// blockBytes is the unit of all writes.
	blockBytes = vfs.DirectAlign
	// headerCopies is how often a file's header is there: a power cut tears one of them at most.
	headerCopies = 2
	// firstRecord is the position of a file's first record.
	firstRecord = headerCopies * blockBytes

	headerMagic   uint32 = 0x434a4631 // "CJF1"
	headerVersion uint32 = 2
	headerBytes          = 56 // of which the last 4 are the checksum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header says which use of a file its records belong to.
type header struct {
	slot       uint32 // number of the file
	generation uint64 // of this use; higher than that of every use before it, of any file
	salt       uint64 // goes into the checksums of the records
	fileBytes  int64
	// atLeast is the next sequence when this use began: no record of it has a lower one, and all
	// lower ones were durable. Without it, sequences would begin anew once every file has been used
	// again and holds no record.
	atLeast Sequence
	// released is how far records had been released when this use began: what may be missing.
	released Sequence
}

// encode fills a block.
func (h header) encode(block []byte) {
	clear(block)
	be := binary.BigEndian
	be.PutUint32(block[0:], headerMagic)
	be.PutUint32(block[4:], headerVersion)
	be.PutUint32(block[8:], h.slot)
	be.PutUint64(block[12:], h.generation)
	be.PutUint64(block[20:], h.salt)
	be.PutUint64(block[28:], uint64(h.fileBytes))
	be.PutUint64(block[36:], uint64(h.atLeast))
	be.PutUint64(block[44:], uint64(h.released))
	be.PutUint32(block[52:], crc32.Checksum(block[:52], castagnoli))
}

// errHeader means that a header with a good checksum has nonsense in it. No crash leads there.
var errHeader = errors.New("malformed header")

// decodeHeader returns the header in a block, if it is intact. A newer version is an error: its
// records may hold what was acknowledged.
func decodeHeader(block []byte) (h header, ok bool, err error) {
	be := binary.BigEndian
	if len(block) < headerBytes || be.Uint32(block) != headerMagic ||
		be.Uint32(block[52:]) != crc32.Checksum(block[:52], castagnoli) {
		return header{}, false, nil
	}
	if v := be.Uint32(block[4:]); v == 0 || v > headerVersion {
		return header{}, false, fmt.Errorf("format version %d, this server knows %d; start the newer"+
			" server", v, headerVersion)
	}
	h = header{
		slot:       be.Uint32(block[8:]),
		generation: be.Uint64(block[12:]),
		salt:       be.Uint64(block[20:]),
		fileBytes:  int64(be.Uint64(block[28:])),
		atLeast:    Sequence(be.Uint64(block[36:])),
		released:   Sequence(be.Uint64(block[44:])),
	}
	if h.generation == 0 || !fileBytesFit(h.fileBytes) || h.released >= h.atLeast {
		return header{}, false, fmt.Errorf("%w: generation %d, %d bytes, released up to %d of %d",
			errHeader, h.generation, h.fileBytes, h.released, h.atLeast)
	}
	return h, true, nil
}

// randomSalt returns a number that nobody can guess.
func randomSalt() uint64 {
	var p [8]byte
	_, _ = rand.Read(p[:]) // It never fails: it ends the process instead.
	return binary.BigEndian.Uint64(p[:])
}

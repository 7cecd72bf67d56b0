package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// The places in a stored batch that this package reads and writes by itself, from FORMAT.md.
const (
	headerBytes = 61
	lengthAt    = 8
	epochAt     = 12
	magicAt     = 16
	crcAt       = 17
	crcFrom     = 21
	lastDeltaAt = 23
	maxTimeAt   = 35
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stored is one batch as it must lie in its log.
type stored struct {
	base, end int64 // offsets [base, end)
	maxTime   int64
	raw       []byte
}

// newBatch encodes a batch of n records, whose values nobody else writes.
func newBatch(mark uint64, n, valueBytes int, firstMs int64) []byte {
	records := make([]kmsg.Record, n)
	for i := range records {
		value := fmt.Appendf(nil, "%d/%d ", mark, i)
		for k := len(value); k < valueBytes; k++ {
			value = append(value, byte(mark*31+uint64(k)*7))
		}
		records[i] = kmsg.Record{Key: keyOf(mark + uint64(i)), Value: value}
	}
	raw, err := harness.PlainBatch(firstMs, records...).Encode()
	if err != nil {
		panic(err) // no codec is used, so nothing can fail
	}
	return raw
}

// place returns what a batch must be once it lies at an offset, by this package's own hands.
func place(raw []byte, base int64, epoch int32) stored {
	p := bytes.Clone(raw)
	be := binary.BigEndian
	be.PutUint64(p, uint64(base))
	be.PutUint32(p[epochAt:], uint32(epoch))
	return stored{
		base: base, end: base + int64(be.Uint32(p[lastDeltaAt:])) + 1,
		maxTime: int64(be.Uint64(p[maxTimeAt:])), raw: p,
	}
}

// parse cuts the first batch off p and checks its bytes. It returns nil without an error when p
// holds only zeros.
func parse(p []byte) (*stored, error) {
	if len(bytes.Trim(p, "\x00")) == 0 {
		return nil, nil
	}
	if len(p) < headerBytes {
		return nil, fmt.Errorf("%d bytes are no header", len(p))
	}
	be := binary.BigEndian
	n := int64(be.Uint32(p[lengthAt:])) + lengthAt + 4
	switch {
	case n < headerBytes || n > int64(len(p)):
		return nil, fmt.Errorf("a batch of %d bytes where %d are left", n, len(p))
	case p[magicAt] != 2:
		return nil, fmt.Errorf("magic %d", p[magicAt])
	case be.Uint32(p[crcAt:]) != crc32.Checksum(p[crcFrom:n], castagnoli):
		return nil, fmt.Errorf("bad checksum")
	}
	s := place(p[:n], int64(be.Uint64(p)), int32(be.Uint32(p[epochAt:])))
	return &s, nil
}

// epoch returns the leader epoch in the batch's header.
func (s *stored) epoch() int32 { return int32(binary.BigEndian.Uint32(s.raw[epochAt:])) }

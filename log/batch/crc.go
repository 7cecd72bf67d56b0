package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// castagnoli is CRC32C, which both amd64 and arm64 compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC returns the checksum that the batch carries.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// ComputeCRC returns the checksum that the batch should carry. It covers everything
// from the attributes on.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[posAttributes:], castagnoli) }

// CheckCRC returns an ErrCorrupt when the batch's bytes are not those its CRC was made
// of.
func (b Batch) CheckCRC() error {
	if got, want := b.ComputeCRC(), b.CRC(); got != want {
		return fmt.Errorf("%w: CRC32C is %08x, the header says %08x", ErrCorrupt, got, want)
	}
	return nil
}

// SealCRC writes the checksum after bytes under it have changed.
func (b Batch) SealCRC() { binary.BigEndian.PutUint32(b[posCRC:], b.ComputeCRC()) }

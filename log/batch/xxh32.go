package batch

import (
	"encoding/binary"
	"math/bits"
)

// The primes of xxHash.
const (
	xxhPrime1 uint32 = 2654435761
	xxhPrime2 uint32 = 2246822519
	xxhPrime3 uint32 = 3266489917
	xxhPrime4 uint32 = 668265263
	xxhPrime5 uint32 = 374761393
)

// xxh32 is the xxHash of 32 bits with seed 0, which lz4 frames use as checksum.
func xxh32(p []byte) uint32 {
	h := uint32(len(p))
	if len(p) >= 16 {
		var lanes uint32
		lanes, p = xxhLanes(p)
		h += lanes
	} else {
		h += xxhPrime5
	}
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*xxhPrime3, 17) * xxhPrime4
	}
	for _, c := range p {
		h = bits.RotateLeft32(h+uint32(c)*xxhPrime5, 11) * xxhPrime1
	}
	h = (h ^ h>>15) * xxhPrime2
	h = (h ^ h>>13) * xxhPrime3
	return h ^ h>>16
}

// xxhLanes hashes all stripes of 16 bytes in four lanes and returns the rest.
func xxhLanes(p []byte) (uint32, []byte) {
	v1, v2, v3, v4 := xxhPrime1, xxhPrime2, uint32(0), uint32(0)
	v1 += xxhPrime2
	v4 -= xxhPrime1
	for ; len(p) >= 16; p = p[16:] {
		v1 = xxhRound(v1, binary.LittleEndian.Uint32(p))
		v2 = xxhRound(v2, binary.LittleEndian.Uint32(p[4:]))
		v3 = xxhRound(v3, binary.LittleEndian.Uint32(p[8:]))
		v4 = xxhRound(v4, binary.LittleEndian.Uint32(p[12:]))
	}
	return bits.RotateLeft32(v1, 1) + bits.RotateLeft32(v2, 7) +
		bits.RotateLeft32(v3, 12) + bits.RotateLeft32(v4, 18), p
}

func xxhRound(v, lane uint32) uint32 {
	return bits.RotateLeft32(v+lane*xxhPrime2, 13) * xxhPrime1
}

package batch

import "math/bits"

// The longest forms of the two varints of a record: 32 and 64 bits in groups of 7.
const (
	maxVarintBytes  = 5
	maxVarlongBytes = 10
)

// badVarint is the position that the readers below return for a varint that is cut
// short or too long. A position that may be bad must not be read from.
const badVarint = -1

// uvarint reads an unsigned varint of at most 5 bytes at p[i:] and returns the
// position behind it, or badVarint. Only the low 32 bits count: bits above them in
// the fifth byte are refused, so that every value has a bounded form.
func uvarint(p []byte, i int) (uint32, int) {
	if i+2 < len(p) {
		// The forms up to 2 MiB, without a loop.
		a, b, c := uint32(p[i]), uint32(p[i+1]), uint32(p[i+2])
		switch {
		case a < 0x80:
			return a, i + 1
		case b < 0x80:
			return a&0x7f | b<<7, i + 2
		case c < 0x80:
			return a&0x7f | b&0x7f<<7 | c<<14, i + 3
		}
	}
	var v uint32
	for n := 0; n < maxVarintBytes && i < len(p); n++ {
		c := p[i]
		i++
		v |= uint32(c&0x7f) << (7 * n)
		if c < 0x80 {
			if n == maxVarintBytes-1 && c > 0x0f {
				return 0, badVarint
			}
			return v, i
		}
	}
	return 0, badVarint
}

// zigzag returns the signed value of an unsigned varint.
func zigzag(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }

// varint reads a zigzag varint of at most 5 bytes at p[i:] and returns the position
// behind it, or badVarint.
func varint(p []byte, i int) (int32, int) {
	u, i := uvarint(p, i)
	return zigzag(u), i
}

// varlong reads a zigzag varint of at most 10 bytes, as timestamps have.
func varlong(p []byte, i int) (int64, int) {
	if i+1 < len(p) {
		a, b := int64(p[i]), int64(p[i+1])
		if a < 0x80 {
			return a>>1 ^ -(a & 1), i + 1
		}
		if b < 0x80 {
			a = a&0x7f | b<<7
			return a>>1 ^ -(a & 1), i + 2
		}
	}
	var u uint64
	for n := 0; n < maxVarlongBytes && i < len(p); n++ {
		c := p[i]
		i++
		u |= uint64(c&0x7f) << (7 * n)
		if c < 0x80 {
			if n == maxVarlongBytes-1 && c > 1 {
				return 0, badVarint
			}
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, badVarint
}

// appendVarint appends v in zigzag form.
func appendVarint(dst []byte, v int32) []byte { return appendVarlong(dst, int64(v)) }

// appendVarlong appends v in zigzag form.
func appendVarlong(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// varlongLen returns how many bytes the zigzag form of v takes.
func varlongLen(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}

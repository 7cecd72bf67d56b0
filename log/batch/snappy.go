package batch

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

// Xerial framing: a magic, two version numbers, then blocks behind their lengths.
const (
	xerialMagic       = "\x82SNAPPY\x00"
	xerialHeader      = xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01"
	xerialLengthBytes = 4
	xerialBlockBytes  = 32 << 10 // xerialBlockBytes is what Java writes.
)

// snappyMaxRatio is the most that a block can grow: a copy of 64 bytes takes 3. A
// block that claims more is refused before memory is set aside for it.
const snappyMaxRatio = 22

func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		n := min(len(src), xerialBlockBytes)
		dst = slices.Grow(dst, xerialLengthBytes+s2.MaxEncodedLen(n))
		at := len(dst) + xerialLengthBytes
		block := s2.EncodeSnappy(dst[at:cap(dst)], src[:n])
		binary.BigEndian.PutUint32(dst[len(dst):at], uint32(len(block)))
		dst, src = dst[:at+len(block)], src[n:]
	}
	return dst
}

// decompressSnappy takes xerial framing and a raw block. They cannot be mixed up: read
// as a raw block, the magic begins with a copy, and there is nothing yet to copy.
func decompressSnappy(dst, src []byte, limit int) ([]byte, error) {
	if len(src) < len(xerialHeader) || string(src[:len(xerialMagic)]) != xerialMagic {
		return appendSnappyBlock(dst, src, limit)
	}
	start := len(dst)
	for src = src[len(xerialHeader):]; len(src) > 0; {
		if len(src) < xerialLengthBytes {
			return nil, badCompression(Snappy, "%d bytes do not hold a block length", len(src))
		}
		n := int64(binary.BigEndian.Uint32(src))
		src = src[xerialLengthBytes:]
		if n > int64(len(src)) {
			return nil, badCompression(Snappy, "block of %d bytes, %d are left", n, len(src))
		}
		var err error
		if dst, err = appendSnappyBlock(dst, src[:n], limit-(len(dst)-start)); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

// appendSnappyBlock uses the strict decoder: the fast one also takes an extension of
// s2, and what we accept every consumer must be able to read.
func appendSnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, badCompression(Snappy, "%v", err)
	}
	if n > snappyMaxRatio*len(src) {
		return nil, badCompression(Snappy, "%d bytes claim to hold %d", len(src), n)
	}
	if n > limit {
		return nil, bomb(limit)
	}
	at := len(dst)
	dst = slices.Grow(dst, n)
	if _, err := snappy.DecodeStrict(dst[at:at+n:at+n], src); err != nil {
		return nil, badCompression(Snappy, "%v", err)
	}
	return dst[:at+n], nil
}

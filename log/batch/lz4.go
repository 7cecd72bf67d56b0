package batch

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// An lz4 frame: magic, descriptor (flags, block size, maybe the content size, a
// checksum byte), blocks behind their lengths, an end mark. It is read here rather
// than by a stream reader, so that blocks inflate straight into dst and the limit is
// exact.
const (
	lz4Magic = 0x184d2204

	lz4FlagVersion         = 1 << 6
	lz4FlagVersionMask     = 3 << 6
	lz4FlagIndependent     = 1 << 5
	lz4FlagBlockChecksum   = 1 << 4
	lz4FlagContentSize     = 1 << 3
	lz4FlagContentChecksum = 1 << 2
	lz4FlagDictID          = 1 << 0

	lz4MinFrameBytes = 7       // lz4MinFrameBytes is magic, flags, block size, checksum.
	lz4StoredBlock   = 1 << 31 // lz4StoredBlock marks a block that is not compressed.
	lz4LengthBytes   = 4
	lz4ChecksumBytes = 4
	lz4HistoryBytes  = 64 << 10 // lz4HistoryBytes is how far back a linked block looks.
	lz4MaxRatio      = 255      // lz4MaxRatio is the most that a block can grow.

	// lz4WriteBlockBytes is the block size that Java writes.
	lz4WriteBlockBytes = 64 << 10
	lz4WriteHeader     = "\x04\x22\x4d\x18\x60\x40\x82" // Independent blocks of 64 KiB.
)

// lz4Compressors keep a hash table of 128 KiB each, lz4HCCompressors tables of 512 KiB.
var (
	lz4Compressors   = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4HCCompressors = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

// lz4Levels are the depths of search of the HC mode, by level.
var lz4Levels = [...]lz4.CompressionLevel{
	lz4.Fast, lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7,
	lz4.Level8, lz4.Level9,
}

// lz4Compressor compresses one block.
type lz4Compressor interface {
	CompressBlock(src, dst []byte) (int, error)
}

func compressLz4(dst, src []byte, level Level) ([]byte, error) {
	if level <= 0 {
		c := lz4Compressors.Get().(*lz4.Compressor)
		defer lz4Compressors.Put(c)
		return compressLz4With(c, dst, src)
	}
	c := lz4HCCompressors.Get().(*lz4.CompressorHC)
	defer lz4HCCompressors.Put(c)
	c.Level = lz4Levels[min(int(level), len(lz4Levels)-1)]
	return compressLz4With(c, dst, src)
}

func compressLz4With(c lz4Compressor, dst, src []byte) ([]byte, error) {
	dst = append(dst, lz4WriteHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), lz4WriteBlockBytes)]
		src = src[len(block):]
		dst = slices.Grow(dst, lz4LengthBytes+lz4.CompressBlockBound(len(block)))
		at := len(dst) + lz4LengthBytes
		n, err := c.CompressBlock(block, dst[at:cap(dst)])
		if err != nil {
			return nil, badCompression(Lz4, "%v", err)
		}
		size := uint32(n)
		if n == 0 || n >= len(block) { // It would not shrink.
			n = copy(dst[at:cap(dst)], block)
			size = uint32(n) | lz4StoredBlock
		}
		binary.LittleEndian.PutUint32(dst[len(dst):at], size)
		dst = dst[:at+n]
	}
	return append(dst, 0, 0, 0, 0), nil
}

// lz4Frame is the descriptor of a frame and what is left to read of it.
type lz4Frame struct {
	flags       byte
	blockBytes  int // blockBytes is the most that one block inflates to.
	contentSize uint64
	rest        []byte
}

func decompressLz4(dst, src []byte, limit int) ([]byte, error) {
	f, err := parseLz4Frame(src)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	for {
		block, stored, err := f.block()
		if err != nil {
			return nil, err
		}
		if block == nil {
			break
		}
		if dst, err = f.inflate(dst, start, block, stored); err != nil {
			return nil, err
		}
		if len(dst)-start > limit {
			return nil, bomb(limit)
		}
	}
	return dst, f.finish(dst[start:])
}

// parseLz4Frame reads and checks the descriptor.
func parseLz4Frame(src []byte) (lz4Frame, error) {
	if len(src) < lz4MinFrameBytes {
		return lz4Frame{}, badCompression(Lz4, "%d bytes do not hold a frame", len(src))
	}
	if m := binary.LittleEndian.Uint32(src); m != lz4Magic {
		return lz4Frame{}, badCompression(Lz4, "the magic is %08x, not %08x", m, lz4Magic)
	}
	f := lz4Frame{flags: src[4]}
	if f.flags&lz4FlagVersionMask != lz4FlagVersion || f.flags&2 != 0 {
		return lz4Frame{}, badCompression(Lz4, "flags are %02x, a version never seen", f.flags)
	}
	if f.flags&lz4FlagDictID != 0 {
		return lz4Frame{}, badCompression(Lz4, "it needs a dictionary")
	}
	size := src[5] >> 4
	if size < 4 || size > 7 || src[5]&0x0f != 0 {
		return lz4Frame{}, badCompression(Lz4, "block size code is %02x", src[5])
	}
	f.blockBytes = 1 << (8 + 2*size) // 4 is 64 KiB, 7 is 4 MiB.
	end := 6
	if f.flags&lz4FlagContentSize != 0 {
		if end += 8; len(src) <= end {
			return lz4Frame{}, badCompression(Lz4, "%d bytes do not hold a frame", len(src))
		}
		f.contentSize = binary.LittleEndian.Uint64(src[6:])
	}
	if sum := byte(xxh32(src[4:end]) >> 8); sum != src[end] {
		return lz4Frame{}, badCompression(Lz4, "the descriptor's checksum is %02x, not %02x",
			src[end], sum)
	}
	f.rest = src[end+1:]
	return f, nil
}

// block takes the next block off, or nil at the end mark.
func (f *lz4Frame) block() (p []byte, stored bool, err error) {
	if len(f.rest) < lz4LengthBytes {
		return nil, false, badCompression(Lz4, "there is no end mark")
	}
	v := binary.LittleEndian.Uint32(f.rest)
	f.rest = f.rest[lz4LengthBytes:]
	if v == 0 {
		return nil, false, nil
	}
	stored, n := v&lz4StoredBlock != 0, int(v&^lz4StoredBlock)
	if n == 0 || n > f.blockBytes || n > len(f.rest) {
		return nil, false, badCompression(Lz4, "block of %d bytes, %d are left", n, len(f.rest))
	}
	p, f.rest = f.rest[:n], f.rest[n:]
	if f.flags&lz4FlagBlockChecksum != 0 {
		if err := f.checksum(p, "a block"); err != nil {
			return nil, false, err
		}
	}
	return p, stored, nil
}

// inflate appends what a block holds. The frame's content starts at dst[start].
func (f *lz4Frame) inflate(dst []byte, start int, block []byte, stored bool) ([]byte, error) {
	if stored {
		return append(dst, block...), nil
	}
	at := len(dst)
	most := min(f.blockBytes, lz4MaxRatio*len(block))
	dst = slices.Grow(dst, most)
	var history []byte
	if f.flags&lz4FlagIndependent == 0 {
		history = dst[max(start, at-lz4HistoryBytes):at]
	}
	n, err := lz4.UncompressBlockWithDict(block, dst[at:at+most], history)
	if err != nil {
		return nil, badCompression(Lz4, "%v", err)
	}
	return dst[:at+n], nil
}

// finish checks what comes behind the end mark.
func (f *lz4Frame) finish(content []byte) error {
	if f.flags&lz4FlagContentSize != 0 && f.contentSize != uint64(len(content)) {
		return badCompression(Lz4, "it holds %d bytes, not %d", len(content), f.contentSize)
	}
	if f.flags&lz4FlagContentChecksum != 0 {
		if err := f.checksum(content, "the content"); err != nil {
			return err
		}
	}
	if len(f.rest) != 0 {
		return badCompression(Lz4, "%d bytes follow the frame", len(f.rest))
	}
	return nil
}

// checksum takes a checksum off and compares it with that of p.
func (f *lz4Frame) checksum(p []byte, what string) error {
	if len(f.rest) < lz4ChecksumBytes {
		return badCompression(Lz4, "the checksum of %s is cut short", what)
	}
	want := binary.LittleEndian.Uint32(f.rest)
	f.rest = f.rest[lz4ChecksumBytes:]
	if got := xxh32(p); got != want {
		return badCompression(Lz4, "the checksum of %s is %08x, not %08x", what, got, want)
	}
	return nil
}

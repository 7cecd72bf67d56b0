package batch

import (
	"errors"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindowBytes is the window we write with, small because every consumer
	// sets that much memory aside.
	zstdWindowBytes = 1 << 20
	// zstdMaxWindowBytes is the largest window we read: level 22 of the reference
	// encoder. It costs nothing here, since dst is the window.
	zstdMaxWindowBytes = 128 << 20
	// zstdBlockBytes is the most that one block inflates to.
	zstdBlockBytes = 128 << 10
	// zstdSlackBytes is room that lets the decoder copy in whole words.
	zstdSlackBytes = 16
)

// zstdEncoders are kept by the encoder's own level, of which there are four.
var zstdEncoders [zstd.SpeedBestCompression + 1]sync.Pool

func newZstdEncoder(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(zstdWindowBytes), zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(level))
}

// The options are constant and valid, so the constructor cannot fail; a nil decoder
// from the pool is turned into an error all the same.
var (
	zstdDecoders = sync.Pool{New: func() any {
		d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(zstdMaxWindowBytes))
		return d
	}}
)

func compressZstd(dst, src []byte, level Level) ([]byte, error) {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(int(level))
	}
	pool := &zstdEncoders[speed]
	e, _ := pool.Get().(*zstd.Encoder)
	if e == nil {
		var err error
		if e, err = newZstdEncoder(speed); err != nil {
			return nil, badCompression(Zstd, "%v", err)
		}
	}
	defer pool.Put(e)
	return e.EncodeAll(src, dst), nil
}

// decompressZstd sets aside what the blocks of src can hold, and not what its header
// says, so one call to the decoder with a fixed capacity is enough.
func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	most, err := zstdBound(src)
	if err != nil {
		return nil, err
	}
	d, _ := zstdDecoders.Get().(*zstd.Decoder)
	if d == nil {
		return nil, badCompression(Zstd, "there is no decoder")
	}
	defer zstdDecoders.Put(d)
	start := len(dst)
	n := int(min(most, uint64(limit))) + zstdSlackBytes
	dst = slices.Grow(dst, n)
	out, err := d.DecodeAll(src, dst[:start:start+n])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) && most > uint64(limit) {
		return nil, bomb(limit)
	}
	if err != nil {
		return nil, badCompression(Zstd, "%v", err)
	}
	if len(out)-start > limit {
		return nil, bomb(limit)
	}
	return out, nil
}

// The types of a zstd block. Type 3 is reserved.
const (
	zstdRaw = iota
	zstdRLE
	zstdCompressed
	zstdBlockHeaderBytes = 3
	zstdChecksumBytes    = 4
)

// zstdBound returns the most that the frames of src can inflate to, by their block
// headers alone: a raw or run-length block says its size, and pays for it or is one
// honest run; a compressed block holds at most 128 KiB.
func zstdBound(src []byte) (uint64, error) {
	if len(src) == 0 {
		return 0, badCompression(Zstd, "there are no bytes")
	}
	var total uint64
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return 0, badCompression(Zstd, "%v", err)
		}
		if h.Skippable {
			if n := uint64(h.HeaderSize) + uint64(h.SkippableSize); n <= uint64(len(src)) {
				src = src[n:]
				continue
			}
			return 0, badCompression(Zstd, "a skippable frame is cut short")
		}
		most, n, err := zstdBlocksBound(src[h.HeaderSize:])
		if err != nil {
			return 0, err
		}
		if h.HasFCS {
			most = min(most, h.FrameContentSize)
		}
		total += most
		src = src[h.HeaderSize+n:]
		if h.HasCheckSum {
			if len(src) < zstdChecksumBytes {
				return 0, badCompression(Zstd, "the checksum is cut short")
			}
			src = src[zstdChecksumBytes:]
		}
	}
	return total, nil
}

// zstdBlocksBound returns the bound for the blocks of one frame and their bytes.
func zstdBlocksBound(src []byte) (most uint64, n int, err error) {
	for {
		if len(src)-n < zstdBlockHeaderBytes {
			return 0, 0, badCompression(Zstd, "a block header is cut short")
		}
		h := int(src[n]) | int(src[n+1])<<8 | int(src[n+2])<<16
		last, kind, size := h&1, h>>1&3, h>>3
		n += zstdBlockHeaderBytes
		held := size
		switch kind {
		case zstdRaw:
			most += uint64(size)
		case zstdRLE:
			most += uint64(size)
			held = 1
		case zstdCompressed:
			most += zstdBlockBytes
		default:
			return 0, 0, badCompression(Zstd, "block type %d is reserved", kind)
		}
		if held > len(src)-n {
			return 0, 0, badCompression(Zstd, "block of %d bytes, %d are left", held, len(src)-n)
		}
		n += held
		if last == 1 {
			return most, n, nil
		}
	}
}

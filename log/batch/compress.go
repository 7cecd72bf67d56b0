package batch

import (
	"fmt"
)

// Level is how hard a codec works, in the codec's own numbers: gzip 1 to 9, lz4 from 1
// (as its HC mode counts), zstd up to 22. The zero Level is the codec's default; what a
// codec does not have is taken for the nearest that it has. Snappy has none.
type Level int

// Compress appends src, compressed by c, to dst. It writes what every Kafka client
// reads: gzip, snappy in xerial framing, lz4 frames, zstd frames. The error is an
// ErrInvalid for an unknown codec.
func Compress(dst []byte, c Codec, src []byte) ([]byte, error) {
	return CompressLevel(dst, c, 0, src)
}

// CompressLevel is Compress at a level.
func CompressLevel(dst []byte, c Codec, level Level, src []byte) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, src, level)
	case Snappy:
		return compressSnappy(dst, src), nil
	case Lz4:
		return compressLz4(dst, src, level)
	case Zstd:
		return compressZstd(dst, src, level)
	default:
		return nil, invalid("codec is %d; the known ones are 0 to %d", c, Zstd)
	}
}

// Decompress appends what src inflates to, by codec c, to dst: at most limit bytes,
// else it is an ErrBomb. Memory grows with what is really there, not by what src
// claims to hold, so a few bytes cannot make it allocate the limit.
//
// Errors: ErrBomb, ErrBadCompression, ErrInvalid for an unknown codec.
func Decompress(dst []byte, c Codec, src []byte, limit int) ([]byte, error) {
	limit = min(max(limit, 0), MaxBatchBytes)
	switch c {
	case None:
		if len(src) > limit {
			return nil, bomb(limit)
		}
		return append(dst, src...), nil
	case Gzip:
		return decompressGzip(dst, src, limit)
	case Snappy:
		return decompressSnappy(dst, src, limit)
	case Lz4:
		return decompressLz4(dst, src, limit)
	case Zstd:
		return decompressZstd(dst, src, limit)
	default:
		return nil, invalid("codec is %d; the known ones are 0 to %d", c, Zstd)
	}
}

// Recompress returns b with its records under another codec, as a topic's
// compression.type asks for: the same records, producer, sequences, offsets and
// timestamps. b itself stays as it is, and is returned when it has that codec already.
// limit bounds the inflated bytes.
//
// Errors: ErrBomb, ErrBadCompression, ErrTooLarge, ErrInvalid for an unknown codec.
func Recompress(b Batch, c Codec, limit int) (Batch, error) {
	return RecompressLevel(b, c, 0, limit)
}

// RecompressLevel is Recompress at a level.
func RecompressLevel(b Batch, c Codec, level Level, limit int) (Batch, error) {
	if b.Codec() == c {
		return b, nil
	}
	records := b.Records()
	if b.Codec() != None {
		buf := getBuffer()
		defer putBuffer(buf)
		var err error
		if *buf, err = Decompress((*buf)[:0], b.Codec(), records, limit); err != nil {
			*buf = nil
			return nil, err
		}
		records = *buf
	}
	dst := make([]byte, HeaderBytes, HeaderBytes+len(records))
	copy(dst, b[:HeaderBytes])
	dst, err := CompressLevel(dst, c, level, records)
	if err != nil {
		return nil, err
	}
	if len(dst) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: %d bytes as %s", ErrTooLarge, len(dst), c)
	}
	out := Batch(dst)
	out.putLength(len(out))
	out.SetAttributes(out.Attributes()&^attrCodecMask | int16(c))
	out.SealCRC()
	return out, nil
}

// bomb is the refusal of what inflates beyond limit bytes.
func bomb(limit int) error { return fmt.Errorf("%w of %d bytes", ErrBomb, limit) }

// badCompression wraps what a codec complains about.
func badCompression(c Codec, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrBadCompression, c, fmt.Sprintf(format, args...))
}

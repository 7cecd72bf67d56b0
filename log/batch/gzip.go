package batch

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipWriters and gzipReaders keep the codecs' state, 800 KiB and 40 KiB each. Writers
// are kept by level.
var (
	gzipWriters [gzip.BestCompression + 1]sync.Pool
	gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}
)

// appendWriter collects what a codec writes.
type appendWriter struct{ p []byte }

// Write appends p and cannot fail.
func (w *appendWriter) Write(p []byte) (int, error) {
	w.p = append(w.p, p...)
	return len(p), nil
}

func compressGzip(dst, src []byte, level Level) ([]byte, error) {
	w := appendWriter{dst}
	level = min(max(level, 0), gzip.BestCompression)
	pool := &gzipWriters[level]
	zw, _ := pool.Get().(*gzip.Writer)
	if zw == nil {
		if level == 0 {
			level = gzip.DefaultCompression
		}
		var err error
		if zw, err = gzip.NewWriterLevel(nil, int(level)); err != nil {
			return nil, badCompression(Gzip, "%v", err)
		}
	}
	defer pool.Put(zw)
	zw.Reset(&w)
	if _, err := zw.Write(src); err != nil {
		return nil, badCompression(Gzip, "%v", err)
	}
	if err := zw.Close(); err != nil {
		return nil, badCompression(Gzip, "%v", err)
	}
	return w.p, nil
}

// gzipReader pairs a decoder with its source, so that both are pooled.
type gzipReader struct {
	src bytes.Reader
	z   gzip.Reader
}

// member opens the next member of the source. Members are opened one by one, because
// the decoder, left to itself, takes one that is cut inside its header for the end.
func (r *gzipReader) member() error {
	err := r.z.Reset(&r.src)
	r.z.Multistream(false)
	return err
}

// gzipFirstRatio is how much larger than the input the first buffer is: enough for
// most records, and a bomb's buffer only grows as it inflates.
const gzipFirstRatio = 4

func decompressGzip(dst, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer func() {
		r.src.Reset(nil) // The pool must not keep the caller's bytes alive.
		gzipReaders.Put(r)
	}()
	r.src.Reset(src)
	if err := r.member(); err != nil {
		return nil, badCompression(Gzip, "%v", err)
	}
	start := len(dst)
	dst = slices.Grow(dst, min(limit, gzipFirstRatio*len(src))+1)
	for {
		// One byte past the limit tells a bomb from records that fill it.
		end := min(cap(dst), start+limit+1)
		n, err := r.z.Read(dst[len(dst):end])
		dst = dst[:len(dst)+n]
		if len(dst)-start > limit {
			return nil, bomb(limit)
		}
		if errors.Is(err, io.EOF) {
			if r.src.Len() == 0 {
				return dst, nil
			}
			err = r.member()
		}
		if err != nil {
			return nil, badCompression(Gzip, "%v", err)
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(max(len(dst)-start, 512), limit+1))
		}
	}
}

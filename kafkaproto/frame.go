package kafkaproto

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
)

const (
	// produceKey is the one API whose frames may be large.
	produceKey = 0
	// OtherRequestBytesMax bounds a frame of every API but Produce.
	OtherRequestBytesMax = 1 << 20
	// lengthBytes is the size field before each frame.
	lengthBytes = 4
	// readBufferBytes holds most small requests whole, so that they cost one system call.
	readBufferBytes = 4 << 10
	// grantBytesMin is how far a buffer may run ahead of what has arrived on a new connection. It
	// earns more by sending frames.
	grantBytesMin = 16 << 10
)

// errFrame means that the bytes are no frame this server would read. The connection is closed.
var errFrame = errors.New("not an acceptable frame")

// errIdle means that nothing came in the time that is allowed.
var errIdle = errors.New("nothing was sent in time")

// frameReader cuts frames from a connection. It belongs to the connection's reader goroutine.
type frameReader struct {
	in       *bufio.Reader
	deadline func(time.Duration) // moves the read deadline
	limits   frameLimits
	budget   *budget
	share    *share // of the connection in the budget
	// watch notices a peer that goes while nothing is read from it; what it returns ends that.
	watch   func() (stop func())
	buffers *bufferPool
	// grant is how large a buffer may be before its bytes have arrived: the largest frame that
	// came whole on this connection. A peer that only claims a size gets no memory for it.
	grant int
}

// frameLimits are the largest frames.
type frameLimits struct{ produceBytes, otherBytes int }

// frame is one request as it came, without its length.
type frame struct {
	bytes  []byte
	charge charge
}

// newFrameReader reads from a connection.
func newFrameReader(c *conn) *frameReader {
	nc, s := c.nc, c.s
	return &frameReader{
		in: bufio.NewReaderSize(nc, readBufferBytes),
		deadline: func(d time.Duration) {
			// It fails only on a closed connection, which the next read reports.
			_ = nc.SetReadDeadline(s.o.Clock.Now().Add(d))
			if s.stopping() {
				// Drain has set a deadline in the past, which this one has replaced.
				_ = nc.SetReadDeadline(longAgo)
			}
		},
		limits:  frameLimits{s.o.MaxRequestBytes, OtherRequestBytesMax},
		budget:  s.budget,
		share:   newShare(),
		watch:   c.watchPeer,
		buffers: &s.buffers,
		grant:   grantBytesMin,
	}
}

// awaitByte waits for the first byte of a frame. errIdle leaves the connection usable, io.EOF is a
// peer that closed it.
func (r *frameReader) awaitByte(d time.Duration) error {
	if r.in.Buffered() > 0 {
		return nil
	}
	r.deadline(d)
	_, err := r.in.Peek(1)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return errIdle
	}
	return err
}

// read reads one frame whose first byte is there. It waits for memory first: what is not read yet
// costs the peer's memory, not ours.
func (r *frameReader) read(ctx context.Context) (frame, error) {
	need := lengthBytes + api.HeaderBytesMin
	if r.in.Buffered() < need {
		r.deadline(frameTimeout)
	}
	// The length is judged before the header is waited for, so that a stray "GET /" is refused
	// though it is shorter than the frame that its first bytes would announce.
	head, err := r.in.Peek(lengthBytes)
	if err != nil {
		return frame{}, cut(err, "frame length")
	}
	n := int(int32(binary.BigEndian.Uint32(head)))
	if n < api.HeaderBytesMin || n > max(r.limits.produceBytes, r.limits.otherBytes) {
		return frame{}, fmt.Errorf("%w: length %d (%s); a request has %d to %d bytes", errFrame,
			n, looksLike(head), api.HeaderBytesMin, r.limits.produceBytes)
	}
	if head, err = r.in.Peek(need); err != nil {
		return frame{}, cut(err, "request header")
	}
	key := int16(binary.BigEndian.Uint16(head[lengthBytes:]))
	if limit := r.limits.of(key); n > limit {
		return frame{}, fmt.Errorf("%w: length %d for API key %d, the limit is %d", errFrame,
			n, key, limit)
	}
	// Peeked bytes are buffered, so discarding them cannot fail.
	_, _ = r.in.Discard(lengthBytes)
	c := r.budget.claim(r.share, key, n, r.grant)
	if err := r.wait(ctx, &c); err != nil {
		return frame{}, err
	}
	body, err := r.readBody(n)
	if err != nil {
		c.release()
		return frame{}, err
	}
	c.shrink(c.bytes - c.growing)
	r.grant = max(r.grant, n)
	return frame{bytes: body, charge: c}, nil
}

// wait takes the memory that a frame needs, as soon as it is there.
func (r *frameReader) wait(ctx context.Context, c *charge) error {
	if c.try() {
		return nil
	}
	defer r.watch()()
	return c.acquire(ctx)
}

// of returns the limit for one API.
func (l frameLimits) of(key int16) int {
	if key == produceKey {
		return l.produceBytes
	}
	return l.otherBytes
}

// readBody reads n bytes into a buffer that grows only as they arrive.
func (r *frameReader) readBody(n int) ([]byte, error) {
	if r.in.Buffered() < n {
		r.deadline(frameDeadline(n))
	}
	b := r.buffers.get(min(n, r.grant))
	for len(b) < n {
		if len(b) == cap(b) {
			b = r.buffers.move(b, nextBuffer(len(b), n))
		}
		got, err := io.ReadFull(r.in, b[len(b):min(n, cap(b))])
		b = b[:len(b)+got]
		if err != nil {
			have := len(b)
			r.buffers.put(b)
			return nil, cut(err, fmt.Sprintf("byte %d of a frame of %d", have, n))
		}
	}
	return b, nil
}

// nextBuffer is the room that a frame of n bytes gets when have bytes have filled its buffer.
func nextBuffer(have, n int) int { return min(n, 2*have) }

// growingBytes is what the largest buffer takes that a frame of n bytes outgrows, beside the last
// one, while it arrives; 0 if it is read into one buffer.
func growingBytes(n, grant int) (outgrown int) {
	for size := bufferBytes(min(n, grant)); size < n; size = bufferBytes(nextBuffer(size, n)) {
		outgrown = size
	}
	return outgrown
}

// free gives a frame's buffer back. Nothing may use its bytes afterwards.
func (r *frameReader) free(b []byte) { r.buffers.put(b) }

// cut says where a frame ended too early.
func cut(err error, where string) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: stopped at %s: %w", errFrame, where, err)
}

// looksLike guesses what a peer speaks whose first bytes are no frame length.
func looksLike(head []byte) string {
	switch {
	case string(head) == "GET " || string(head) == "POST" || string(head) == "HEAD":
		return "an HTTP request"
	case head[0] == 0x16 && head[1] == 3:
		return "a TLS hello; this listener is plaintext"
	default:
		return "not Kafka"
	}
}

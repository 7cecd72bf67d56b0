package kafkaproto

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
)

// readerOf cuts frames from a stream.
func readerOf(in io.Reader) *frameReader {
	return &frameReader{
		in:       bufio.NewReaderSize(in, readBufferBytes),
		deadline: func(time.Duration) {},
		limits:   frameLimits{produceBytes: 8 << 20, otherBytes: OtherRequestBytesMax},
		budget:   newBudget(1 << 30),
		share:    newShare(),
		watch:    func() func() { return func() {} },
		buffers:  new(bufferPool),
		grant:    grantBytesMin,
	}
}

// frameWith makes a frame of one API with so many bytes after its header.
func frameWith(key int16, size int) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(api.HeaderBytesMin+size))
	out = binary.BigEndian.AppendUint16(out, uint16(key))
	out = append(out, 0, 9, 0, 0, 0, 1)
	for i := range size {
		out = append(out, byte(i*7))
	}
	return out
}

// pieces reads as a network does: some bytes at a time.
type pieces struct {
	in  io.Reader
	rng *rand.Rand
}

func (p pieces) Read(b []byte) (int, error) {
	return p.in.Read(b[:min(len(b), 1+p.rng.IntN(1+p.rng.IntN(9000)))])
}

// TestFramesComeWhole reads frames of all sizes, back to back, in pieces of all sizes.
func TestFramesComeWhole(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 3))
	var stream []byte
	var want [][]byte
	for _, size := range []int{0, 1, 100, 4000, 4096, 20_000, 5, 300_000, 1 << 20, 7 << 20, 0, 3 << 20, 10} {
		f := frameWith(produceKey, size)
		stream, want = append(stream, f...), append(want, f[4:])
	}
	r := readerOf(pieces{bytes.NewReader(stream), rng})
	for i, w := range want {
		if err := r.awaitByte(time.Second); err != nil {
			t.Fatalf("seed %d: frame %d: %v", seed, i, err)
		}
		f, err := r.read(t.Context())
		if err != nil || !bytes.Equal(f.bytes, w) {
			t.Fatalf("seed %d: frame %d of %d bytes comes as %d bytes, %v", seed, i, len(w), len(f.bytes), err)
		}
		f.charge.release()
		f.charge.release() // again is harmless
		r.free(f.bytes)
	}
	if err := r.awaitByte(time.Second); !errors.Is(err, io.EOF) {
		t.Errorf("seed %d: after the last frame: %v", seed, err)
	}
	if n := r.budget.inFlight.Load(); n != 0 {
		t.Errorf("seed %d: %d bytes are still charged", seed, n)
	}
}

// TestClaimsGetNoMemory: a length allocates nothing until its bytes come, and not at once even to a
// peer that has sent small frames.
func TestClaimsGetNoMemory(t *testing.T) {
	stream := frameWith(produceKey, 1000)
	claim := binary.BigEndian.AppendUint32(nil, 8<<20)
	stream = append(append(stream, claim...), 0, 0, 0, 9, 0, 0, 0, 1)
	r := readerOf(bytes.NewReader(stream))
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := r.read(t.Context())
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errFrame) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame that is not there: %v", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 4*grantBytesMin {
		t.Errorf("a claim of 8 MiB allocated %d bytes", got)
	}
	if n := r.budget.inFlight.Load(); n != int64(bufferBytes(1008))+api.MemoryOf(produceKey, 1008) {
		t.Errorf("%d bytes are charged, one small frame is in work", n)
	}
}

// TestGrantIsEarned: who sends large frames gets a buffer of that size at once.
func TestGrantIsEarned(t *testing.T) {
	r := readerOf(bytes.NewReader(bytes.Repeat(frameWith(produceKey, 1<<20), 2)))
	for range 2 {
		f, err := r.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.free(f.bytes)
	}
	if r.grant != 1<<20+api.HeaderBytesMin {
		t.Errorf("grant is %d", r.grant)
	}
}

// TestLargeFramesShareABuffer: requests for many partitions are large, and fresh memory for each
// would be cleared before it is read into.
func TestLargeFramesShareABuffer(t *testing.T) {
	const frames, size = 20, 7 << 20
	r := readerOf(bytes.NewReader(bytes.Repeat(frameWith(produceKey, size), frames)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range frames {
		f, err := r.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.charge.release()
		r.free(f.bytes)
	}
	runtime.ReadMemStats(&after)
	// The first one grows its buffer; the race detector makes the pool forget one in four.
	if got := after.TotalAlloc - before.TotalAlloc; got > frames*size*6/10 {
		t.Errorf("%d frames of 7 MiB allocated %d MiB", frames, got>>20)
	}
}

// TestBudgetWaits: a frame is not read before there is memory for it, nor for ever after its peer.
func TestBudgetWaits(t *testing.T) {
	r := readerOf(bytes.NewReader(frameWith(3, 1000)))
	if err := r.budget.small.all.Acquire(t.Context(), r.budget.small.bytes); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without memory: %v", err)
	}
}

func TestBuffers(t *testing.T) {
	var p bufferPool
	for _, n := range []int{0, 1, 4096, 4097, 1 << 20, 1<<20 + 100, 5 << 20} {
		b := p.get(n)
		if len(b) != 0 || cap(b) < n || cap(b) > max(8*n, bufferClasses[0]) {
			t.Errorf("asked for %d: len %d, cap %d", n, len(b), cap(b))
		}
		b = append(b, "content"...)
		b = p.grow(b, 100_000)
		if string(b) != "content" || cap(b)-len(b) < 100_000 {
			t.Errorf("grown to %q, cap %d", b, cap(b))
		}
		b = p.shrink(b)
		if string(b) != "content" || cap(b) != bufferClasses[0] {
			t.Errorf("shrunk to %q, cap %d", b, cap(b))
		}
		b = p.clip(append(p.grow(b, 100_000), make([]byte, 70_000)...))
		if !bytes.HasPrefix(b, []byte("content")) || len(b) != 70_007 || cap(b) != len(b) {
			t.Errorf("clipped to %d bytes, cap %d", len(b), cap(b))
		}
		p.put(b)
	}
}

// FuzzFrames cuts any stream in any pieces: what comes is what was sent, within the limits.
func FuzzFrames(f *testing.F) {
	f.Add(frameWith(3, 10), uint64(1))
	f.Add(append(frameWith(0, 5000), frameWith(18, 3)...), uint64(2))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint64(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, uint64(4))
	f.Add([]byte{0, 0x7f, 0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3}, uint64(5))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		r := readerOf(pieces{bytes.NewReader(stream), rand.New(rand.NewPCG(seed, 4))})
		rest := stream
		for {
			got, err := r.read(t.Context())
			if err != nil {
				if !errors.Is(err, errFrame) {
					t.Fatalf("an error of another kind: %v", err)
				}
				break
			}
			n := int(int32(binary.BigEndian.Uint32(rest)))
			if n != len(got.bytes) || !bytes.Equal(got.bytes, rest[4:4+n]) {
				t.Fatalf("%d bytes come of a frame of %d", len(got.bytes), n)
			}
			if n > r.limits.of(int16(binary.BigEndian.Uint16(got.bytes))) {
				t.Fatalf("a frame of %d bytes is too large", n)
			}
			rest = rest[4+n:]
			got.charge.release()
			r.free(got.bytes)
		}
		if n := r.budget.inFlight.Load(); n != 0 {
			t.Fatalf("%d bytes are still charged", n)
		}
	})
}

package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = []Codec{Gzip, Snappy, Lz4, Zstd}

// samples are contents around every block size, of every kind of compressibility.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(3, 4))
	out := map[string][]byte{"nothing": {}}
	const block = 32 << 10
	for _, n := range []int{1, 61, block - 1, block, block + 1, 2 * block, 2*block + 1, 300_000} {
		noise := make([]byte, n)
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		out[fmt.Sprintf("noise %d", n)] = noise
		out[fmt.Sprintf("zeros %d", n)] = make([]byte, n)
		out[fmt.Sprintf("text %d", n)] = []byte(strings.Repeat("the quick brown fox ", n/20+1)[:n])
	}
	return out
}

func TestCodecsRoundTrip(t *testing.T) {
	for name, want := range samples() {
		for _, c := range append(codecs, None) {
			packed, err := Compress([]byte("ab"), c, want)
			if err != nil || string(packed[:2]) != "ab" {
				t.Fatalf("%s %s: %v", c, name, err)
			}
			if len(want) == 0 && c == Zstd {
				continue // Nothing compresses to nothing, which is no frame; no batch is empty.
			}
			got, err := Decompress([]byte("xy"), c, packed[2:], len(want))
			if err != nil || string(got[:2]) != "xy" || !bytes.Equal(got[2:], want) {
				t.Errorf("%s %s: %v, %d bytes of %d", c, name, err, len(got)-2, len(want))
			}
			if len(want) == 0 {
				continue
			}
			if _, err := Decompress(nil, c, packed[2:], len(want)-1); !errors.Is(err, ErrBomb) {
				t.Errorf("%s %s with a limit one too small: %v", c, name, err)
			}
		}
	}
}

// TestLevels compresses with every level, and with numbers that no codec has: what comes out can be
// read, and a high level takes less room than a low one.
func TestLevels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var src []byte
	for len(src) < 300_000 {
		src = fmt.Appendf(src, "user-%d clicked on item-%d at %d; ", rng.IntN(500), rng.IntN(5000), len(src))
	}
	for _, c := range []struct {
		codec     Codec
		low, high Level
	}{{Gzip, 1, 9}, {Lz4, 1, 17}, {Zstd, -131072, 22}} {
		size := map[Level]int{}
		for _, level := range []Level{-131072, -1, 0, 1, 2, 3, 6, 9, 10, 17, 22, 1 << 40} {
			packed, err := CompressLevel(nil, c.codec, level, src)
			if err != nil {
				t.Fatalf("%s at level %d: %v", c.codec, level, err)
			}
			got, err := Decompress(nil, c.codec, packed, len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%s at level %d: %v, %d bytes of %d", c.codec, level, err, len(got), len(src))
			}
			size[level] = len(packed)
		}
		if size[c.high] >= size[c.low] {
			t.Errorf("%s: level %d gives %d bytes, level %d %d", c.codec, c.low, size[c.low], c.high, size[c.high])
		}
		plain, err := Compress(nil, c.codec, src)
		if err != nil || len(plain) != size[0] {
			t.Errorf("%s: no level gives %d bytes, level 0 %d", c.codec, len(plain), size[0])
		}
	}
}

// TestCodecsAgreeWithFranzGo exchanges compressed bytes with the client, both ways.
func TestCodecsAgreeWithFranzGo(t *testing.T) {
	theirs := map[Codec]kgo.CompressionCodec{
		Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(),
		Lz4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	}
	inflate := kgo.DefaultDecompressor()
	for name, want := range samples() {
		if len(want) == 0 {
			continue
		}
		for _, c := range codecs {
			packed, err := Compress(nil, c, want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := inflate.Decompress(packed, kgo.CompressionCodecType(c))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("franz-go reads our %s of %s: %v", c, name, err)
			}
			deflate, err := kgo.DefaultCompressor(theirs[c])
			if err != nil {
				t.Fatal(err)
			}
			packed, used := deflate.Compress(new(bytes.Buffer), want)
			if used != kgo.CompressionCodecType(c) {
				t.Fatalf("franz-go used codec %d for %s", used, c)
			}
			got, err = Decompress(nil, c, packed, len(want))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("we read franz-go's %s of %s: %v", c, name, err)
			}
		}
	}
}

func TestLz4FramesOfOtherWriters(t *testing.T) {
	want := samples()["text 300000"]
	sizes := []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb}
	for _, size := range sizes {
		for flags := range 8 {
			var buf bytes.Buffer
			w := lz4.NewWriter(&buf)
			options := []lz4.Option{
				lz4.BlockSizeOption(size), lz4.BlockChecksumOption(flags&1 != 0),
				lz4.ChecksumOption(flags&2 != 0),
			}
			if flags&4 != 0 {
				options = append(options, lz4.SizeOption(uint64(len(want))))
			}
			if err := w.Apply(options...); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(want); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			frame := buf.Bytes()
			got, err := Decompress(nil, Lz4, frame, len(want))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("block size %v, flags %d: %v", size, flags, err)
			}
			// Every checksum must be looked at: the last byte is part of one.
			if flags&2 == 0 {
				continue
			}
			frame[len(frame)-1] ^= 1
			_, err = Decompress(nil, Lz4, frame, len(want))
			if !errors.Is(err, ErrBadCompression) {
				t.Errorf("block size %v, flags %d, a wrong checksum: %v", size, flags, err)
			}
		}
	}
}

// TestLz4LinkedBlocks reads a frame whose second block copies from the first, as
// kafka-python writes.
func TestLz4LinkedBlocks(t *testing.T) {
	descriptor := []byte{0x40, 0x40}
	frame := []byte("\x04\x22\x4d\x18")
	frame = append(frame, descriptor...)
	frame = append(frame, byte(xxh32(descriptor)>>8))
	block := func(p ...byte) {
		frame = binary.LittleEndian.AppendUint32(frame, uint32(len(p)))
		frame = append(frame, p...)
	}
	block(append([]byte{0x80}, "abcdefgh"...)...) // 8 literals.
	block(0x04, 8, 0, 0x50, 'v', 'w', 'x', 'y', 'z')
	frame = append(frame, 0, 0, 0, 0)
	want := "abcdefghabcdefghvwxyz"
	if got, err := Decompress(nil, Lz4, frame, 100); err != nil || string(got) != want {
		t.Errorf("linked: %q, %v", got, err)
	}
	got, err := io.ReadAll(lz4.NewReader(bytes.NewReader(frame)))
	if err != nil || string(got) != want {
		t.Errorf("the library reads %q, %v: the test's frame is wrong", got, err)
	}
	frame[4] |= lz4FlagIndependent
	frame[6] = byte(xxh32(frame[4:6]) >> 8)
	if _, err := Decompress(nil, Lz4, frame, 100); !errors.Is(err, ErrBadCompression) {
		t.Errorf("independent blocks that copy from before: %v", err)
	}
}

func TestXXH32(t *testing.T) {
	for in, want := range map[string]uint32{
		"":    0x02cc5d05,
		"a":   0x550d7456,
		"abc": 0x32d153ff,
		"Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		if got := xxh32([]byte(in)); got != want {
			t.Errorf("xxh32(%q) = %08x, want %08x", in, got, want)
		}
	}
	if sum := byte(xxh32([]byte(lz4WriteHeader[4:6])) >> 8); sum != lz4WriteHeader[6] {
		t.Errorf("the constant descriptor's checksum is %02x", sum)
	}
}

// TestSnappyIsStrict refuses what only s2 reads: consumers could not.
func TestSnappyIsStrict(t *testing.T) {
	repeat := []byte{12, 3 << 2, 'a', 'b', 'c', 'd', 0x01 | 0<<2, 4, 0x01 | 0<<2, 0}
	if _, err := Decompress(nil, Snappy, repeat, 100); !errors.Is(err, ErrBadCompression) {
		t.Errorf("a copy with offset 0: %v", err)
	}
}

func TestZstdFrames(t *testing.T) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	one := e.EncodeAll([]byte("hello "), nil)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "xyz"...)
	var streamed bytes.Buffer
	w, err := zstd.NewWriter(&streamed, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	long := samples()["noise 300000"]
	for p := long; len(p) > 0; p = p[min(len(p), 1000):] { // No content size, many blocks.
		if _, err := w.Write(p[:min(len(p), 1000)]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ in, want []byte }{
		"two frames":      {append(bytes.Clone(one), one...), []byte("hello hello ")},
		"skippable first": {append(bytes.Clone(skippable), one...), []byte("hello ")},
		"streamed":        {streamed.Bytes(), long},
	} {
		got, err := Decompress(nil, Zstd, c.in, len(c.want))
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Decompress(nil, Zstd, c.in, len(c.want)-1); !errors.Is(err, ErrBomb) {
			t.Errorf("%s with a limit one too small: %v", name, err)
		}
	}
}

func TestBrokenCompressionIsRefused(t *testing.T) {
	content := samples()["text 300000"]
	for _, c := range codecs {
		packed, err := Compress(nil, c, content)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{0, 1, 4, 7, 16, 20, len(packed) / 2, len(packed) - 1} {
			got, err := Decompress(nil, c, packed[:cut], 1<<20)
			whole := c == Snappy && cut == 16 // A xerial header without blocks is whole.
			if whole != (err == nil) || err != nil && !errors.Is(err, ErrBadCompression) {
				t.Errorf("%s cut to %d of %d: %v, %d bytes", c, cut, len(packed), err, len(got))
			}
		}
		behind := append(bytes.Clone(packed), 1, 2, 3)
		if _, err := Decompress(nil, c, behind, 1<<20); !errors.Is(err, ErrBadCompression) {
			t.Errorf("%s with bytes behind: %v", c, err)
		}
	}
	for _, c := range []Codec{5, 6, 7, -1} {
		if _, err := Decompress(nil, c, content, 1<<20); !errors.Is(err, ErrInvalid) {
			t.Errorf("decompress with codec %d: %v", c, err)
		}
		if _, err := Compress(nil, c, content); !errors.Is(err, ErrInvalid) {
			t.Errorf("compress with codec %d: %v", c, err)
		}
	}
}

// TestBombsStayCheap inflates 64 MiB of zeros, and claims of sizes that are not there,
// under a limit of 1 MiB: the memory set aside must stay near the limit, or near the
// input where that is smaller.
func TestBombsStayCheap(t *testing.T) {
	const (
		limit      = 1 << 20
		zstdMagic  = "\x28\xb5\x2f\xfd"
		size1EiB   = "\x00\x00\x00\x00\x00\x00\x00\x10"
		snappy1MiB = "\x80\x80\x40\x00x"
	)
	bombs := map[string]struct {
		c      Codec
		in     []byte
		budget uint64
	}{}
	zeros := make([]byte, 64<<20)
	for _, c := range codecs {
		in, err := Compress(nil, c, zeros)
		if err != nil {
			t.Fatal(err)
		}
		bombs["zeros in "+c.String()] = struct {
			c      Codec
			in     []byte
			budget uint64
		}{c, in, 8 * limit}
	}
	for name, b := range map[string]struct {
		c  Codec
		in []byte
	}{
		"snappy claims 4 GiB":   {Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'x'}},
		"snappy claims 1 MiB":   {Snappy, []byte(snappy1MiB)},
		"xerial claims 1 MiB":   {Snappy, []byte(xerialHeader + "\x00\x00\x00\x05" + snappy1MiB)},
		"xerial claims a block": {Snappy, []byte(xerialHeader + "\xff\xff\xff\xff")},
		"zstd claims 1 MiB":     {Zstd, []byte(zstdMagic + "\xa0\x00\x00\x10\x00\x09\x00\x00x")},
		"zstd claims 2^60":      {Zstd, []byte(zstdMagic + "\xe0" + size1EiB + "\x09\x00\x00x")},
	} {
		bombs[name] = struct {
			c      Codec
			in     []byte
			budget uint64
		}{b.c, b.in, 64 << 10}
	}
	for name, b := range bombs {
		_, _ = Decompress(nil, b.c, []byte("warm the pool up"), limit)
		got := allocated(func() {
			_, err := Decompress(nil, b.c, b.in, limit)
			if !errors.Is(err, ErrBomb) && !errors.Is(err, ErrBadCompression) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if got > b.budget {
			t.Errorf("%s: %d bytes allocated, more than %d", name, got, b.budget)
		}
	}
}

// allocated returns the bytes that f allocates, the least of a few runs, because other
// goroutines and the pools add noise.
func allocated(f func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func TestRecompress(t *testing.T) {
	in := makeKafka(twoRecords(), nil)
	in.SetBaseOffset(500)
	in.SetAttributes(AttrMark | attrLogAppendTime)
	in.SealCRC()
	want := bytes.Clone(in)
	for _, from := range append(codecs, None) {
		a, err := Recompress(in, from, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range append(codecs, None) {
			b, err := Recompress(a, to, 1<<10)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckStored(b); err != nil || b.Codec() != to {
				t.Errorf("%s to %s: %v, codec %s", from, to, err, b.Codec())
			}
			back, err := Recompress(b, None, 1<<10)
			if err != nil || !bytes.Equal(back, want) {
				t.Errorf("%s to %s and back: %v", from, to, err)
			}
		}
		if _, err := Recompress(a, (from+1)%5, 5); from != None && !errors.Is(err, ErrBomb) {
			t.Errorf("%s with limit 5: %v", from, err)
		}
	}
	if !bytes.Equal(in, want) {
		t.Error("Recompress changed its input")
	}
	if _, err := Recompress(in, 5, 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("codec 5: %v", err)
	}
}

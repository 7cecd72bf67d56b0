package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// makeBatch builds a batch of n records with values of size bytes that compress by
// about half, and headers headers each.
func makeBatch(tb testing.TB, c Codec, n, size, headers int) Batch {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	b := NewBuilder(BuilderOptions{Codec: c, BaseTimestamp: 1_767_225_600_000}.NoProducer())
	value := make([]byte, size)
	var hs []Header
	for i := range headers {
		hs = append(hs, Header{Key: fmt.Sprintf("trace-%d", i), Value: []byte("0123456789")})
	}
	for i := range n {
		for j := range value {
			value[j] = "abcdefghijklmnop"[rng.IntN(16)]
		}
		err := b.Append(RecordFields{
			TimestampMs: 1_767_225_600_000 + UnixMs(i/10),
			Key:         fmt.Appendf(nil, "key-%d", i),
			Value:       value,
			Headers:     hs,
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func perRecord(b *testing.B, n int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
}

func BenchmarkWalkControl(b *testing.B) {
	for _, c := range []Codec{None, Gzip, Snappy, Lz4, Zstd} {
		for _, size := range []int{10, 100, 1024, 10 << 10} {
			if c != None && size != 100 && size != 1024 {
				continue
			}
			for _, headers := range []int{0, 1, 3} {
				if headers > 0 && c != None {
					continue
				}
				b.Run(fmt.Sprintf("%s/value=%d/headers=%d", c, size, headers), func(b *testing.B) {
					n := max(1, min(10_000, 1_000_000/(size+20)))
					in := makeBatch(b, c, n, size, headers)
					b.SetBytes(int64(n * size))
					b.ReportAllocs()
					for b.Loop() {
						if _, err := WalkControl(in, 64<<20); err != nil {
							b.Fatal(err)
						}
					}
					perRecord(b, n)
				})
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("value=%d", size), func(b *testing.B) {
			n := 1_000_000 / (size + 20)
			in := makeBatch(b, None, n, size, 1)
			var r Reader
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Reset(in, 1<<20); err != nil {
					b.Fatal(err)
				}
				for {
					_, ok, err := r.Next()
					if err != nil {
						b.Fatal(err)
					}
					if !ok {
						break
					}
				}
			}
			perRecord(b, n)
		})
	}
}

func BenchmarkSpans(b *testing.B) {
	n := 1_000_000 / 120
	in := makeBatch(b, None, n, 100, 1)
	b.ReportAllocs()
	for b.Loop() {
		s := in.Spans()
		for {
			if _, ok := s.Next(); !ok {
				break
			}
		}
		if s.Err() != nil {
			b.Fatal(s.Err())
		}
	}
	perRecord(b, n)
}

// BenchmarkStage is what the scheduler does with an accepted batch: read a record,
// parse its control headers, write it again without them and with one more header.
func BenchmarkStage(b *testing.B) {
	const n = 1000
	in := NewBuilder(BuilderOptions{BaseTimestamp: 1_767_225_600_000}.NoProducer())
	for range n {
		err := in.Append(RecordFields{
			TimestampMs: 1_767_225_600_000, Key: []byte("key"), Value: make([]byte, 100),
			Headers: []Header{{"trace", []byte("x")}, {HeaderScheduleTs, []byte("1767225600000")}},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	src, err := in.Build(nil)
	if err != nil {
		b.Fatal(err)
	}
	out := NewBuilder(BuilderOptions{})
	extra := []Header{{"chronos-position", make([]byte, 24)}}
	var dst []byte
	var r Reader
	b.ReportAllocs()
	for b.Loop() {
		out.Reset(BuilderOptions{BaseTimestamp: src.BaseTimestamp()}.NoProducer())
		if err := r.Reset(src, 1<<20); err != nil {
			b.Fatal(err)
		}
		for {
			rec, ok, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
			if _, present, err := ParseControl(rec, ControlNames{}); err != nil || !present {
				b.Fatal(present, err)
			}
			err = out.Append(RecordFields{
				TimestampMs: src.Timestamp(rec), Key: rec.Key, Value: rec.Value,
				RawHeaders: rec.Headers, Drop: IsControlHeader, Headers: extra,
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		staged, err := out.Build(dst[:0])
		if err != nil {
			b.Fatal(err)
		}
		dst = staged
	}
	perRecord(b, n)
}

func BenchmarkCodec(b *testing.B) {
	src := makeBatch(b, None, 8000, 100, 0).Records()
	for _, c := range []Codec{Gzip, Snappy, Lz4, Zstd} {
		packed, err := Compress(nil, c, src)
		if err != nil {
			b.Fatal(err)
		}
		var dst []byte
		b.Run("compress/"+c.String(), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = Compress(dst[:0], c, src); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decompress/"+c.String(), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = Decompress(dst[:0], c, packed, 64<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckFromClient(b *testing.B) {
	in := makeBatch(b, None, 8000, 100, 0)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckFromClient(in, 0); err != nil {
			b.Fatal(err)
		}
	}
}

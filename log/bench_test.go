package log

import (
	"fmt"
	"math"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// benchLog opens a log on the real disk.
func benchLog(b *testing.B) *Log {
	b.Helper()
	l, err := Open(b.TempDir()+"/p", Options{FS: vfs.OS()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// BenchmarkAppendFlush appends one batch and flushes, against the same bytes written and synced
// without a log.
func BenchmarkAppendFlush(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10, 1 << 20} {
		p := buildBatch(b, 1, 1, size, 1000)
		b.Run(fmt.Sprintf("log/%d", size), func(b *testing.B) {
			l := benchLog(b)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, _, err := l.Append(p, 1); err != nil {
					b.Fatal(err)
				}
				if _, err := l.Flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) {
			f, err := vfs.OS().OpenLog(b.TempDir() + "/f")
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			b.SetBytes(int64(len(p)))
			pos := int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(p, pos); err != nil {
					b.Fatal(err)
				}
				if err := f.SyncData(); err != nil {
					b.Fatal(err)
				}
				if pos += int64(len(p)); pos > SegmentBytesDefault {
					pos = 0
					if err := f.Truncate(0); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkAppend appends without flushing: the log's own cost and one pwrite.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1 << 20} {
		p := buildBatch(b, 1, 1, size, 1000)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := benchLog(b)
			l.SetTopicLimits(64<<20, 0)
			b.SetBytes(int64(len(p)))
			for i := 0; b.Loop(); i++ {
				if _, _, err := l.Append(p, 1); err != nil {
					b.Fatal(err)
				}
				if l.Size() > 256<<20 { // keep the disk's queue short: what is deleted is not written
					if err := l.AdvanceStart(l.End()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkRead reads from the page cache: 1 MiB at a time in order, and one batch anywhere.
func BenchmarkRead(b *testing.B) {
	l := benchLog(b)
	p := buildBatch(b, 1, 10, 1000, 1000)
	for l.Size() < 128<<20 {
		if _, _, err := l.Append(p, 1); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, 0, 1<<20)
	b.Run("sequential", func(b *testing.B) {
		b.SetBytes(1 << 20)
		next := Offset(0)
		for b.Loop() {
			if next >= l.End()-1000 {
				next = 0
			}
			got, err := l.Read(buf[:0], ReadRequest{From: next, Bound: math.MaxInt64, MaxBytes: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			next += Offset(10 * (len(got) / len(p)))
		}
	})
	b.Run("random", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		o := Offset(0)
		for b.Loop() {
			o = (o*48271 + 11) % l.End()
			_, err := l.Read(buf[:0], ReadRequest{From: o, Bound: math.MaxInt64, MaxBytes: 1, MinOne: true})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpen opens a log after a clean close.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir() + "/p"
	l, err := Open(dir, Options{FS: vfs.OS()})
	if err != nil {
		b.Fatal(err)
	}
	p := buildBatch(b, 1, 10, 1000, 1000)
	for l.Size() < 32<<20 {
		if _, _, err := l.Append(p, 1); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		if l, err = Open(dir, Options{FS: vfs.OS()}); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

package log

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const testDir = "/data/p"

// testOptions are options with small segments and a dense index, so that short tests see many.
func testOptions(fs vfs.FS) Options {
	return Options{FS: fs, SegmentBytes: 4096, IndexIntervalBytes: 256}
}

// mustOpen opens a log that must be intact.
func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(testDir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

// buildBatch returns a batch of n records whose timestamps are first, first+1, ... and whose values
// have at least valueBytes, marked so that every batch differs.
func buildBatch(t testing.TB, mark uint64, n, valueBytes int, first UnixMs) batch.Batch {
	t.Helper()
	b := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: first}.NoProducer())
	for i := range n {
		value := make([]byte, 12+valueBytes)
		binary.BigEndian.PutUint64(value, mark)
		binary.BigEndian.PutUint32(value[8:], uint32(i))
		for k := 12; k < len(value); k++ {
			value[k] = byte(mark + uint64(k))
		}
		err := b.Append(batch.RecordFields{TimestampMs: first + UnixMs(i), Value: value})
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mustAppend appends batches of 1 to 3 records and returns the offsets behind each.
func mustAppend(t testing.TB, l *Log, batches int) []Offset {
	t.Helper()
	var ends []Offset
	for i := range batches {
		b := buildBatch(t, uint64(l.End()), 1+i%3, 40, 1000+UnixMs(l.End()))
		_, end, err := l.Append(b, 1)
		if err != nil {
			t.Fatalf("append: %v", err)
		}
		ends = append(ends, end)
	}
	return ends
}

func mustFlush(t testing.TB, l *Log) Offset {
	t.Helper()
	end, err := l.Flush()
	if err != nil {
		t.Fatalf("flush: %v", err)
	}
	return end
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// readAll returns all batch bytes of [start, end), by Read.
func readAll(t testing.TB, l *Log) []byte {
	t.Helper()
	p, err := l.Read(nil, ReadRequest{From: l.Start(), Bound: l.End(), MaxBytes: 1 << 30})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return p
}

// checkDense makes sure that the log's batches are dense from its start to its end, by three ways
// of reading.
func checkDense(t testing.TB, l *Log) {
	t.Helper()
	next := l.Start()
	rest := readAll(t, l)
	var seen []string
	for len(rest) > 0 {
		b, r, err := batch.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if b.BaseOffset() > next || b.LastOffset() < next {
			t.Fatalf("read a batch of %d to %d, wanted one with %d", b.BaseOffset(), b.LastOffset(), next)
		}
		seen = append(seen, fmt.Sprint(b.BaseOffset(), len(b)))
		next, rest = b.LastOffset()+1, r
	}
	if next != l.End() {
		t.Fatalf("read up to %d, the end is %d", next, l.End())
	}
	var scanned, headers []string
	err := l.Batches(l.Start(), l.End(), func(b batch.Batch) error {
		scanned = append(scanned, fmt.Sprint(b.BaseOffset(), len(b)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Headers(l.Start(), l.End(), func(h batch.Batch, body int) error {
		headers = append(headers, fmt.Sprint(h.BaseOffset(), batch.HeaderBytes+body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(seen) != fmt.Sprint(scanned) || fmt.Sprint(seen) != fmt.Sprint(headers) {
		t.Fatalf("Read, Batches and Headers differ:\n%v\n%v\n%v", seen, scanned, headers)
	}
}

// lastOffset returns the last offset of the batch at the beginning of p.
func lastOffset(p []byte) Offset { return batch.Batch(p).LastOffset() }

// testBuffers returns buffers that keep that much for readers.
func testBuffers(t testing.TB, recent int64) *Buffers {
	t.Helper()
	b, err := NewBuffers(BuffersOptions{RecentBytesMax: recent + 1})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

package log

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

var compactLarge = flag.Int64("compact.large", 0, "MiB of log that TestCompactionOfALargeLog compacts")

// The large log: records of 1 KiB, of so many keys that one map does not hold them all.
const (
	largeKeys     = 1 << 20
	largeMapBytes = 16 << 20
	largeValue    = 1000
	largeBatch    = 100
	// largeBuffers is what a pass may take beside its map: buffers for reading, writing and one
	// batch.
	largeBuffers = 8 << 20
)

// TestCompactionOfALargeLog compacts gigabytes and looks at the heap at every batch. It runs with
// make compact.
func TestCompactionOfALargeLog(t *testing.T) {
	if *compactLarge == 0 {
		t.Skip("it writes gigabytes: run it with -compact.large=2048")
	}
	dir := t.TempDir()
	l, err := Open(dir, Options{FS: vfs.OS(), SegmentBytes: 128 << 20})
	if err != nil {
		t.Fatal(err)
	}
	newest := fillLarge(t, l, *compactLarge<<20)
	before := l.Size()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak, calls := m.HeapAlloc, uint64(0), 0
	passes := 0
	var read, written int64
	var took float64
	for l.CleanTo() < newest.sealed {
		res, err := l.Compact(CompactionRequest{
			To: newest.sealed, Now: 1, DeleteRetentionMs: 1, MapBytes: largeMapBytes,
			Pace: func(int) error {
				if calls++; calls%64 == 0 {
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapInuse)
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		passes++
		read, written, took = read+res.BytesRead, written+res.BytesWritten, took+res.Took.Seconds()
	}
	t.Logf("%d MiB became %d MiB in %d passes, %.1f s: read %d MiB, wrote %d MiB, %.0f MB/s; heap %d MiB"+
		" before, %d MiB at most, of which the map has %d MiB", before>>20, l.Size()>>20, passes, took,
		read>>20, written>>20, float64(read+written)/1e6/took, base>>20, peak>>20, largeMapBytes>>20)
	// The collector lets garbage, here the map of the pass before, grow as large as what is alive.
	if peak > 2*(base+largeMapBytes+largeBuffers) {
		t.Errorf("the heap grew from %d to %d bytes", base, peak)
	}
	newest.check(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// largeLog is what the log must hold.
type largeLog struct {
	sealed Offset
	last   []Offset // by key
}

func fillLarge(t *testing.T, l *Log, bytes int64) *largeLog {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	n := &largeLog{last: make([]Offset, largeKeys)}
	builder := &batch.Builder{}
	var p []byte
	value := make([]byte, largeValue)
	for l.Size() < bytes {
		builder.Reset(batch.BuilderOptions{BaseTimestamp: 1000}.NoProducer())
		next := l.End()
		for range largeBatch {
			key := rng.IntN(largeKeys)
			binary.BigEndian.PutUint64(value, uint64(next))
			n.last[key] = next
			next++
			err := builder.Append(batch.RecordFields{
				TimestampMs: 1000, Key: fmt.Appendf(nil, "key-%d", key), Value: value,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		b, err := builder.Build(p[:0])
		if err != nil {
			t.Fatal(err)
		}
		p = b
		if _, _, err := l.Append(b, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	if err := l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	n.sealed = l.End()
	return n
}

// check makes sure that the last record of each key is there, and no other.
func (n *largeLog) check(t *testing.T, l *Log) {
	t.Helper()
	left, bad := 0, 0
	want := map[Offset]bool{}
	for _, o := range n.last {
		want[o] = true
	}
	err := l.Batches(0, l.End(), func(b batch.Batch) error {
		r, err := batch.NewReader(b, 1<<30)
		if err != nil {
			return err
		}
		defer r.Close()
		for {
			rec, ok, err := r.Next()
			if err != nil || !ok {
				return err
			}
			o := b.BaseOffset() + Offset(rec.OffsetDelta)
			left++
			if !want[o] || binary.BigEndian.Uint64(rec.Value) != uint64(o) {
				bad++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(want, 0) // of keys that were never written
	if bad > 0 || left < len(want) || left > len(want)+1 {
		t.Errorf("%d records are left, %d of them wrong; want %d", left, bad, len(want))
	}
}

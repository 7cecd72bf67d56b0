package timer

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// bench is one partition on the real disk.
type bench struct {
	b                testing.TB
	clock            *clock.Manual
	staging, visible *log.Log
	index            *PebbleIndex
	s                *Schedule
	rng              *rand.Rand
	delivered        int
}

func newBench(b testing.TB) *bench {
	w := &bench{b: b, clock: clock.NewManual(testNow.Time()), rng: rand.New(rand.NewPCG(3, 3))}
	dir := b.TempDir()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(vfs.OS().MkdirAll(dir+"/p/staging", 0o755))
	var err error
	w.visible, err = log.Open(dir+"/p", log.Options{FS: vfs.OS()})
	must(err)
	w.staging, err = log.Open(dir+"/p/staging", log.Options{FS: vfs.OS()})
	must(err)
	w.index, err = OpenIndex(vfs.OS(), dir+"/index", nil)
	must(err)
	w.s, err = Open(Options{
		Partition: 1, Staging: w.staging, Visible: w.visible, Index: w.index, Clock: w.clock,
		Sink: w, Manual: true,
	})
	must(err)
	b.Cleanup(func() {
		must(w.s.Close())
		must(w.index.Close())
		must(w.staging.Close())
		must(w.visible.Close())
	})
	return w
}

// Command appends to the staging log.
func (w *bench) Command(b batch.Batch) (Offset, error) {
	_, end, err := w.staging.Append(b, 1)
	return end, err
}

// Deliver appends to the partition log.
func (w *bench) Deliver(b batch.Batch, _ func() bool) (Offset, error) {
	w.delivered += b.Count()
	_, end, err := w.visible.Append(b, 1)
	return end, err
}

// stage stages n records of 100 bytes in batches of 1000, each due after wait.
func (w *bench) stage(n int, wait func() UnixMs) {
	value := strings.Repeat("x", 100)
	var buf []byte
	for range n / 1000 {
		bld := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: testNow}.NoProducer())
		for range 1000 {
			if err := bld.Append(batch.RecordFields{
				TimestampMs: testNow, Value: []byte(value),
				Headers: []batch.Header{tsHeader(testNow + wait())},
			}); err != nil {
				w.b.Fatal(err)
			}
		}
		src, err := bld.Build(nil)
		if err != nil {
			w.b.Fatal(err)
		}
		staged, _, err := Stage(buf[:0], src, plan())
		if err != nil {
			w.b.Fatal(err)
		}
		buf = staged
		if _, _, err := w.staging.Append(staged, 1); err != nil {
			w.b.Fatal(err)
		}
	}
}

// drain turns until nothing is left to do, with a commit after each turn.
func (w *bench) drain() {
	for {
		staging, err := w.staging.Flush()
		if err != nil {
			w.b.Fatal(err)
		}
		visible, err := w.visible.Flush()
		if err != nil {
			w.b.Fatal(err)
		}
		w.s.Advance(staging, visible)
		worked, err := w.s.RunOnce()
		if err != nil {
			w.b.Fatal(err)
		}
		if !worked {
			return
		}
	}
}

func perRecord(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkFollow takes staged records that are due later into the index.
func BenchmarkFollow(b *testing.B) {
	const n = 300_000
	for b.Loop() {
		b.StopTimer()
		w := newBench(b)
		w.stage(n, func() UnixMs { return 3_600_000 + UnixMs(w.rng.IntN(3_600_000)) })
		b.StartTimer()
		w.drain()
	}
	perRecord(b, n)
}

// BenchmarkBurst delivers records that fall due in the same millisecond, and at random.
func BenchmarkBurst(b *testing.B) {
	const n = 500_000
	for name, spread := range map[string]int{"same": 1, "random": 60_000} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				w := newBench(b)
				w.stage(n, func() UnixMs { return 3_600_000 + UnixMs(w.rng.IntN(spread)) })
				w.drain()
				w.clock.Set((testNow + 3_700_000).Time())
				b.StartTimer()
				w.drain()
				if w.delivered != n {
					b.Fatalf("%d delivered", w.delivered)
				}
			}
			perRecord(b, n)
		})
	}
}

// BenchmarkPending measures the memory of a million records that wait.
func BenchmarkPending(b *testing.B) {
	for b.Loop() {
		w := newBench(b)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w.stage(1_000_000, func() UnixMs { return UnixMs(w.rng.IntN(600_000)) + 1 })
		w.drain()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "heapMiB")
		b.ReportMetric(float64(w.s.Stats().NearBytes)/(1<<20), "nearMiB")
	}
}

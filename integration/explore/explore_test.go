package explore

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/log/invariant"
)

var (
	seedFlag  = flag.String("explore.seed", "", "the seeds to run, separated by commas; none runs many")
	seedsFlag = flag.Int("explore.seeds", defaultSeeds(), "how many seeds to run")
	opsFlag   = flag.Int("explore.ops", 2000, "operations per seed")
	faultFlag = flag.Bool("explore.faults", false, "with -explore.seed: the disk fails now and then")
)

// defaultSeeds is as many histories as take about a minute on two idle processors. The race detector
// makes them ten times slower.
func defaultSeeds() int {
	if invariant.Enabled {
		return 40
	}
	return 300
}

var decompressor = kgo.DefaultDecompressor()

// inflate is another implementation of the codecs than the server's.
func inflate(codec int8, p []byte) ([]byte, error) {
	return decompressor.Decompress(p, kgo.CompressionCodecType(codec))
}

// historyMax is far longer than any history takes.
const historyMax = 2 * time.Minute

// history runs one random history to its end.
func history(seed uint64, steps int, faults bool) (totals, error) {
	w := newWorld(seed)
	w.faults = faults
	// A history that hangs is ended by the test's time-out, whose report knows no seed.
	late := time.AfterFunc(historyMax, func() {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "seed %d is still running after %v\n%s\n", seed, historyMax,
			stacks[:runtime.Stack(stacks, true)])
	})
	defer late.Stop()
	err := w.run(func() {
		w.begin()
		w.producers = make([]*producer, 5)
		for range steps {
			w.random()
		}
		w.rest()
		w.finish()
	})
	w.totals.delivered = w.oracle.Shown()
	return w.totals, err
}

// rest ends the power cuts and the faults.
func (w *world) rest() {
	w.quiet = true
	w.disarm()
	w.through(func() { w.do(func() error { return nil }) })
	w.disk.Clear()
	if w.diskFailed() {
		w.through(w.killed)
	}
}

// finish brings everything to rest and asks the oracle for its verdict: all that was acknowledged was
// shown, what was not is a suffix of what its producer sent, and a new start repeats nothing.
func (w *world) finish() {
	w.note("the history ends")
	w.refill()
	w.setConfig("chronos.schedule.max.delay.ms", "")
	w.setConfig("chronos.schedule.enable", "")
	w.setConfig("retention.ms", "-1")
	w.setConfig("retention.bytes", "-1")
	for round := 0; round == 0 || w.unanswered() > 0 || w.oracle.Pending() > 0; round++ {
		if round > 50 {
			w.fail(fmt.Errorf("%d batches are never answered, %d records never shown", w.unanswered(), w.oracle.Pending()))
		}
		w.idle()
		w.clock.Set(time.UnixMilli(max(w.now(), w.oracle.LatestDue()) + 1))
		w.idle()
		w.resend()
	}
	w.idle()
	w.judge(w.oracle.Finish())
	w.compareIndex()
	w.comesBackTheSame("a restart", w.restart)
	w.comesBackTheSame("a power cut", func() { w.cut(0) })
	w.comesBackTheSame("the loss of the index", func() {
		w.must(w.m.Close())
		w.wipeIndex()
		w.m = nil
		w.start()
	})
}

// comesBackTheSame demands that a start at rest shows nothing new.
func (w *world) comesBackTheSame(what string, again func()) {
	w.note("%s at rest", what)
	var before, after [partitionCount]int64
	for i := range before {
		before[i] = int64(w.partition(int32(i)).LogEnd())
	}
	again()
	w.idle()
	for i := range after {
		after[i] = int64(w.partition(int32(i)).LogEnd())
	}
	if before != after {
		w.fail(fmt.Errorf("after %s the logs grew from %v to %v by themselves", what, before, after))
	}
	if n := w.m.Metrics().Pending; n != 0 {
		w.fail(fmt.Errorf("after %s %d records are pending, nothing was", what, n))
	}
}

func (w *world) unanswered() (n int) {
	for _, p := range w.alive() {
		for i := range p.boxes {
			n += len(p.boxes[i].queue)
		}
	}
	return n
}

// resend lets every producer send again what has no answer.
func (w *world) resend() {
	for _, p := range w.alive() {
		for i := range p.boxes {
			for _, s := range slices.Clone(p.boxes[i].queue) {
				if s.ack != nil {
					continue
				}
				w.offer(p, int32(i), s)
				if s.ack == nil {
					break // the gate is closed
				}
			}
		}
	}
}

// chunkSeeds is how many histories one process runs. An index that a power cut has hit cannot be closed,
// so its memory comes back only with the end of its process.
const chunkSeeds = 10

// histories runs many histories, in as many processes at a time as there are processors.
func histories(t *testing.T, seeds []uint64, steps int, faults bool) totals {
	t.Helper()
	var mu sync.Mutex
	var sum totals
	var wg sync.WaitGroup
	chunks := make(chan []uint64)
	for range runtime.GOMAXPROCS(0) {
		// Each ends when the chunks are used up; Wait below waits for it.
		wg.Go(func() {
			for chunk := range chunks {
				one, err := runChunk(t.Context(), chunk, steps, faults)
				mu.Lock()
				sum.add(one)
				if err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	for chunk := range slices.Chunk(seeds, chunkSeeds) {
		mu.Lock()
		failed := t.Failed()
		mu.Unlock()
		if failed {
			break
		}
		chunks <- chunk
	}
	close(chunks)
	wg.Wait()
	return sum
}

// runChunk runs histories in a process of their own.
func runChunk(ctx context.Context, seeds []uint64, steps int, faults bool) (totals, error) {
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(seeds), " ", ","), "[]")
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHistories$", "-test.v",
		"-explore.seed="+list, fmt.Sprintf("-explore.ops=%d", steps),
		fmt.Sprintf("-explore.faults=%v", faults))
	out, err := cmd.CombinedOutput()
	var sum totals
	if decodeErr := sum.decode(string(out)); err != nil || decodeErr != nil {
		return sum, fmt.Errorf("seeds %s: %w\n%s", list, errors.Join(err, decodeErr), out)
	}
	return sum, nil
}

// theseHistories runs histories here, one after the other.
func theseHistories(t *testing.T, list string) {
	t.Helper()
	var sum totals
	for text := range strings.SplitSeq(list, ",") {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("-explore.seed: %v", err)
		}
		one, err := history(seed, *opsFlag, *faultFlag)
		sum.add(one)
		if err != nil {
			t.Error(err)
			break
		}
		checkSeed(t, seed, &one, *opsFlag)
	}
	t.Log(sum.encode())
	t.Log(sum.String())
}

// TestHistories explores random histories.
func TestHistories(t *testing.T) {
	if *seedFlag != "" {
		theseHistories(t, *seedFlag)
		return
	}
	began := time.Now()
	sum := histories(t, randomSeeds(*seedsFlag), *opsFlag, false)
	took := time.Since(began)
	t.Logf("%s; %.1f seeds per second", sum.String(), float64(sum.seeds)/took.Seconds())
	if !t.Failed() {
		checkMeans(t, &sum, *opsFlag)
	}
}

func randomSeeds(n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	return seeds
}

// TestHistoriesOnABadDisk explores histories in which syncs and writes fail, with an error or for
// want of space. The process dies of the first; a full disk must do no harm at all.
func TestHistoriesOnABadDisk(t *testing.T) {
	if *seedFlag != "" {
		t.Skip("one seed is run by TestHistories, with -explore.faults")
	}
	sum := histories(t, randomSeeds(*seedsFlag/badDiskShare), *opsFlag, true)
	t.Log(sum.String())
	if t.Failed() {
		return
	}
	if want := 3 * sum.seeds * int64(*opsFlag) / fullOps; sum.diskErrors < want || sum.fullDisks < want/3 {
		t.Errorf("the disk failed %d times and was full %d times, at least %d and %d must be",
			sum.diskErrors, sum.fullDisks, want, want/3)
	}
}

// badDiskShare is how many histories there are for each one on a bad disk.
const badDiskShare = 8

// TestFewHistories explores the same few histories every time: a first look that takes seconds. Each
// fault that log/mutant names makes it fail.
func TestFewHistories(t *testing.T) {
	seeds := make([]uint64, 24)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	sum := histories(t, seeds, fullOps, false)
	t.Log(sum.String())
	if !t.Failed() {
		checkMeans(t, &sum, fullOps)
	}
}

package explore

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
)

// setFS takes a file system into use.
func (w *world) setFS(c *vfs.Crash) {
	w.fs = c
	w.power.Lock()
	w.power.after = nil
	w.power.Unlock()
	c.OnSync = func(path string, _ int) { w.onSync(c, path) }
}

// onSync cuts the power before a sync when its turn has come.
func (w *world) onSync(c *vfs.Crash, path string) {
	w.power.Lock()
	defer w.power.Unlock()
	if w.power.in == 0 || w.power.after != nil || !w.power.match(path) {
		return
	}
	w.power.in--
	if w.power.in == 0 {
		w.power.after = c.Crash(w.power.keep, w.power.rng)
	}
}

// cutOff returns what an armed power cut has left, or nil if it has not come.
func (w *world) cutOff() *vfs.Crash {
	w.power.Lock()
	defer w.power.Unlock()
	return w.power.after
}

func anyPath(string) bool { return true }

func indexPath(path string) bool { return strings.HasPrefix(path, indexDir) }

func otherPath(path string) bool { return !indexPath(path) }

// arm lets the power go before the n-th sync from now on whose path matches.
func (w *world) arm(n int, keep float64, match func(string) bool) {
	w.power.Lock()
	defer w.power.Unlock()
	w.power.in, w.power.keep, w.power.match = n, keep, match
	w.power.rng = rand.New(rand.NewPCG(w.rng.Uint64(), 3))
}

func (w *world) disarm() {
	w.power.Lock()
	defer w.power.Unlock()
	w.power.in = 0
}

// randomKeep is how much of what was not synced a power cut keeps; 1 is the death of the process.
func (w *world) randomKeep() float64 { return []float64{0, 0, 0.5, 0.5, 1}[w.rng.IntN(5)] }

// cut loses power now, between two operations.
func (w *world) cut(keep float64) {
	w.note("power cut, keeps %v", keep)
	w.disarm()
	w.crashed(w.fs.Crash(keep, w.rng))
}

// crashed starts the node on what a power cut has left; the power may go again meanwhile.
func (w *world) crashed(after *vfs.Crash) {
	w.totals.crashes++
	w.totals.dropped += after.Stats().DroppedBytes
	w.forgetOutcomes(true)
	_ = w.m.Close() // it is dead: this ends its goroutines
	w.m = nil
	w.setFS(after)
	w.start()
}

// restart stops the node as an operator does, and starts it again.
func (w *world) restart() {
	w.step = w.oracle.Step()
	err := w.m.Close()
	w.collect()
	if after := w.cutOff(); after != nil {
		w.totals.armed++
		w.note("the power went during a clean stop")
		w.crashed(after)
		return
	}
	w.must(err)
	w.totals.restarts++
	w.forgetOutcomes(false)
	w.m = nil
	w.start()
}

// start opens the node until it stays open.
func (w *world) start() {
	for i := 0; ; i++ {
		if !w.quiet {
			w.disarm()
		}
		if !w.quiet && w.rng.IntN(10) == 0 {
			w.wipeIndex()
		}
		if !w.quiet && i < crashesPerStart && w.rng.IntN(3) == 0 {
			w.arm(1+w.rng.IntN(40), w.randomKeep(), []func(string) bool{anyPath, otherPath, indexPath}[w.rng.IntN(3)])
		}
		m, err := w.openManager()
		if after := w.cutOff(); after != nil {
			w.note("the power went during the start: %v", err)
			w.totals.crashes++
			w.totals.startCrashes++
			w.totals.dropped += after.Stats().DroppedBytes
			if m != nil {
				_ = m.Close()
			}
			w.setFS(after)
			continue
		}
		w.must(err)
		w.m = m
		if !w.quiet && w.rng.IntN(2) == 0 {
			w.disarm() // else the power goes some time later
		}
		w.opened()
		return
	}
}

func (w *world) openManager() (*replication.Manager, error) {
	return replication.Open(replication.Options{
		DataDir: dataDir, FS: w.fs, Clock: w.clock, Manual: true, SegmentBytes: 16 << 10,
	})
}

// opened checks what the node has after a start: all that was seen or acknowledged, a risen leader
// epoch, the configs as they were set.
func (w *world) opened() {
	w.step = w.oracle.Step()
	for i := range int32(partitionCount) {
		p := w.partition(i)
		w.must(w.oracle.Opened(i, int32(p.LeaderEpoch()), w.marks(p)))
		w.next[i] = p.LogStart() // and everything is read again
		w.readAll(i)
	}
	w.tellAnswers()
	w.learnConfigs()
}

// wipeIndex deletes the schedule index, durably or not. The node must not run.
func (w *world) wipeIndex() {
	w.note("the index is deleted")
	w.totals.wipes++
	w.must(w.fs.RemoveAll(indexDir))
	if w.rng.IntN(2) == 0 {
		w.must(w.fs.SyncDir(dataDir))
	}
}

// describe returns how the power cut is armed, for notes.
func (w *world) describe() string {
	w.power.Lock()
	defer w.power.Unlock()
	return fmt.Sprintf("in %d syncs, keeps %v", w.power.in, w.power.keep)
}

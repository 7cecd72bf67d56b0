package explore

import (
	"errors"
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

// kill ends the process, as SIGKILL does, now or at one of its next file operations: what it wrote
// stays readable, and what of that was not synced can still be lost by a later power cut.
func (w *world) kill() {
	switch {
	case w.quiet:
	case w.rng.IntN(2) == 0:
		w.note("kill")
		w.killed()
	default:
		fault := vfs.Fault{Nth: 1 + w.rng.IntN(50), Err: errKilled}
		w.note("kill at file operation %d", fault.Nth)
		w.disk.Add(fault)
	}
}

// killed starts the node again after its process ended.
func (w *world) killed() {
	w.totals.kills++
	if w.diskFailed() {
		w.totals.diskErrors++
	}
	w.forgetOutcomes(true)
	w.endProcess()
	w.start()
}

// endProcess does what the operating system does to a process that ends: it can do nothing any more,
// and its locks are free.
func (w *world) endProcess() {
	w.life.end()
	if w.m != nil {
		_ = w.m.Close() // this ends its goroutines
		w.m = nil
	}
	for _, lock := range []string{dataDir + "/LOCK", indexDir + "/LOCK"} {
		_ = w.fs.Remove(lock) // it may be missing
	}
}

var errKilled = errors.New("the process was killed")

// diskFailed reports whether the disk has failed in this life of the node.
func (w *world) diskFailed() bool { return w.disk.Stats().Injected > 0 }

// breakDisk lets one of the next operations of a kind fail: a sync, whose bytes then never get to
// the disk although the next sync says so, or a write of which half was done.
func (w *world) breakDisk(within int) {
	fault := vfs.Fault{Op: vfs.OpSync, Nth: 1 + w.rng.IntN(within), Times: 1, Err: vfs.ErrIO}
	switch w.rng.IntN(4) {
	case 0:
		fault.Op = vfs.OpSyncDir
	case 1:
		fault.Op, fault.Written = vfs.OpWrite, w.rng.IntN(100)
	}
	w.note("%s number %d will fail", fault.Op, fault.Nth)
	w.disk.Add(fault)
}

// fillDisk lets some of the next segments find the disk full. An append asks for less when it is
// refused, so that two in a row are what it takes.
func (w *world) fillDisk() {
	w.disk.Add(vfs.Fault{
		Op: vfs.OpAllocate, Glob: "*.log", Nth: 1 + w.rng.IntN(3), Times: 1 + w.rng.IntN(6),
		Err: vfs.ErrNoSpace,
	})
	w.note("some segments will find no space")
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
		w.beginLife()
		if w.faults && !w.quiet && w.rng.IntN(4) == 0 {
			w.breakDisk(30)
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
		if err == nil {
			w.m = m
			err = w.offline()
		}
		if err != nil && w.diskFailed() {
			w.note("the disk failed during the start: %v", err)
			w.totals.startCrashes++
			w.endProcess()
			continue
		}
		w.must(err)
		if !w.quiet && w.rng.IntN(2) == 0 {
			w.disarm() // else the power goes some time later
		}
		w.opened()
		return
	}
}

// beginLife begins a process.
func (w *world) beginLife() {
	w.disk = vfs.NewFaulty(w.fs)
	w.life = &life{FS: w.disk}
}

// offline returns why a partition is not in service.
func (w *world) offline() error {
	for i := range int32(partitionCount) {
		if _, err := w.m.Partition(w.topic, i); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) openManager() (*replication.Manager, error) {
	o := w.options
	o.FS = w.life
	return replication.Open(o)
}

// opened checks what the node has after a start: all that was seen or acknowledged, a risen leader
// epoch, the configs as they were set.
func (w *world) opened() {
	w.step = w.oracle.Step()
	for i := range int32(partitionCount) {
		p := w.partition(i)
		w.judge(w.oracle.Opened(i, int32(p.LeaderEpoch()), w.marks(p)))
		w.next[i] = p.LogStart() // and everything is read again
	}
	for i := range int32(partitionCount) {
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

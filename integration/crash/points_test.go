package crash

import (
	"fmt"
	"math/rand/v2"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// changing are the kinds of file operation before which the power is cut.
var changing = []vfs.Op{
	vfs.OpOpen, vfs.OpCreate, vfs.OpWrite, vfs.OpTruncate, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename,
	vfs.OpRemove, vfs.OpLink, vfs.OpMkdir, vfs.OpAllocate,
}

// keeps are the shares of what was not synced that a power cut leaves.
var keeps = []float64{0, 0.5, 1}

// innerShare is the share of points whose recovery is cut in turn.
const innerShare = 0.02

// watch calls hook before every file operation that changes something.
func (w *world) watch(disk *vfs.Faulty, hook func(what string)) {
	for _, op := range changing {
		disk.Add(vfs.Fault{Op: op, Before: func(path string) { hook(op.String() + " " + path) }})
	}
}

// point cuts the power now, on a copy, and judges what is left.
func (w *world) point(what string) {
	w.hook.Lock()
	defer w.hook.Unlock()
	if w.hook.share == 0 || w.hook.err != nil || w.hook.rng.Float64() >= w.hook.shareHere {
		return
	}
	// What was promised before the copy is made must be in the copy.
	promises := w.promises()
	chosen := keeps
	if w.hook.share < 1 {
		chosen = keeps[w.hook.rng.IntN(len(keeps)):][:1]
	}
	for _, keep := range chosen {
		w.totals.points[w.hook.class]++
		clone := w.fs.CrashClone(keep, w.hook.rng)
		w.totals.dropped += clone.Stats().DroppedBytes
		inner := w.hook.rng.Float64() < innerShare
		if err := w.judge(clone, promises, inner); err != nil {
			w.broken(fmt.Errorf("%s, power cut before %s that keeps %v: %w", w.hook.class, what, keep, err))
			return
		}
	}
}

func (w *world) promises() (all [logCount]promise) {
	for i, m := range w.models {
		all[i] = m.snapshot()
	}
	return all
}

// judge opens the logs on what a power cut has left. With inner, the power is cut again before each
// change that the recovery makes, and at last behind it, when all that was recovered was seen.
func (w *world) judge(left *vfs.Crash, promises [logCount]promise, inner bool) error {
	var broken error
	disk := vfs.NewFaulty(left)
	if inner {
		w.watch(disk, func(what string) {
			if broken != nil {
				return
			}
			w.totals.points[recoveryClass]++
			keep := keeps[w.hook.rng.IntN(len(keeps))]
			err := w.judge(left.CrashClone(keep, w.hook.rng), promises, false)
			if err != nil {
				broken = fmt.Errorf("and again before %s of the recovery, keeping %v: %w", what, keep, err)
			}
		})
	}
	n, err := openNode(disk, w.o, nil)
	if broken != nil || err != nil {
		return firstOf(broken, err)
	}
	for i, l := range n.logs {
		err := promises[i].judgeOpened(l)
		if err == nil {
			err = promises[i].judgeFiles(left, logDir(i), l)
		}
		if err != nil {
			return fmt.Errorf("log %d: %w", i, err)
		}
		promises[i] = promises[i].seen(l)
	}
	if !inner {
		return nil
	}
	return w.afterwards(left, n, promises)
}

// afterwards shows that a recovered node works and that what it recovered stays.
func (w *world) afterwards(left *vfs.Crash, n *node, promises [logCount]promise) error {
	w.totals.points[recoveryClass]++
	if err := w.judge(left.CrashClone(0, w.hook.rng), promises, false); err != nil {
		return fmt.Errorf("and after the recovery, keeping nothing: %w", err)
	}
	i := w.hook.rng.IntN(logCount)
	raw := newBatch(w.hook.rng.Uint64(), 2, 100, startMs)
	b := place(raw, int64(n.logs[i].End()), int32(n.logs[i].LastEpoch())+1)
	if _, _, err := n.logs[i].Append(raw, log.LeaderEpoch(b.epoch())); err != nil {
		return fmt.Errorf("append after the recovery: %w", err)
	}
	if _, err := n.logs[i].Flush(); err != nil {
		return fmt.Errorf("flush after the recovery: %w", err)
	}
	promises[i].batches = append(promises[i].batches[:len(promises[i].batches):len(promises[i].batches)], b)
	promises[i].flushed, promises[i].epoch = b.end, b.epoch()
	if err := w.judge(left.CrashClone(0, w.hook.rng), promises, false); err != nil {
		return fmt.Errorf("and after a flush behind the recovery, keeping nothing: %w", err)
	}
	return nil
}

// seen is what is promised once an opened log was read.
func (p promise) seen(l *log.Log) promise {
	p.flushed = int64(l.End())
	p.start, p.startTo = int64(l.Start()), int64(l.Start())
	for len(p.batches) > 0 && p.end() > p.flushed {
		p.batches = p.batches[: len(p.batches)-1 : len(p.batches)-1]
	}
	return p
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// randomSeeds returns n seeds.
func randomSeeds(n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	return seeds
}

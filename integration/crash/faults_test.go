package crash

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// breakage is a way in which the disk fails once, or a few times.
type breakage struct {
	op    vfs.Op
	err   error
	times int
	final bool // whether whoever sees it must take no more writes
}

// breakages are tried at every operation of their kind in a history.
var breakages = []breakage{
	{vfs.OpWrite, vfs.ErrIO, 1, true},
	{vfs.OpWrite, vfs.ErrNoSpace, 1, false},
	{vfs.OpWrite, vfs.ErrNoSpace, 3, false},
	{vfs.OpSync, vfs.ErrIO, 1, true},
	{vfs.OpSync, vfs.ErrNoSpace, 1, true},
	{vfs.OpSyncDir, vfs.ErrIO, 1, true},
	{vfs.OpTruncate, vfs.ErrIO, 1, true},
	{vfs.OpRename, vfs.ErrIO, 1, true},
	{vfs.OpRemove, vfs.ErrIO, 1, false},
	{vfs.OpCreate, vfs.ErrNoSpace, 1, false},
	{vfs.OpOpen, vfs.ErrNoSpace, 1, false},
	{vfs.OpAllocate, vfs.ErrNoSpace, 1, false},
	{vfs.OpAllocate, vfs.ErrIO, 1, true},
}

func (b breakage) String() string { return fmt.Sprintf("%v of %v, %d times", b.err, b.op, b.times) }

const (
	// faultHistories is how many histories are broken at each of their operations.
	faultHistories = 8
	// faultsMin is how many operations a history had broken, on average over some.
	faultsMin = 200
)

// TestEveryFault breaks, in the same history again and again, each operation of a kind in turn.
func TestEveryFault(t *testing.T) {
	seeds := randomSeeds(faultHistories)
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	sum := 0
	for _, seed := range seeds {
		broken := 0
		for _, b := range breakages {
			for nth := 1; ; nth++ {
				w := newWorld(seed)
				hit := false
				err := w.run(func() (err error) {
					hit, err = w.breaking(b, nth)
					return err
				})
				if err != nil {
					t.Fatalf("%v, from number %d on: %v", b, nth, err)
				}
				if !hit {
					break
				}
				broken++
			}
		}
		t.Logf("seed %d: %d operations broken", seed, broken)
		sum += broken
	}
	if *seedFlag == 0 && sum < faultHistories*faultsMin {
		t.Errorf("%d operations broken in %d histories, %d in each must be", sum, faultHistories, faultsMin)
	}
}

// breaking runs a history until the disk has failed, and on if it may go on, and then cuts the power.
func (w *world) breaking(b breakage, nth int) (hit bool, err error) {
	if err := w.open(); err != nil {
		return false, err
	}
	w.disk.Add(vfs.Fault{Op: b.op, Nth: nth, Times: b.times, Err: b.err, Written: w.rng.IntN(headerBytes)})
	for range historyOps {
		c := w.random()
		if c.name == killClass {
			continue // it has faults of its own
		}
		w.done = append(w.done, c.name)
		err := c.do(w)
		hit = w.disk.Stats().Injected > 0
		switch {
		case err == nil:
		case !hit:
			return false, fmt.Errorf("%s, before the disk failed: %w", c.name, err)
		case errors.Is(err, log.ErrNoSpace) && !errors.Is(err, log.ErrFailed) && c.name != restartClass:
			if err := w.liveOverFaults(); err != nil {
				return true, fmt.Errorf("after %s met a full disk: %w", c.name, err)
			}
		default:
			return true, w.dies(b, err)
		}
	}
	err = w.liveOverFaults()
	hit = w.disk.Stats().Injected > 0
	return hit, firstOf(err, w.cutOff())
}

// liveOverFaults is liveLogs where lookups may meet the fault themselves, when they make an index anew;
// it passes then.
func (w *world) liveOverFaults() error {
	for {
		before := w.disk.Stats().Injected
		if err := w.liveLogs(); err == nil || w.disk.Stats().Injected == before {
			return err
		}
	}
}

// dies is the end of a process that met an error of its disk: it must not have promised anything since,
// nor do so now, and what it had promised is there after a power cut.
func (w *world) dies(b breakage, cause error) error {
	if b.final && errors.Is(cause, log.ErrFailed) {
		if err := w.takesNothing(); err != nil {
			return err
		}
	}
	w.node.abandon()
	return w.cutOff()
}

// takesNothing makes sure that some log takes no more writes and calls nothing flushed.
func (w *world) takesNothing() error {
	failed := 0
	for i, l := range w.node.logs {
		if l == nil {
			failed++
			continue
		}
		flushed, before := l.FlushedEnd(), w.models[i].snapshot()
		if err := w.append(i, 1, 10); err == nil {
			continue
		}
		w.models[i].update(func(p *promise) { p.batches = before.batches })
		failed++
		if _, err := l.Flush(); err == nil || l.FlushedEnd() != flushed {
			return fmt.Errorf("log %d has failed and was flushed from %d to %d: %w", i, flushed, l.FlushedEnd(), err)
		}
	}
	if failed == 0 {
		return errors.New("the disk failed and every log goes on")
	}
	return nil
}

// cutOff cuts the power in each way and judges what is left.
func (w *world) cutOff() error {
	w.hook.Lock()
	defer w.hook.Unlock()
	promises := w.promises()
	for _, keep := range keeps {
		if err := w.judge(w.fs.CrashClone(keep, w.hook.rng), promises, false); err != nil {
			return fmt.Errorf("power cut at the end that keeps %v: %w", keep, err)
		}
	}
	return nil
}
